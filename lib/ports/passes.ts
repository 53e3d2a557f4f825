/** How often a walk of local ports went past one port without picking it. */
import { checkShape } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";

/** A step over the port: from the attempt before it to the attempt after it. */
export interface WalkPasses {
  /** The attempts (counted from 0) whose step went past the port, or ended on it. */
  readonly at: readonly number[];
  /** How many attempts had a local port of the other parity than the port. */
  readonly otherParity: number;
}

/**
 * Finds the steps of a walk that went past a port or ended on it. A step of more than half the range is a jump to a new
 * place, as a new salt makes it, and passes nothing.
 */
export function findPasses(ports: Uint16Array, port: number, range: PortRange): WalkPasses {
  checkShape("findPasses() takes a range, { low, high }", range, ["low", "high"]);
  const size = range.high - range.low + 1;
  const forward = (from: number, to: number) => (((to - from) % size) + size) % size;
  const at: number[] = [];
  let otherParity = 0;
  for (let attempt = 0; attempt < ports.length; attempt++) {
    const [before, here] = [ports[attempt - 1], ports[attempt]!];
    if ((here - port) % 2 !== 0) otherParity++;
    const step = before === undefined ? 0 : forward(before, here);
    const isPast =
      step <= size / 2 && before !== undefined && forward(before, port) <= step && before !== port;
    if (here === port || isPast) at.push(attempt);
  }
  return { at, otherParity };
}
