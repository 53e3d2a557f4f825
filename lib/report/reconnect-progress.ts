/** A loop while it runs, and the harm of its socket joined to itself, for a terminal. */
import type { ExplainedHolder } from "../audit/explain-bind.ts";
import type { ReconnectLoop, ReconnectProgress } from "../loop/reconnect.ts";
import type { PortSituation } from "../ports/held.ts";
import { expectedAttempts } from "../ports/predict.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import type { PortRange } from "../socket/port-range.ts";
import { count, duration, pluralize } from "./numbers.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, renderText } from "./terminal.ts";
import { holderLines } from "./who.ts";

const BAR_WIDTH = 8;

/** What a socket joined to itself keeps others from, while it is open. */
export interface ReconnectHarm {
  /** The address that the socket is joined to itself on. */
  readonly local: Address;
  /** What listenRefusal() returned for its address. */
  readonly refusal: ErrnoName | null;
  /** The holders of the port, as explainBind() returned them. */
  readonly holders: readonly ExplainedHolder[];
  /** What was sent, and what the same socket then received. */
  readonly sent: string;
  /** What the socket received: the same, for it reads what it writes. */
  readonly received: string;
}

/** A line for the start of a loop: the peer, how it gets its local ports, and the expected number of attempts. */
export function reconnectStartText(
  { peer, strategy }: Pick<ReconnectLoop, "peer" | "strategy">,
  situation: PortSituation,
  pace: { readonly attemptsPerSecond?: number } = {},
): string {
  const range = situation.ephemeralRange;
  const attempts = expectedAttempts(peer, strategy, situation, pace);
  const inRange = range ? `, ephemeral range ${range.low}-${range.high}` : "";
  const isKnown = attempts !== null && attempts !== Number.POSITIVE_INFINITY;
  const expected = isKnown ? `, about ${pluralize(Math.round(attempts), "attempt")} expected` : "";
  return `reconnecting to ${formatAddress(peer)}: strategy ${strategy}${inRange}${expected}`;
}

/** A line for a running loop; `remaining` is what expectedRemaining() returns for its local port. */
export function reconnectProgressText(
  { attempts, attemptsPerSecond, localPort, elapsedMs }: ReconnectProgress,
  range: PortRange | null,
  remaining: number | null,
): string {
  const parts = [`${count(attempts)} attempts`, `${count(attemptsPerSecond)}/s`];
  if (localPort && range) parts.push(rangeBar(localPort, range));
  parts.push(duration(elapsedMs));
  if (remaining !== null && attemptsPerSecond > 0)
    parts.push(`~${duration((remaining / attemptsPerSecond) * 1000)} to go`);
  return parts.join(" · ");
}

/** The position of a port in the ephemeral range: "port 45678 ━━━●────". */
function rangeBar(port: number, range: PortRange): string {
  const share = (port - range.low) / (range.high - range.low + 1);
  const at = Math.min(BAR_WIDTH - 1, Math.max(0, Math.floor(share * BAR_WIDTH)));
  return `port ${port} ${"━".repeat(at)}●${"─".repeat(BAR_WIDTH - 1 - at)}`;
}

/** The harm while the socket is open. */
export function reconnectHarmText(
  { local, refusal, holders, sent, received }: ReconnectHarm,
  options: TextOptions = {},
): string {
  const inTheWay = holders.filter(({ isInTheWay }) => isInTheWay);
  const lines: Line[] = [
    "",
    "the harm while it is open",
    `  a server's listen on ${formatAddress(local)}: ${refusal ?? "starts (unexpected)"}`,
    ...indent("    ", inTheWay.flatMap(holderLines)),
    `  wrote "${sent}", read "${received}"`,
  ];
  return renderText(lines, options);
}

/** What listenRefusal() returned once the socket was reset. */
export function reconnectAfterText(
  local: Address,
  refusal: ErrnoName | null,
  options: TextOptions = {},
): string {
  const started = `  a server's listen on ${formatAddress(local)}: ${refusal ?? "starts at once"}`;
  return renderText(["after reset()", started], options);
}
