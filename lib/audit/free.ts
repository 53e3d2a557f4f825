/** Frees the ports of sockets that are joined to themselves, in whichever process, without ending it. */

import { setTimeout as sleep } from "node:timers/promises";
import { OWN_NAMESPACE } from "../kernel/host.ts";
import type { NetworkNamespace } from "../kernel/namespaces.ts";
import { findOtherNamespaces, withNamespace } from "../kernel/namespaces.ts";
import type { Process } from "../kernel/owners.ts";
import { findProcesses } from "../kernel/owners.ts";
import type { PortHolder } from "../kernel/port-holders.ts";
import { findPortHolders } from "../kernel/port-holders.ts";
import { ALL_PORTS } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, encodeAddress, isSameHost } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { errnoName } from "../socket/errors.ts";
import { bindRefusal } from "../socket/listen-refusal.ts";
import { checkKeys, invalidArgument } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";

/** How a connection of another process was ended. */
export type FreedBy = "SOCK_DESTROY" | "pidfd_getfd";

/** One socket joined to itself, and what became of it. */
export interface FreedSocket {
  readonly local: Address;
  /** Its state before. */
  readonly state: TcpState;
  readonly processes: readonly Process[];
  /** The number of the network namespace; null for the one of this process. */
  readonly namespace: number | null;
  /** When it was ended, as an ISO 8601 time; null when it was not. */
  readonly at: string | null;
  readonly by: FreedBy | null;
  /** Why it was not ended: the errno of each way that was tried. Empty when it was, and with `dryRun`. */
  readonly refusals: Readonly<Partial<Record<FreedBy, ErrnoName>>>;
  /**
   * Whether bind(2) with SO_REUSEADDR works now; null with `dryRun`. It does not when the process had bound the socket
   * itself and has not closed it yet, and when another socket holds the port.
   */
  readonly isFree: boolean | null;
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
 * ECONNRESET. Resolves with an empty list where no socket is joined to itself. TIME-WAIT of a self-connect is ended by
 * SOCK_DESTROY only, where the kernel can.
 */
export async function free(
  target: number | string | Address | "all",
  options: FreeOptions = {},
): Promise<FreedSocket[]> {
  checkKeys("free()", options, ["dryRun", "allNamespaces", "ways", "settleMs"]);
  const { dryRun = false, allNamespaces = false, ways = WAYS, settleMs = SETTLE_MS } = options;
  checkWays(ways);
  if (!(settleMs >= 0))
    throw invalidArgument("ERR_OUT_OF_RANGE", `settleMs ${settleMs} is not a time`, RangeError);
  const rows = findJoined(target, allNamespaces);
  const { byInode } = findProcesses(rows.map(({ inode }) => inode));
  const ended = rows.map((row) => endJoined(row, byInode.get(row.inode) ?? [], dryRun ? [] : ways));
  if (dryRun) return ended.map((one) => ({ ...one, isFree: null }));
  return Promise.all(
    ended.map(async (one, index) => ({ ...one, isFree: await settles(rows[index]!, one.by ? settleMs : 0) })),
  );
}

function checkWays(ways: readonly string[]): void {
  const wrong = ways.find((way) => !(WAYS as readonly string[]).includes(way));
  if (wrong === undefined) return;
  throw invalidArgument("ERR_UNKNOWN_WAY", `"${wrong}" is no way to end a socket: use ${WAYS.join(", ")}`);
}

function findJoined(target: number | string | Address, allNamespaces: boolean): PortHolder[] {
  const [, digits] = /^:?(\d+)$/.exec(String(target)) ?? [];
  if (digits !== undefined) checkPort(Number(digits));
  const isAddress = digits === undefined && target !== "all";
  const wanted = isAddress ? checkAddress(target as Address | string) : null;
  const port = wanted?.port ?? (digits === undefined ? null : Number(digits));
  const ports = port === null ? ALL_PORTS : { low: port, high: port };
  const others = allNamespaces ? findOtherNamespaces().namespaces : [];
  const found = [null, ...others].flatMap((namespace) => findPortHolders(ports, namespace)?.holders ?? []);
  return found.filter(
    ({ local, peer, state }) =>
      isSelfConnect(local, peer) && state !== "CLOSED" && (wanted === null || isSameHost(local, wanted)),
  );
}

type Ended = Omit<FreedSocket, "isFree">;

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

/** The owner sees the error in its event loop, and closes the socket; until then a bind(2) of its own stays. */
async function settles({ local, namespace }: PortHolder, settleMs: number): Promise<boolean> {
  const endsAt = performance.now() + settleMs;
  while (!isFree(local, namespace)) {
    if (performance.now() >= endsAt) return false;
    await sleep(STEP_MS);
  }
  return true;
}

function isFree(local: Address, namespace: NetworkNamespace | null): boolean {
  const inside = namespace ? { namespace: `/proc/${namespace.pid}/ns/net` } : {};
  return bindRefusal(local, { reuseAddress: true, ...inside }) === null;
}
