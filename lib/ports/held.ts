/** Which ports sockets keep from the kernel's choice now. */
import os from "node:os";
import { type PortFacts, portFacts, sysctl } from "../kernel/host.ts";
import type { PortHolder } from "../kernel/port-holders.ts";
import { findPortHolders, overlaps, showsBoundSockets } from "../kernel/port-holders.ts";
import { isAtLeast } from "../kernel/release.ts";
import { socketOwners } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, isSameHost } from "../socket/address.ts";
import { SocketError } from "../socket/errors.ts";
import { findFreePort } from "../socket/free-port.ts";
import { checkShape, invalidArgument, nearest } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, UNPRIVILEGED } from "../socket/port-range.ts";
import { specify } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { supported } from "../socket/supported.ts";
import type { Method } from "./method.ts";
import { checkMethod } from "./method.ts";

/** Everything on which the kernel's choice of a local port depends. */
export interface PortSituation extends PortFacts {
  /** Ports of the ephemeral range that sockets keep from the kernel now; without the peer's own port. */
  readonly heldPorts?: readonly number[];
  /**
   * A socket that keeps the peer's own port from the kernel, and not the server about which one asks: "[::1]:50000
   * (LISTEN)". A server at the peer's address, and the sockets of its process, do not count: the question is what
   * happens when it is down.
   */
  readonly keeper?: string | null;
  /** net.ipv4.ip_local_port_step_width (7.1 and later); default 0. */
  readonly stepWidth?: number;
  /** Whether the client sets SO_REUSEADDR before bind(2) with port 0, as libuv does; default false. */
  readonly reuseAddress?: boolean;
  /** What could not be seen, in words; empty when everything could. */
  readonly unseen?: readonly string[];
}

const SITUATION_KEYS = [
  ...["ephemeralRange", "reservedPorts"],
  ...["heldPorts", "keeper", "stepWidth", "reuseAddress", "unseen"],
];

/**
 * Throws ERR_INVALID_ARGUMENT for what is no situation, and ERR_UNKNOWN_OPTION for a key that nearly is one of its.
 * Other keys pass: environment() returns a situation with more.
 */
export function checkSituation(situation: PortSituation): void {
  const what = "a situation is what portSituation() or portFacts() returned";
  checkShape(what, situation, ["ephemeralRange", "reservedPorts"]);
  for (const key of Object.keys(situation)) {
    const meant = SITUATION_KEYS.includes(key) ? null : nearest(key, SITUATION_KEYS);
    if (meant) {
      const message = `"${key}" is not a fact of a situation: did you mean "${meant}"?`;
      throw invalidArgument("ERR_UNKNOWN_OPTION", message);
    }
  }
}

/** So many connects to a dead port take less than a second. */
const MOST_QUESTIONS = 20_000;

/**
 * sock_diag(7), proc(5): reads the ephemeral range, the reserved ports, and every socket that keeps a port from a
 * client that connects to `peer` by `method`. A connected socket does so if bind(2) or a listener put it on its port,
 * which no table shows: the kernel is asked, by a connect to a dead port of this host from a range of that one port.
 * Throws ERR_INVALID_ADDRESS and ERR_UNKNOWN_METHOD.
 */
export function portSituation(asked: Address | string, method: Method): PortSituation {
  const peer = checkAddress(asked);
  checkMethod(method);
  const facts = portFacts();
  const stepWidth = Number(sysctl("net.ipv4.ip_local_port_step_width") ?? 0);
  const { ephemeralRange } = facts;
  if (!ephemeralRange) return { ...facts, stepWidth };
  let holders: readonly PortHolder[];
  try {
    holders = findPortHolders(ephemeralRange).holders;
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
    return { ...facts, stepWidth, unseen: [`the sockets of this host (${error.code})`] };
  }
  const held = findHeldBy(holders, peer, method, ephemeralRange);
  const ownPort = holders.filter(({ local }) => local.port === peer.port && held.has(local.port));
  held.delete(peer.port);
  return {
    ...facts,
    stepWidth,
    heldPorts: [...held].sort((one, other) => one - other),
    keeper: keeperOf(ownPort, peer, method),
    unseen:
      showsBoundSockets() || isAtLeast(os.release(), "6.8")
        ? []
        : ["sockets that are bound and do nothing (Linux before 6.8 does not list them)"],
  };
}

function findHeldBy(
  holders: readonly PortHolder[],
  peer: Address,
  method: Method,
  range: PortRange,
): Set<number> {
  if (method === "bind") {
    const inTheWay = holders.filter((holder) => conflictsAt(holder, peer));
    return new Set(inTheWay.map(({ local }) => local.port));
  }
  const isBound = ({ state }: PortHolder) => state === "LISTEN" || state === "CLOSED";
  const held = new Set(holders.filter(isBound).map(({ local }) => local.port));
  const others = new Set(holders.map(({ local }) => local.port).filter((port) => !held.has(port)));
  for (const port of askWhichAreHeld([...others], range)) held.add(port);
  return held;
}

/** Whether bind(2) with port 0 to the peer's host avoids this holder's port: their addresses overlap. */
function conflictsAt({ local, isV6Only }: PortHolder, peer: Address): boolean {
  return overlaps(local, isV6Only, specify(peer));
}

/** IP_LOCAL_PORT_RANGE of one port, connect(2): EADDRNOTAVAIL when the kernel would not pick it. */
function askWhichAreHeld(ports: readonly number[], range: PortRange): number[] {
  if (ports.length === 0 || !supported("localPortRange")) return [];
  const asked = new Set(ports);
  const isWanted = (port: number) => !asked.has(port) && !holds(range, port);
  const dead: Address = { family: 4, host: "127.0.0.1", port: 0 };
  try {
    const peer = { ...dead, port: findFreePort(UNPRIVILEGED, { addresses: [dead], isWanted }) };
    return ports.slice(0, MOST_QUESTIONS).filter((port) => !isPickable(port, peer));
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_NO_FREE_PORT") return [];
    throw error;
  }
}

function isPickable(port: number, dead: Address): boolean {
  const socket = TcpSocket.open(4, { localPortRange: { low: port, high: port } });
  try {
    socket.connect(dead);
    return true;
  } catch (error) {
    if (error instanceof SocketError) return error.code !== "EADDRNOTAVAIL";
    throw error;
  } finally {
    socket.reset();
  }
}

/** Names a holder of the peer's port that stays when the server at the peer's address ends. */
function keeperOf(holders: readonly PortHolder[], peer: Address, method: Method): string | null {
  const servers = holders.filter((holder) => holder.state === "LISTEN" && conflictsAt(holder, peer));
  const relevant = method === "bind" ? holders.filter((holder) => conflictsAt(holder, peer)) : holders;
  const others = relevant.filter((holder) => !servers.includes(holder));
  if (others.length === 0) return null;
  const owners = socketOwners(holders.map(({ inode }) => inode));
  const serving = new Set(servers.map(({ inode }) => owners.get(inode)?.pid));
  const stays = others.find((holder) => {
    if (servers.length === 0) return true;
    // What the server has accepted ends with it, and so do the other sockets of its process.
    const pid = owners.get(holder.inode)?.pid;
    return pid === undefined ? !isSameHost(holder.local, peer) : !serving.has(pid);
  });
  return stays ? `${formatAddress(stays.local)} (${stays.state})` : null;
}
