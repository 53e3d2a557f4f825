/** Reserves ports: the kernel never picks a reserved port as a local one, now and after a reboot. */
import { writeFileSync } from "node:fs";
import { portFacts } from "../kernel/host.ts";
import { findSockets } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import { checkFlags, checkKeys, invalidArgument } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";
import { addPort, formatPortList, holds, removePort } from "../socket/port-range.ts";
import type { PersistentReservation } from "./sysctl-files.ts";
import { planFile, withFile } from "./sysctl-files.ts";

/** What a reservation changes for plain connects to other ports. */
export interface ReservationEffects {
  /** Ports that the kernel did not pick before. */
  readonly nowPicked: readonly PortRange[];
  /** Listeners on such ports: a client of theirs can now be joined to itself while they are down. */
  readonly endangered: readonly Address[];
  /** The port that the kernel picks in place of a reserved one, so many times as often as any other; null without. */
  readonly heir: { readonly port: number; readonly times: number } | null;
  /** Whether the kernel has no port left to pick: a connect without bind(2) of a port fails with EADDRNOTAVAIL. */
  readonly leavesNoPort: boolean;
}

/** What reserve() changed, or would change. */
export interface Reservation {
  /** The port that was asked for. */
  readonly port: number;
  /** net.ipv4.ip_local_port_range: outside it a reservation changes nothing. */
  readonly ephemeralRange: PortRange;
  /** net.ipv4.ip_local_reserved_ports before. */
  readonly before: readonly PortRange[];
  /** The list afterwards; with `dryRun` what it would be. */
  readonly after: readonly PortRange[];
  /** False when the port was reserved already, or with `undo` was not. */
  readonly isChange: boolean;
  /** Whether the list was written; false with `dryRun`, and when there was nothing to change. */
  readonly isDone: boolean;
  /** Null without `persist`. */
  readonly persistent: PersistentReservation | null;
  /** What the reservation does to other ports. */
  readonly effects: ReservationEffects;
}

/** How reserve() acts. */
export interface ReserveOptions {
  /** Take the port out of the list instead. */
  readonly undo?: boolean;
  /** Also write a file of sysctl.d(5), for the next boot. */
  readonly persist?: boolean;
  /** Compute and change nothing. */
  readonly dryRun?: boolean;
}

const KERNEL_FILE = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/**
 * sysctl(8), net.ipv4.ip_local_reserved_ports: adds a port to the list of this network namespace, keeping what is in
 * it, and with `persist` to a file of sysctl.d(5). Computes first what that does to other ports. Throws
 * ERR_INVALID_PORT, ERR_NO_RANGE where the host does not report its ephemeral range, EACCES or EROFS where it may not
 * be changed: then neither the list nor the file has changed.
 *
 * @example
 * import { reserve } from "selfconnect/audit";
 *
 * const { after, isDone } = reserve(50_000, { dryRun: true });
 * console.log(after, isDone); // [ { low: 50000, high: 50000 } ] false
 */
export function reserve(port: number, options: ReserveOptions = {}): Reservation {
  checkKeys("reserve()", options, ["undo", "persist", "dryRun"]);
  checkFlags(options, ["undo", "persist", "dryRun"]);
  const { undo = false, persist = false, dryRun = false } = options;
  checkPort(port);
  if (port === 0)
    throw invalidArgument("ERR_INVALID_PORT", "port 0 is not a port: use 1 to 65535", RangeError);
  const { ephemeralRange, reservedPorts: before } = portFacts();
  if (!ephemeralRange) throw invalidArgument("ERR_NO_RANGE", "this host does not report its ephemeral range");
  const after = undo ? removePort(before, port) : addPort(before, port);
  const plan = persist ? planFile(port, undo) : null;
  const effects = effectsOf(ephemeralRange, before, after, port);
  if (!dryRun) {
    const set = () => writeFileSync(KERNEL_FILE, `${formatPortList(after)}\n`);
    if (plan) withFile(plan.content, set);
    else set();
  }
  const isChange = formatPortList(before) !== formatPortList(after);
  const persistent = plan?.reservation ?? null;
  return { port, ephemeralRange, before, after, isChange, isDone: !dryRun, persistent, effects };
}

function effectsOf(
  range: PortRange,
  before: readonly PortRange[],
  after: readonly PortRange[],
  port: number,
): ReservationEffects {
  const [was, is] = [pickedPorts(range, before), pickedPorts(range, after)];
  const gained = [...is].filter((one) => !was.has(one));
  // Undoing a reservation makes the port itself available, which is no surprise.
  const others = gained.filter((one) => one !== port).sort((one, other) => one - other);
  const nowPicked = others.reduce<PortRange[]>(addPort, []);
  const endangered = findListeners(nowPicked);
  return { nowPicked, endangered, heir: findHeir(range, after, port, is), leavesNoPort: is.size === 0 };
}

function findListeners(ranges: readonly PortRange[]): Address[] {
  if (ranges.length === 0) return [];
  return findSockets({ states: ["LISTEN"] })
    .rows.map(({ local }) => local)
    .filter(({ port }) => ranges.some((range) => holds(range, port)));
}

/**
 * The ports that connect(2) can pick, as its walk does (net/ipv4/inet_hashtables.c, __inet_hash_connect): it goes in
 * steps of two from the range's low end, over an even number of ports, so that it reaches the last port of an odd
 * number from its unusable neighbour only. It tries the other parity when all ports of the first are unusable.
 */
export function pickedPorts({ low, high }: PortRange, reserved: readonly PortRange[]): Set<number> {
  const unusable = new Uint8Array(high + 1);
  for (const range of reserved) unusable.fill(1, range.low, range.high + 1);
  const isUsable = (port: number) => unusable[port] !== 1;
  const size = high - low + 1;
  if (size === 1) return new Set(isUsable(low) ? [low] : []);
  const ofParity = (first: number) => {
    const picked = new Set<number>();
    for (let port = first; port <= high; port += 2) {
      const isBeyond = port - low >= size - (size % 2);
      if (isUsable(port) && (!isBeyond || !isUsable(port - 2))) picked.add(port);
    }
    return picked;
  };
  const first = ofParity(low);
  return first.size > 0 ? first : ofParity(low + 1);
}

/** The next port that the walk tries after a reserved one inherits its hits. */
function findHeir(
  { low, high }: PortRange,
  reserved: readonly PortRange[],
  port: number,
  picked: ReadonlySet<number>,
): ReservationEffects["heir"] {
  const isReserved = (one: number) => reserved.some((range) => holds(range, one));
  if (port < low || port > high || !isReserved(port)) return null;
  let heir = port;
  while (heir <= high && isReserved(heir)) heir += 2;
  if (!picked.has(heir)) return null;
  let times = 1;
  for (let before = heir - 2; before >= low && isReserved(before); before -= 2) times++;
  return { port: heir, times };
}
