/** What dial(), connect() and the guarded streams publish on diagnostics_channel. */
import { channel } from "node:diagnostics_channel";
import type { Attempt, Outcome } from "../socket/errors.ts";
import { count } from "./statistics.ts";

/** The channel of AttemptMessage: `subscribe(ATTEMPT_CHANNEL, ({ attempt }) => …)` of node:diagnostics_channel. */
export const ATTEMPT_CHANNEL = "selfconnect:attempt";

/** The channel of RejectedMessage. */
export const REJECTED_CHANNEL = "selfconnect:rejected";

const attempts = channel(ATTEMPT_CHANNEL);
const rejected = channel(REJECTED_CHANNEL);

/** A message on `selfconnect:attempt`: one for each connect(2), published when it has ended. */
export interface AttemptMessage {
  /** The addresses, the outcome and the time of the connect(2). */
  readonly attempt: Attempt;
}

/** A message on `selfconnect:rejected`: one for each self-connect that the guard refused or reset. */
export interface RejectedMessage {
  /** The attempt that was rejected; its outcome is "self-connect". */
  readonly attempt: Attempt;
  /** False when connect(2) was not called, because the local port was fixed to the peer's. */
  readonly wasConnected: boolean;
}

/** Counts the attempt, and publishes it. */
export function publishAttempt(attempt: Attempt): void {
  countOutcome(attempt.outcome);
  attempts.publish({ attempt } satisfies AttemptMessage);
}

/**
 * Counts an attempt that nobody subscribes to. A self-connect is counted by publishRejected(), and an attempt that was
 * abandoned for another address neither connected nor failed.
 */
export function countOutcome(outcome: Outcome): void {
  if (outcome === "self-connect" || outcome === "abandoned") return;
  count(outcome === "connected" ? "connected" : "failed");
}

/** Whether `selfconnect:attempt` has subscribers. Without them no Attempt is created for a successful connect. */
export function hasAttemptSubscribers(): boolean {
  return attempts.hasSubscribers;
}

/** Counts the rejection, and publishes it. */
export function publishRejected(attempt: Attempt, wasConnected: boolean): void {
  count(wasConnected ? "reset" : "refused");
  rejected.publish({ attempt, wasConnected } satisfies RejectedMessage);
}

/** How many attempts there were, and how many of them were self-connects. */
export interface AttemptCounts {
  readonly count: number;
  readonly selfConnects: number;
}

/** Counts attempts for selfConnectMessage(). */
export function countAttempts(attempts: readonly Attempt[]): AttemptCounts {
  const selfConnects = attempts.filter(({ outcome }) => outcome === "self-connect").length;
  return { count: attempts.length, selfConnects };
}

/** The message of DialError ERR_SELF_CONNECT, the same for dial() and for every guarded stream. */
export function selfConnectMessage(
  peer: string,
  { count: made, selfConnects: count }: AttemptCounts,
  wasConnected: boolean,
): string {
  if (!wasConnected)
    return `the local port is the peer's own: connecting to ${peer} would join the socket to itself`;
  const times = `${count} of ${made} attempt${made === 1 ? "" : "s"}`;
  const were = count === 1 ? "was a self-connect and was" : "were self-connects and were";
  return `nobody listens on ${peer}: ${times} ${were} reset`;
}
