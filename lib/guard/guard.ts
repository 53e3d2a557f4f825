/** The values of the `guard` option, and the options of everything that guards. */

import { invalidArgument, nearest, textOf } from "../socket/misuse.ts";
import type { SocketOptions } from "../socket/options.ts";

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

/** Returns the value, or "prevent" for undefined. Throws ERR_UNKNOWN_GUARD for anything else. */
export function checkGuard(value: Guard | undefined): Guard {
  if (value === undefined) return "prevent";
  if (GUARDS.includes(value)) return value;
  const meant = nearest(textOf(value), GUARDS);
  const fix = meant ? `did you mean "${meant}"?` : `use ${GUARDS.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_GUARD", `"${textOf(value)}" is not a guard: ${fix}`);
}
