/** The guard's words: what a self-connect is, and which local ports prevent one. */

import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";

/** How far the guard goes. It prevents where the kernel lets it, and detects always, unless it is off. */
export type Guard = "prevent" | "detect" | "off";

/** What every door of the guard takes. */
export interface GuardOptions {
  /** "prevent" unless said otherwise; it falls back to detection where the kernel cannot prevent. */
  readonly guard?: Guard;
  /** Set before bind(2) and connect(2), on every socket that is made. */
  readonly options?: Partial<SocketOptions>;
}

const GUARDS: readonly Guard[] = ["prevent", "detect", "off"];

/**
 * The ranges that IP_LOCAL_PORT_RANGE can take so that the kernel cannot pick `port`: what is below it and what is
 * above, the longer first. The second is for when the first is exhausted, so no port is given up but the one.
 * Empty when the kernel cannot pick that port anyhow (it lies outside the range, or is reserved), or has no other.
 *
 * Why not count on parity: a plain connect(2) takes ports of the low end's parity, and the others only when those
 * are exhausted. That "only" is when a self-connect would come after all; and with the option set, Linux 6.8 and
 * later take both parities (6.3 to 6.7 take the parity of the option's own low end first). So a port of either
 * parity is left out in the same way.
 */
export function rangesWithout(
  port: number,
  range: PortRange,
  reserved: readonly PortRange[] = [],
): readonly PortRange[] {
  if (!holds(range, port) || reserved.some((each) => holds(each, port))) return [];
  const below = { low: range.low, high: port - 1 };
  const above = { low: port + 1, high: range.high };
  const inOrder = portCount(below) >= portCount(above) ? [below, above] : [above, below];
  return inOrder.filter((each) => portCount(each) > 0);
}

/** Throws ERR_UNKNOWN_GUARD unless the value is one of the guard's words; "prevent" when there is none. */
export function checkGuard(value: Guard | undefined): Guard {
  if (value === undefined) return "prevent";
  if (GUARDS.includes(value)) return value;
  const meant = nearest(String(value), GUARDS);
  const mend = meant ? `did you mean "${meant}"?` : `use ${GUARDS.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_GUARD", `"${String(value)}" is not a guard: ${mend}`);
}
