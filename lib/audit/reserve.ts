/** The cure that works for every client: reserved ports, which the kernel never picks. */
import type { PortFacts } from "../kernel/host.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";

/** How to reserve ports, in addition to those that are reserved already. */
export interface ReserveCure {
  /** The ports to add. */
  readonly ports: readonly number[];
  /** The whole list, which replaces the one before. */
  readonly value: string;
  /** A command for now; it ends with the next boot. */
  readonly now: string;
  /** A command for every boot; null in another network namespace, whose container has its own settings. */
  readonly lasting: string | null;
  /** The flag of docker run and podman run: a container has a list of its own. */
  readonly container: string;
  /** The field of a Pod's spec; allowed without further settings since Kubernetes 1.27. */
  readonly kubernetes: string;
}

const SYSCTL = "net.ipv4.ip_local_reserved_ports";
/** sysctl.d(5): files are read in the order of their names, and the last setting counts. */
export const SYSCTL_FILE = "/etc/sysctl.d/90-selfconnect.conf";

/**
 * ip_local_reserved_ports: how to reserve these ports; null without any, and where that would endanger others: with no
 * port of the first parity left, the kernel picks those of the other. `pid` is a process of the network namespace, when
 * that is not the one of this process.
 */
export function reserveCure(
  ports: readonly number[],
  facts: PortFacts,
  pid: number | null = null,
): ReserveCure | null {
  const range = facts.ephemeralRange;
  if (ports.length === 0 || range === null) return null;
  const added = withLastPort([...new Set(ports)], range).sort((a, b) => a - b);
  const all = mergeRanges([...facts.reservedPorts, ...added.map((port) => ({ low: port, high: port }))]);
  if (!leavesFirstParity(all, range)) return null;
  const value = all.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`)).join(",");
  const enter = pid === null ? "" : `nsenter --net=/proc/${pid}/ns/net `;
  return {
    ports: added,
    value,
    now: `${enter}sysctl -w ${SYSCTL}=${value}`,
    lasting: pid === null ? `echo '${SYSCTL} = ${value}' > ${SYSCTL_FILE}` : null,
    container: `--sysctl ${SYSCTL}=${value}`,
    kubernetes: `securityContext: { sysctls: [{ name: ${SYSCTL}, value: "${value}" }] }`,
  };
}

/**
 * In a range of an odd number of ports, the kernel reaches the last one only by stepping over the port two below it.
 * Where that one gets reserved, the last one has to be too.
 */
function withLastPort(ports: number[], { low, high }: PortRange): number[] {
  const isOdd = portCount({ low, high }) % 2 === 1;
  return isOdd && ports.includes(high - 2) && !ports.includes(high) ? [...ports, high] : ports;
}

function leavesFirstParity(reserved: readonly PortRange[], { low, high }: PortRange): boolean {
  for (let port = low; port <= high; port += 2) {
    if (!reserved.some((range) => holds(range, port))) return true;
  }
  return false;
}

/** Sorts the ranges and joins those that overlap or touch. */
function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const result: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.low - b.low)) {
    const last = result.at(-1);
    if (last && range.low <= last.high + 1) {
      result[result.length - 1] = { low: last.low, high: Math.max(last.high, range.high) };
    } else {
      result.push(range);
    }
  }
  return result;
}
