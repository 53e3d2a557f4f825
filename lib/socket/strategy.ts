/** The strategies of a loop. */
import { checkChoice } from "./misuse.ts";

/** How an attempt gets its local port. */
export type Strategy =
  /** A new socket each time, autobind at connect: what `nc` in a loop does. */
  | "fresh"
  /** The same socket connects again after a refusal: the fastest strategy that leaves the port to the kernel. */
  | "reuse"
  /** bind(address, 0) first: on Linux the kernel picks ports of the other parity. */
  | "autobind"
  /** bind(address, P) first: self-connects at once, on any kernel. */
  | "bind"
  /** IP_LOCAL_PORT_RANGE = [P, P]: self-connects at once, because the kernel can only choose P. */
  | "range";

/** Every strategy. */
export const STRATEGIES: readonly Strategy[] = ["fresh", "reuse", "autobind", "bind", "range"];

/** Throws ERR_UNKNOWN_STRATEGY with the near miss. */
export function checkStrategyName(strategy: Strategy): void {
  checkChoice("ERR_UNKNOWN_STRATEGY", "a strategy", strategy, STRATEGIES);
}
