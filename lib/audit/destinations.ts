/** Counts the ports in use towards each destination, before connect(2) ends in EADDRNOTAVAIL. */
import type { PortFacts } from "../kernel/host.ts";
import { sysctl } from "../kernel/host.ts";
import type { SocketRow, TableSocket } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";
import type { SysctlCure } from "./sysctl-cure.ts";
import { sysctlCure } from "./sysctl-cure.ts";

/** The ports of the ephemeral range that connections from one local address to one peer use. */
export interface Destination {
  /** With port 0. */
  readonly local: Address;
  /** The address of the connections' other end. */
  readonly peer: Address;
  /** Ports that connect(2) cannot pick now for this local address and peer. */
  readonly portsInUse: number;
  /** How many of them are in TIME-WAIT. */
  readonly timeWait: number;
  /** Ports in TIME-WAIT that connect(2) may take again (net.ipv4.tcp_tw_reuse): they are not in use. */
  readonly reusable: number;
  /** How many ports connect(2) can pick: those of the range that are neither reserved nor held by bind(2). */
  readonly ports: number;
}

/** Whether connect(2) takes a port from TIME-WAIT, as the sysctls of the network namespace say. */
export interface TimeWaitReuse {
  /** "loopback" is the default: only between addresses of which one is of loopback. */
  readonly allows: "all" | "loopback" | "none";
  /** net.ipv4.tcp_tw_reuse as it is set; null where the kernel does not report it. */
  readonly setting: number | null;
  /** net.ipv4.tcp_timestamps: without timestamps no port is taken from TIME-WAIT. */
  readonly hasTimestamps: boolean;
  /** How long TIME-WAIT lasts before that (net.ipv4.tcp_tw_reuse_delay since Linux 6.14, else a second). */
  readonly delayMs: number;
}

/** Destinations that use less of the range are not reported. */
const LEAST_SHARE = 0.1;
/** From this share of the ports on, something is to be done. */
const MUCH = 0.5;
const MOST_DESTINATIONS = 20;
const TIME_WAIT_MS = 60_000;
const REUSE_DELAY_MS = 1000;

interface Count {
  living: number;
  readonly peerPort: number;
  /** How many are in TIME-WAIT, and how many of these long enough. */
  timeWait: number;
  rested: number;
  readonly decode: () => SocketRow;
}

/** proc(5), /proc/sys/net/ipv4: reads when connect(2) takes a port from TIME-WAIT. */
export function readTimeWaitReuse(namespaceFd: number): TimeWaitReuse {
  const read = (name: string) => sysctl(`net.ipv4.${name}`, namespaceFd);
  const text = read("tcp_tw_reuse");
  const setting = text === null ? null : Number(text);
  const hasTimestamps = read("tcp_timestamps") !== "0";
  const allowed = setting === 1 ? "all" : setting === 2 ? "loopback" : "none";
  return {
    allows: hasTimestamps ? allowed : "none",
    setting,
    hasTimestamps,
    delayMs: Number(read("tcp_tw_reuse_delay") ?? REUSE_DELAY_MS),
  };
}

/** Whether so many of the ports are in use that something is to be done. */
export function isNearlyFull({ portsInUse, ports }: Destination): boolean {
  return portsInUse >= ports * MUCH;
}

const REUSE_FILE = "/etc/sysctl.d/zz-selfconnect-time-wait.conf";

/**
 * net.ipv4.tcp_tw_reuse: how to let connect(2) take ports from TIME-WAIT. Null where it does so already, and where no
 * destination that is nearly full has most of its ports in TIME-WAIT.
 */
export function reuseCure(
  destinations: readonly Destination[],
  reuse: TimeWaitReuse,
  pid: number | null = null,
): SysctlCure | null {
  const helps = destinations.some((one) => {
    const isResting = one.timeWait * 2 > one.portsInUse;
    return isNearlyFull(one) && isResting && !mayReuse(one.local, one.peer, reuse);
  });
  if (!helps || reuse.setting === null) return null;
  const settings = {
    ...(reuse.setting !== 1 && { "net.ipv4.tcp_tw_reuse": "1" }),
    ...(!reuse.hasTimestamps && { "net.ipv4.tcp_timestamps": "1" }),
  };
  return sysctlCure(settings, REUSE_FILE, pid);
}

/** Counts while the table is walked. */
export class DestinationCounter {
  readonly #range: PortRange | null;
  readonly #reuse: TimeWaitReuse;
  readonly #counts = new Map<string, Count>();

  constructor(range: PortRange | null, reuse: TimeWaitReuse) {
    this.#range = range;
    this.#reuse = reuse;
  }

  /** Counts a socket with a peer. The four-tuple is unique, so each one has a port of its own. */
  add(socket: TableSocket): void {
    if (!this.#range || !holds(this.#range, socket.localPort)) return;
    const { path, peerPort } = socket;
    let count = this.#counts.get(path);
    if (!count) {
      count = { living: 0, peerPort, timeWait: 0, rested: 0, decode: socket.keep() };
      this.#counts.set(path, count);
    }
    if (socket.state !== "TIME-WAIT") count.living++;
    else {
      count.timeWait++;
      if (TIME_WAIT_MS - socket.timerMs >= this.#reuse.delayMs) count.rested++;
    }
  }

  /** The destinations that use a tenth of the ports or more, the fullest first. */
  list({ ephemeralRange, reservedPorts }: PortFacts, heldPorts: ReadonlySet<number>): Destination[] {
    if (!ephemeralRange) return [];
    const ports = countUsable(ephemeralRange, reservedPorts, heldPorts);
    const found = new Map<string, Destination>();
    for (const count of this.#candidates(ports)) {
      const row = count.decode();
      const [local, peer] = [{ ...unmap(row.local), port: 0 }, unmap(row.peer)];
      const reusable = mayReuse(local, peer, this.#reuse) ? count.rested : 0;
      const timeWait = count.timeWait - reusable;
      // A connection of an IPv6 socket over IPv4 is in the same table as one of an IPv4 socket.
      const key = `${formatAddress(local)} ${formatAddress(peer)}`;
      const other = found.get(key) ?? { portsInUse: 0, timeWait: 0, reusable: 0 };
      found.set(key, {
        local,
        peer,
        portsInUse: other.portsInUse + count.living + timeWait,
        timeWait: other.timeWait + timeWait,
        reusable: other.reusable + reusable,
        ports,
      });
    }
    return [...found.values()]
      .filter(({ portsInUse }) => portsInUse >= ports * LEAST_SHARE)
      .sort((a, b) => b.portsInUse - a.portsInUse)
      .slice(0, MOST_DESTINATIONS);
  }

  /**
   * The counts that may be of a destination to report, because decoding each one is expensive: sockets of both families
   * can have the same one, and then those of one family have half of its ports at least.
   */
  #candidates(ports: number): Count[] {
    const counts = [...this.#counts.values()];
    const least = (ports * LEAST_SHARE) / 2;
    const peerPorts = new Set(
      counts.filter(({ living, timeWait }) => living + timeWait >= least).map(({ peerPort }) => peerPort),
    );
    return counts.filter(({ peerPort }) => peerPorts.has(peerPort));
  }
}

/** tcp_twsk_unique() (net/ipv4/tcp_ipv4.c): "loopback" asks whether one of the addresses is of loopback. */
function mayReuse(local: Address, peer: Address, { allows }: TimeWaitReuse): boolean {
  return allows === "all" || (allows === "loopback" && (isLoopback(local) || isLoopback(peer)));
}

function isLoopback({ host }: Address): boolean {
  return host.startsWith("127.") || host === "::1";
}

function countUsable(
  range: PortRange,
  reserved: readonly PortRange[],
  heldPorts: ReadonlySet<number>,
): number {
  const unusable = new Set([...heldPorts].filter((port) => holds(range, port)));
  for (const { low, high } of reserved) {
    for (let port = Math.max(low, range.low); port <= Math.min(high, range.high); port++) unusable.add(port);
  }
  return portCount(range) - unusable.size;
}
