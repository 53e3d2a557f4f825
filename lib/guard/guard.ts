/** The values of the `guard` option, and the port ranges that prevent a self-connect. */

import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";

/**
 * "prevent" keeps the kernel from picking the peer's port, where the kernel can (Linux 6.3); what it cannot prevent,
 * it detects. "detect" resets a self-connect when connect(2) has ended. "off" does neither.
 */
export type Guard = "prevent" | "detect" | "off";

/** The options of dial(), connect() and of every other function that guards. */
export interface GuardOptions {
  /** Default "prevent", which falls back to "detect" where the kernel cannot prevent. */
  readonly guard?: Guard;
  /** Set by setsockopt(2) on every new socket, before bind(2) and connect(2). */
  readonly options?: Partial<SocketOptions>;
}

const GUARDS: readonly Guard[] = ["prevent", "detect", "off"];

/**
 * Values of IP_LOCAL_PORT_RANGE with which the kernel cannot pick `port`: the ports below it and the ports above it,
 * the longer range first. Use the second when the first is exhausted; then `port` is the only one left out. Returns
 * [] when the kernel cannot pick `port` anyway (it is outside the range or reserved), or when it has no other port.
 *
 * Parity does not prevent it: a plain connect(2) takes ports of the low end's parity, and the others only when those
 * are exhausted, but then a self-connect can happen after all. With the option set, Linux 6.8 and later take both
 * parities (6.3 to 6.7 take the parity of the option's low end first). So ports of both parities are treated alike.
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

/** Returns the value, or "prevent" for undefined. Throws ERR_UNKNOWN_GUARD for anything else. */
export function checkGuard(value: Guard | undefined): Guard {
  if (value === undefined) return "prevent";
  if (GUARDS.includes(value)) return value;
  const meant = nearest(String(value), GUARDS);
  const fix = meant ? `did you mean "${meant}"?` : `use ${GUARDS.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_GUARD", `"${String(value)}" is not a guard: ${fix}`);
}
