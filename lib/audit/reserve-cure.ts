/** The cure that works for every client: reserved ports, which the kernel never picks. */
import type { PortFacts } from "../kernel/host.ts";
import type { PortRange } from "../socket/port-range.ts";
import { addPort, formatPortList, holds, mergeRanges } from "../socket/port-range.ts";
import { pickedPorts } from "./reserve.ts";
import type { SysctlCure } from "./sysctl-cure.ts";
import { sysctlCure } from "./sysctl-cure.ts";
import { persistentPorts, RESERVED_PORTS_KEY, SYSCTL_FILE } from "./sysctl-files.ts";

/** How to reserve ports, in addition to those that are reserved already. Kubernetes allows it since 1.27. */
export interface ReserveCure extends SysctlCure {
  /** The ports to add. */
  readonly ports: readonly number[];
  /** The whole list, which replaces the one before. */
  readonly value: string;
}

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
  const all = addTo(facts.reservedPorts, ports, range);
  if (!all) return null;
  const wasReserved = (port: number) => facts.reservedPorts.some((list) => holds(list, port));
  const value = formatPortList(all);
  // A list for the next boot keeps what is in it, too.
  const kept = pid === null ? mergeRanges([...all, ...persistentPorts()]) : all;
  return {
    ports: listPorts(all).filter((port) => !wasReserved(port)),
    value,
    ...sysctlCure({ [RESERVED_PORTS_KEY]: value }, SYSCTL_FILE, pid, {
      [RESERVED_PORTS_KEY]: formatPortList(kept),
    }),
  };
}

/** Adds the ports to the list, and the last one of the range where they make the kernel reach it. */
function addTo(list: readonly PortRange[], ports: readonly number[], range: PortRange): PortRange[] | null {
  const after = mergeRanges([...list, ...ports.map((port) => ({ low: port, high: port }))]);
  const before = pickedPorts(range, list);
  const gained = [...pickedPorts(range, after)].filter((port) => !before.has(port));
  if (gained.length > 1) return null; // No port of the first parity is left.
  const all = gained.reduce(addPort, after);
  return pickedPorts(range, all).size > 0 ? all : null;
}

function listPorts(ranges: readonly PortRange[]): number[] {
  return ranges.flatMap(({ low, high }) => Array.from({ length: high - low + 1 }, (_, index) => low + index));
}
