/** Ranges of ports: the ephemeral range, a socket's own narrower one, lists of reserved ports. */

/** Two ports, both included; 0 means the namespace's own bound. */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

/** Whether a port lies inside a range. */
export function holds(range: PortRange, port: number): boolean {
  return range.low <= port && port <= range.high;
}

/** How many ports a range holds. */
export function portCount(range: PortRange): number {
  return Math.max(0, range.high - range.low + 1);
}

/** What two ranges have in common as IP_LOCAL_PORT_RANGE means it: a bound of 0, or outside, is the outer one's own. */
export function clipRange(range: PortRange, outer: PortRange): PortRange {
  return {
    low: holds(outer, range.low) ? range.low : outer.low,
    high: holds(outer, range.high) ? range.high : outer.high,
  };
}

/** "8080,9148-9150" as ranges. */
export function parsePortList(text: string): PortRange[] {
  return text
    .split(",")
    .filter(Boolean)
    .map((part) => {
      const [low, high] = part.split("-").map(Number);
      return { low: low!, high: high ?? low! };
    });
}
