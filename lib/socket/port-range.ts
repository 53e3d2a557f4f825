/** Ranges of ports: the ephemeral range, the narrower range of one socket, lists of reserved ports. */

/** From `low` to `high`, both included; in IP_LOCAL_PORT_RANGE a bound of 0 means the bound of the ephemeral range. */
export interface PortRange {
  /** The first port, which belongs to it. */
  readonly low: number;
  /** The last port, which belongs to it. */
  readonly high: number;
}

/** The ports that need no privilege to bind to, unless net.ipv4.ip_unprivileged_port_start says otherwise. */
export const UNPRIVILEGED: PortRange = { low: 1024, high: 65_535 };

/** Whether a range includes a port. */
export function holds(range: PortRange, port: number): boolean {
  return range.low <= port && port <= range.high;
}

/** The number of ports in a range; 0 when `low` is above `high`. */
export function portCount(range: PortRange): number {
  return Math.max(0, range.high - range.low + 1);
}

/** Clips a range as IP_LOCAL_PORT_RANGE does: a bound of 0, or outside `outer`, becomes the bound of `outer`. */
export function clipRange(range: PortRange, outer: PortRange): PortRange {
  return {
    low: holds(outer, range.low) ? range.low : outer.low,
    high: holds(outer, range.high) ? range.high : outer.high,
  };
}

/** The ports that two ranges share; low is above high when they share none. A bound of 0 is the bound of `outer`. */
export function sharedRange(range: PortRange, outer: PortRange): PortRange {
  return {
    low: Math.max(range.low || outer.low, outer.low),
    high: Math.min(range.high || outer.high, outer.high),
  };
}

/** Parses "8080,9148-9150". */
export function parsePortList(text: string): PortRange[] {
  return text
    .split(",")
    .filter(Boolean)
    .map((part) => {
      const [low, high] = part.split("-").map(Number);
      return { low: low!, high: high ?? low! };
    });
}

/** Formats ranges as parsePortList() reads them: "8080,9148-9150". */
export function formatPortList(ranges: readonly PortRange[]): string {
  return ranges.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`)).join(",");
}

/** Sorts the ranges and joins those that overlap or touch. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of [...ranges].sort((one, other) => one.low - other.low)) {
    const last = merged.at(-1);
    if (last && range.low <= last.high + 1) {
      merged[merged.length - 1] = { low: last.low, high: Math.max(last.high, range.high) };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** The ranges and one port more, merged. */
export function addPort(ranges: readonly PortRange[], port: number): PortRange[] {
  return mergeRanges([...ranges, { low: port, high: port }]);
}

/** The ranges without one port, merged. */
export function removePort(ranges: readonly PortRange[], port: number): PortRange[] {
  return mergeRanges(ranges).flatMap((range) => {
    if (!holds(range, port)) return [range];
    const parts = [
      { low: range.low, high: port - 1 },
      { low: port + 1, high: range.high },
    ];
    return parts.filter((part) => portCount(part) > 0);
  });
}
