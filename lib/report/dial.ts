/** The outcome of one guarded connect as the object of docs/schema/dial-1.json and as text. */
import type { BindExplanation, BindTry, ExplainedHolder } from "../audit/explain-bind.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { hideCredentials } from "../socket/address-forms.ts";
import type { Attempt } from "../socket/errors.ts";
import { count, duration } from "./numbers.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";
import { holderLines, serverLine } from "./who.ts";

/** The object of docs/schema/dial-1.json: the outcome of one guarded connect. */
export interface DialReport {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.dial/1";
  /** The peer as the user wrote it, without the credentials of a URL. */
  readonly asked: string;
  /** How the dial ended. */
  readonly verdict: "connected" | "self-connect" | "failed" | "interrupted";
  /** getsockname(2) of the socket that connected; null without one. */
  readonly local: Address | null;
  /** getpeername(2) of the socket that connected; null without one. */
  readonly peer: Address | null;
  /** In order: all, or of more than 20 the first 10 and the last 10. */
  readonly attempts: readonly Attempt[];
  /** How many attempts there were. */
  readonly attemptCount: number;
  /** Why it did not connect; null when it did. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Whether a server could listen on the peer's address; null if not checked, or if the address is another host's. */
  readonly listenCheck: {
    readonly address: Address;
    readonly refusal: BindTry["refusal"];
    readonly needs: BindTry["needs"];
    readonly because: BindTry["because"];
    readonly waitMs: BindExplanation["waitMs"];
    /** The sockets that hold the port, as `selfconnect who` names them. */
    readonly inTheWay: readonly Pick<ExplainedHolder, "local" | "is" | "remedy">[];
  } | null;
  /** How long it took, in milliseconds. */
  readonly elapsedMs: number;
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** The fields of a DialReport that depend on the outcome. */
export type DialOutcome = Omit<DialReport, "schema" | "asked" | "environment">;

/** Builds the object of docs/schema/dial-1.json. */
export function dialReport(asked: string, outcome: DialOutcome): DialReport {
  const { verdict, local, peer, attempts, attemptCount, error, listenCheck, elapsedMs } = outcome;
  return {
    schema: "selfconnect.dial/1",
    asked: hideCredentials(asked),
    verdict,
    local,
    peer,
    attempts,
    attemptCount,
    error,
    listenCheck,
    elapsedMs,
    environment: environment(),
  };
}

/** A guarded connect for a terminal: the verdict, the four-tuple, every attempt. */
export function dialText(asked: string, outcome: DialOutcome, options: TextOptions = {}): string {
  const { verdict, local, peer, error, listenCheck, elapsedMs } = outcome;
  const isConnected = verdict === "connected";
  const lines: Line[] = [
    [
      `${hideCredentials(asked)}: `,
      paint(isConnected ? "green" : "red", verdict),
      ` after ${duration(elapsedMs)}`,
    ],
    ...(isConnected ? [`  local ${formatAddress(local!)}`, `  peer  ${formatAddress(peer!)}`] : []),
    ...(error ? [`  ${error.message}`] : []),
    ...attemptLines(outcome),
    ...(listenCheck ? indent("  ", listenLines(listenCheck)) : []),
  ];
  return renderText(lines, options);
}

/** The attempts with their numbers; those in the middle may have been left out. */
function attemptLines({ attempts, attemptCount }: DialOutcome): Line[] {
  const left = attemptCount - attempts.length;
  const middle = left > 0 ? attempts.length / 2 : attempts.length;
  const line = (attempt: Attempt, i: number) => `  attempt ${i + 1}: ${attemptText(attempt)}`;
  const last = attempts.slice(middle).map((attempt, i) => line(attempt, middle + left + i));
  return [
    ...attempts.slice(0, middle).map(line),
    ...(left > 0 ? [`  ${count(left)} more attempts`] : []),
    ...last,
  ];
}

function attemptText({ outcome, local, peer, elapsedMs }: Attempt): string {
  const from = local ? `${formatAddress(local)} -> ` : "";
  return `${from}${formatAddress(peer)} ${outcome}, ${duration(elapsedMs)}`;
}

function listenLines({
  address,
  inTheWay,
  waitMs,
  ...found
}: NonNullable<DialReport["listenCheck"]>): Line[] {
  return [serverLine({ local: address, ...found }, waitMs), ...indent("  ", inTheWay.flatMap(holderLines))];
}
