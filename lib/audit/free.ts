/** Frees the ports of sockets that are joined to themselves, in whichever process, without ending it. */

import { setTimeout as sleep } from "node:timers/promises";
import { OWN_NAMESPACE } from "../kernel/host.ts";
import type { NetworkNamespace } from "../kernel/namespaces.ts";
import { findOtherNamespaces, withNamespace } from "../kernel/namespaces.ts";
import type { Process } from "../kernel/owners.ts";
import { findProcesses } from "../kernel/owners.ts";
import type { PortHolder } from "../kernel/port-holders.ts";
import { findPortHolders, isHeldHost } from "../kernel/port-holders.ts";
import { ALL_PORTS } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { encodeAddress, isSameHost, unmap } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { errnoName } from "../socket/errors.ts";
import { checkFlags, checkKeys, invalidArgument, textOf } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import { isSelfConnect, isUnspecified } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { ExplainedHolder } from "./explain-bind.ts";
import { canStart, findObstacles, NO_NAMESPACES, toBindAddress } from "./explain-bind.ts";

/** How a connection of another process was ended. */
export type FreedBy = "SOCK_DESTROY" | "pidfd_getfd";

/** One socket joined to itself, and what became of it. */
export interface FreedSocket {
  /** Its local address, which is also its peer. */
  readonly local: Address;
  /** Its state before. */
  readonly state: TcpState;
  /** The processes that had it open; empty when none is visible. */
  readonly processes: readonly Process[];
  /** The number of the network namespace; null for the one of this process. */
  readonly namespace: number | null;
  /** When it was ended, as an ISO 8601 time; null when it was not. */
  readonly at: string | null;
  /** How it was ended; null when it was not. */
  readonly by: FreedBy | null;
  /** Why it was not ended: the errno of each way that was tried. Empty when it was, and with `dryRun`. */
  readonly refusals: Readonly<Partial<Record<FreedBy, ErrnoName>>>;
  /**
   * Whether a server of Node can start on what was asked for now, as explainBind() says; with "all" on the socket's own
   * address. Null with `dryRun`.
   */
  readonly isFree: boolean | null;
  /** Who is in the way of that server; empty when it can start, and with `dryRun`. */
  readonly inTheWay: readonly Obstacle[];
}

/** A socket that keeps the port although the self-connect was ended, or because it was not. */
export interface Obstacle extends Pick<ExplainedHolder, "local" | "is" | "remedy"> {
  /** Whether it is the socket itself: its process had bound it, and keeps the port until it closes the socket. */
  readonly isFreed: boolean;
}

/** What free() found and did. */
export interface FreeResult {
  /** Each socket that was joined to itself. */
  readonly sockets: readonly FreedSocket[];
  /** Where it could not look, and what to do to look there; sentences. */
  readonly unseen: readonly string[];
}

/** How free() acts. */
export interface FreeOptions {
  /** Find the sockets and change nothing. */
  readonly dryRun?: boolean;
  /** Also those in other network namespaces. */
  readonly allNamespaces?: boolean;
  /** Which ways to try, in this order (default both). */
  readonly ways?: readonly FreedBy[];
  /** How long to wait for the owners to close their sockets (default 1 second). */
  readonly settleMs?: number;
}

const WAYS: readonly FreedBy[] = ["SOCK_DESTROY", "pidfd_getfd"];
const SETTLE_MS = 1000;
const STEP_MS = 10;

/**
 * sock_diag(7), SOCK_DESTROY; without CAP_NET_ADMIN pidfd_getfd(2) and connect(2) with AF_UNSPEC, which needs
 * permission to trace the process. Ends the self-connects on a port, an address, or ("all") on every port. The cookie
 * is compared at that moment, so that no other socket is ended. The owner's next call fails with ECONNABORTED or
 * ECONNRESET. A port alone, 0.0.0.0 and [::] stand for every address. TIME-WAIT of a self-connect is ended by
 * SOCK_DESTROY only, where the kernel can.
 *
 * @example
 * import { free } from "selfconnect/audit";
 *
 * const { sockets } = await free(50_000, { dryRun: true });
 * console.log(sockets.length); // 0
 */
export async function free(
  target: number | string | Address | "all",
  options: FreeOptions = {},
): Promise<FreeResult> {
  checkKeys("free()", options, ["dryRun", "allNamespaces", "ways", "settleMs"]);
  checkFlags(options, ["dryRun", "allNamespaces"]);
  const { dryRun = false, allNamespaces = false, ways = WAYS, settleMs = SETTLE_MS } = options;
  checkWays(ways);
  if (typeof settleMs !== "number" || !(settleMs >= 0)) {
    const message = `settleMs ${textOf(settleMs)} is not a time: use 0 or more`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  const asked = target === "all" ? null : toBindAddress(target);
  const { rows, unseen } = findJoined(asked, allNamespaces);
  const { byInode } = findProcesses(rows.map(({ inode }) => inode));
  const ended = rows.map((row) => endJoined(row, byInode.get(row.inode) ?? [], dryRun ? [] : ways));
  const isEnded = ended.some(({ by }) => by !== null);
  const places = rows.map(({ namespace, local }) => ({ namespace, address: asked ?? local }));
  const obstacles = dryRun ? [] : await settle(places, isEnded ? settleMs : 0);
  const sockets = ended.map((one, index): FreedSocket => {
    if (dryRun) return { ...one, isFree: null, inTheWay: [] };
    const inTheWay = obstacles[index] ?? null;
    const isOne = ({ processes }: ExplainedHolder) => haveSameSocket(processes, one.processes);
    return {
      ...one,
      isFree: inTheWay === null,
      inTheWay: (inTheWay ?? []).map((holder) => toObstacle(holder, one.by !== null && isOne(holder))),
    };
  });
  return { sockets, unseen };
}

function toObstacle({ local, is, remedy }: ExplainedHolder, isFreed: boolean): Obstacle {
  return { local, is, remedy, isFreed };
}

/** A process has a socket still open when it has the same descriptor. */
function haveSameSocket(some: readonly Process[], others: readonly Process[]): boolean {
  return some.some(({ pid, fd }) => fd !== null && others.some((one) => one.pid === pid && one.fd === fd));
}

function checkWays(ways: readonly string[]): void {
  const wrong = ways.find((way) => !(WAYS as readonly string[]).includes(way));
  if (wrong === undefined) return;
  throw invalidArgument("ERR_UNKNOWN_WAY", `"${wrong}" is no way to end a socket: use ${WAYS.join(", ")}`);
}

function findJoined(
  asked: Address | null,
  allNamespaces: boolean,
): { rows: PortHolder[]; unseen: readonly string[] } {
  const ports = asked === null ? ALL_PORTS : { low: asked.port, high: asked.port };
  const others = allNamespaces ? findOtherNamespaces() : { namespaces: [], isComplete: true };
  const tables = [null, ...others.namespaces].map((namespace) => findPortHolders(ports, namespace));
  const rows = tables.flatMap((table) => table?.holders ?? []).filter(isFound(asked));
  const seesAll = others.isComplete && tables.every((table) => table !== null);
  return { rows, unseen: seesAll ? [] : [NO_NAMESPACES] };
}

function isFound(asked: Address | null): (row: PortHolder) => boolean {
  return (row) =>
    isSelfConnect(row.local, row.peer) && row.state !== "CLOSED" && (asked === null || includes(asked, row));
}

/** [::] stands for every address, 0.0.0.0 for every one of IPv4. */
function includes(asked: Address, { local, namespace }: PortHolder): boolean {
  // An interface of another namespace has another name there.
  if (!isUnspecified(asked)) return namespace ? isSameHost(local, asked) : isHeldHost(local, asked);
  return asked.host === "::" || unmap(local).family === unmap(asked).family;
}

type Ended = Omit<FreedSocket, "isFree" | "inTheWay">;

function endJoined(row: PortHolder, processes: readonly Process[], ways: readonly FreedBy[]): Ended {
  const { local, state, namespace } = row;
  const about = { local, state, processes, namespace: namespace?.id ?? null };
  const untouched = { ...about, at: null, by: null, refusals: {} };
  const refusals: Partial<Record<FreedBy, ErrnoName>> = {};
  for (const by of ways) {
    const result = ACTS[by](row, processes);
    if (result === null) continue;
    if (result >= 0) return { ...about, at: new Date().toISOString(), by, refusals: {} };
    refusals[by] = errnoName(result);
  }
  return { ...untouched, refusals };
}

/** Ends a connection: 0, -errno, or null where this way is not possible. */
type Way = (row: PortHolder, processes: readonly Process[]) => number | null;

const ACTS: Readonly<Record<FreedBy, Way>> = { SOCK_DESTROY: destroy, pidfd_getfd: disconnect };

/** Impossible where the row comes from /proc/net/tcp, for a kernel without sock_diag. */
function destroy({ local, peer, interfaceIndex, namespace, cookie }: PortHolder): number | null {
  if (cookie === null) return null;
  const [one, other] = [local, peer].map((address) => encodeAddress(address, Number(address.scope ?? 0)));
  const identity = Uint32Array.of(interfaceIndex, ...cookie);
  const act = (fd: number) => loadNative().destroy(one!, other!, identity, fd);
  return namespace ? withNamespace(namespace, act) : act(OWN_NAMESPACE);
}

function disconnect({ inode, cookie }: PortHolder, processes: readonly Process[]): number | null {
  const process = processes.find(({ fd }) => fd !== null);
  if (!process) return null;
  const identity = Uint32Array.of(inode, ...(cookie ?? [0, 0]));
  return loadNative().disconnectJoined(process.pid, process.fd!, identity);
}

/** Where a server is to start. */
interface Place {
  readonly address: Address;
  readonly namespace: NetworkNamespace | null;
}

/**
 * Waits until a server of Node could start on all of the places. Returns who is in its way on each at the end; null
 * where it could start. An owner sees the error in its event loop and closes the socket; until then a bind(2) of its
 * own stays.
 */
async function settle(
  places: readonly Place[],
  settleMs: number,
): Promise<(readonly ExplainedHolder[] | null)[]> {
  const endsAt = performance.now() + settleMs;
  let left = places.filter(isRefused);
  while (left.length > 0 && performance.now() < endsAt) {
    await sleep(STEP_MS);
    left = left.filter(isRefused);
  }
  const found = new Map<Place, readonly ExplainedHolder[] | null>();
  for (const namespace of new Set(left.map((place) => place.namespace?.id))) {
    const here = left.filter((place) => place.namespace?.id === namespace);
    const obstacles = findObstacles(
      here.map(({ address }) => address),
      here[0]!.namespace,
    );
    for (const [index, place] of here.entries()) found.set(place, obstacles[index]!);
  }
  return places.map((place) => found.get(place) ?? null);
}

function isRefused({ address, namespace }: Place): boolean {
  return !canStart(address, namespace);
}
