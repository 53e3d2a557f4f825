/** Every attempt in the open: what dial(), connect() and the guarded streams tell on diagnostics_channel. */
import { channel } from "node:diagnostics_channel";
import type { Attempt } from "../socket/errors.ts";

const attempts = channel("selfconnect:attempt");
const rejected = channel("selfconnect:rejected");

/** What `selfconnect:attempt` carries: one for each connect(2), when it has ended. */
export interface AttemptMessage {
  readonly attempt: Attempt;
}

/** What `selfconnect:rejected` carries: one for each socket that the guard kept from its caller. */
export interface RejectedMessage {
  readonly attempt: Attempt;
  /** Whether connect(2) was called at all: false when the local port was fixed to the peer's. */
  readonly wasConnected: boolean;
}

export function tellAttempt(attempt: Attempt): void {
  if (attempts.hasSubscribers) attempts.publish({ attempt } satisfies AttemptMessage);
}

/** Whether anybody listens to attempts: one that connected is made up only then. */
export function areAttemptsHeard(): boolean {
  return attempts.hasSubscribers;
}

export function tellRejected(attempt: Attempt, wasConnected: boolean): void {
  if (rejected.hasSubscribers) rejected.publish({ attempt, wasConnected } satisfies RejectedMessage);
}

/** The message of a verdict ERR_SELF_CONNECT, the same from every door. */
export function selfConnectMessage(peer: string, made: readonly Attempt[], wasConnected: boolean): string {
  const count = made.filter((attempt) => attempt.outcome === "self-connect").length;
  if (!wasConnected)
    return `the local port is the peer's own: connecting to ${peer} would join the socket to itself`;
  const times = `${count} of ${made.length} attempt${made.length === 1 ? "" : "s"}`;
  return `nobody listens on ${peer}: ${times} ended joined to itself and ${count === 1 ? "was" : "were"} reset`;
}
