/** Explains why a server cannot start on an address: tries, and names every socket that holds the port. */
import { setTimeout as sleep } from "node:timers/promises";
import { isOwnAddress, sysctl } from "../kernel/host.ts";
import type { NetworkNamespace } from "../kernel/namespaces.ts";
import { overlaps } from "../kernel/port-holders.ts";
import { seesEveryProcess } from "../kernel/processes.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, isSameAddress, toAddress, unmap } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { checkLimits } from "../socket/limits.ts";
import { bindRefusal } from "../socket/listen-refusal.ts";
import { checkFlags, checkKeys, invalidArgument, textOf } from "../socket/misuse.ts";
import type { OpenOptions } from "../socket/options.ts";
import { isUnspecified } from "../socket/self-connect.ts";
import { describeHolder, describeRefusal, HIDDEN_OWNER, remedyFor } from "./holder-words.ts";
import type { Holder, Holders, NeededOption } from "./holders.ts";
import { findHolders, groupByPort, unknownHolder } from "./holders.ts";

/** What was tried on one address. */
export interface BindTry {
  /** The address that bind(2) was tried on. */
  readonly local: Address;
  /** The errno of bind(2) without options; null when it works. */
  readonly refusal: ErrnoName | null;
  /** The options with which a server can start: none ([]), the one that is needed, or null when no option helps. */
  readonly needs: readonly NeededOption[] | null;
  /** Why, when no socket is the reason: a privileged port, an address of another host; null otherwise. */
  readonly because: string | null;
}

/** A holder, whether it keeps a server from starting on the address, and what to do about it. */
export interface ExplainedHolder extends Holder {
  /** Whether bind(2) without options conflicts with it. */
  readonly isInTheWay: boolean;
  /** A sentence without its subject, the address: "is joined to itself". */
  readonly is: string;
  /** What makes the port free or usable; a sentence. Null when it is not in the way. */
  readonly remedy: string | null;
}

/** Whether a server can start on an address, with which options, who is in the way, and when that ends. */
export interface BindExplanation {
  /** The address that was asked for; [::] for a port alone, on which listen(port) of Node listens. */
  readonly address: Address;
  /** Whether a server of Node starts there now. Node sets SO_REUSEADDR. */
  readonly canListen: boolean;
  /** Milliseconds until the kernel lets a server start by itself: 0 now, null when that depends on a process. */
  readonly waitMs: number | null;
  /** The address first, then Node's default, and others on which a server may start instead. */
  readonly tries: readonly BindTry[];
  /** Those in the way first. */
  readonly holders: readonly ExplainedHolder[];
  /** How many more there are than `holders` has. */
  readonly omitted: number;
  /** What could not be seen, and what to do to see it; sentences. */
  readonly unseen: readonly string[];
}

/** What explainBind() looks at. */
export interface ExplainBindOptions {
  /** Also find holders in other network namespaces: they are in nobody's way here. Needs root for those of others. */
  readonly allNamespaces?: boolean;
  /** Return at most this many holders (default 100). */
  readonly mostHolders?: number;
}

/** A port (as in listen(port)), an address, or the error of a server, which has both. */
export type BindTarget = number | string | Address | (Error & { address?: string; port?: number });

const MOST_HOLDERS = 100;
const WAIT_STEP_MS = 100;
/** In the order of what they cost: SO_REUSEPORT changes the port's bind bucket when it succeeds, so it comes last. */
const OPTIONS: readonly NeededOption[][] = [[], ["reuseAddress"], ["reusePort"]];

/**
 * bind(2), sock_diag(7): tries whether a server can start on an address, and explains the answer. Binds a socket for a
 * moment and does not listen, so no client connects. Throws ERR_INVALID_ADDRESS or ERR_INVALID_PORT.
 *
 * @example
 * import { listen } from "selfconnect";
 * import { explainBind } from "selfconnect/audit";
 *
 * const listener = listen("127.0.0.1:0");
 * const { canListen, holders } = explainBind(listener.getsockname());
 * console.log(canListen, holders[0].kind); // false listener
 * listener.close();
 */
export function explainBind(target: BindTarget, options: ExplainBindOptions = {}): BindExplanation {
  checkKeys("explainBind()", options, ["allNamespaces", "mostHolders"]);
  checkFlags(options, ["allNamespaces"]);
  const { allNamespaces = false, mostHolders = MOST_HOLDERS } = options;
  if (!Number.isInteger(mostHolders) || mostHolders < 0) {
    const message = `mostHolders ${textOf(mostHolders)} is not a count: use 0 or more`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  const address = toBindAddress(target);
  const tries = [address, ...alternatives(address)].map((one) => tryBind(one));
  const asked = tries[0]!;
  const found = findHolders([address.port], { allNamespaces });
  const holders = explainHolders(asked, found.holders, null);
  const canListen = isForNode(asked);
  return {
    address,
    canListen,
    waitMs: canListen ? 0 : waitOf(holders.filter(({ isInTheWay }) => isInTheWay)),
    tries,
    holders: holders.slice(0, mostHolders),
    omitted: Math.max(0, holders.length - mostHolders),
    unseen: describeUnseen(found, holders),
  };
}

/** bind(2) in a network namespace: whether a server of Node could start on the address. */
export function canStart(address: Address, namespace: NetworkNamespace | null = null): boolean {
  return isForNode(tryBind(address, namespace));
}

/**
 * Who is in the way of a server on each of the addresses of a network namespace; null where it could start. Looks at
 * the sockets and at the processes once.
 */
export function findObstacles(
  addresses: readonly Address[],
  namespace: NetworkNamespace | null,
): (readonly ExplainedHolder[] | null)[] {
  const tries = addresses.map((address) => tryBind(address, namespace));
  const refused = tries.filter((asked) => !isForNode(asked));
  if (refused.length === 0) return tries.map(() => null);
  const found = findHolders(
    refused.map(({ local }) => local.port),
    { namespace },
  );
  const onPort = groupByPort(found.holders);
  return tries.map((asked) => {
    if (isForNode(asked)) return null;
    const holders = onPort.get(asked.local.port) ?? [];
    return explainHolders(asked, holders, namespace).filter(({ isInTheWay }) => isInTheWay);
  });
}

/** When waitUntilFree() gives up. */
export interface WaitUntilFreeOptions {
  /** Default 30 seconds. */
  readonly deadlineMs?: number;
  /** Ends the wait when it aborts; the result is then false. */
  readonly signal?: AbortSignal;
}

/**
 * bind(2) every 100 ms until a server of Node could start on the address. Resolves with true, or with false at the
 * deadline or when the signal aborts.
 */
export async function waitUntilFree(
  target: BindTarget,
  options: WaitUntilFreeOptions = {},
): Promise<boolean> {
  checkLimits("waitUntilFree()", options);
  const { deadlineMs = 30_000, signal } = options;
  const address = toBindAddress(target);
  const endsAt = performance.now() + deadlineMs;
  while (!canStart(address)) {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0 || signal?.aborted) return false;
    await sleep(Math.min(WAIT_STEP_MS, leftMs), undefined, { ...(signal && { signal }) }).catch(
      () => undefined,
    );
  }
  return true;
}

/** Converts a target to the address that a server binds to. */
export function toBindAddress(target: BindTarget): Address {
  if (typeof target === "number") return defaultAddress(target);
  if (typeof target === "string") {
    const [, port] = /^:?(\d+)$/.exec(target) ?? [];
    return port === undefined ? checkAddress(target) : defaultAddress(Number(port));
  }
  if (!(target instanceof Error)) return checkAddress(target);
  const { address, port } = target;
  // A worker of node:cluster gets an error without an address: its primary bound, as listen(port) does.
  if (port !== undefined) return address ? toAddress(address, port) : defaultAddress(port);
  throw invalidArgument("ERR_INVALID_ADDRESS", `the error "${target.message}" has no port`, TypeError);
}

/** Where listen(port) of Node listens: on [::], or on 0.0.0.0 where the host has no IPv6. */
function defaultAddress(port: number): Address {
  checkPort(port);
  const any: Address = { family: 6, host: "::", port };
  return bindRefusal({ ...any, port: 0 }) === "EAFNOSUPPORT" ? { family: 4, host: "0.0.0.0", port } : any;
}

/** Other addresses on which a server may start when it cannot on this one. */
function alternatives(address: Address): Address[] {
  const { port } = address;
  const hosts: readonly Address[] = [
    defaultAddress(port),
    { family: 4, host: "0.0.0.0", port },
    { family: 4, host: "127.0.0.1", port },
    { family: 6, host: "::1", port },
  ];
  return hosts.filter((other) => !isSameAddress(other, address));
}

function tryBind(local: Address, namespace: NetworkNamespace | null = null): BindTry {
  const base: OpenOptions = {
    // Node sets IPV6_V6ONLY to 0, whatever net.ipv6.bindv6only is.
    ...(local.host === "::" && { ipv6Only: false }),
    ...(namespace && { namespace: `/proc/${namespace.pid}/ns/net` }),
  };
  let refusal: ErrnoName | null = null;
  for (const needs of OPTIONS) {
    const set = Object.fromEntries(needs.map((name) => [name, true]));
    const code = bindRefusal(local, { ...base, ...set });
    if (code === null) return { local, refusal, needs, because: null };
    refusal ??= code;
    if (code !== "EADDRINUSE") break;
  }
  const start = sysctl("net.ipv4.ip_unprivileged_port_start");
  return {
    local,
    refusal,
    needs: null,
    because: describeRefusal(refusal!, local, start, isOwnAddress(local)),
  };
}

function isForNode({ needs }: BindTry): boolean {
  return needs !== null && !needs.includes("reusePort");
}

function explainHolders(
  asked: BindTry,
  holders: readonly Holder[],
  namespace: NetworkNamespace | null,
): ExplainedHolder[] {
  const explain = (holder: Holder, isInTheWay: boolean): ExplainedHolder => ({
    ...holder,
    isInTheWay,
    is: describeHolder(holder),
    remedy: isInTheWay ? remedyFor(holder, asked.needs, asked.local) : null,
  });
  const isRefused = asked.refusal === "EADDRINUSE";
  const here = holders.filter((holder) => holder.namespace === (namespace?.id ?? null));
  const certain = here.filter(({ local, isV6Only }) => overlaps(local, isV6Only, asked.local));
  const inTheWay = new Set(certain.length > 0 ? certain : here.filter((one) => mayOverlap(one, asked.local)));
  const explained = holders.map((holder) => explain(holder, isRefused && inTheWay.has(holder)));
  const isExplained = !isRefused || explained.some(({ isInTheWay }) => isInTheWay);
  const all = isExplained ? explained : [explain(unknownHolder(asked.local), true), ...explained];
  return all.sort((one, other) => rank(one) - rank(other));
}

/**
 * An IPv6 connection conflicts with 0.0.0.0 unless its socket was bound to its own address, which sets IPV6_V6ONLY: the
 * kernel reports that of no connection.
 */
function mayOverlap({ local, peer }: Holder, asked: Address): boolean {
  return peer !== null && unmap(local).family === 6 && asked.family === 4 && isUnspecified(asked);
}

/** Those in the way first; connections of a listener last. */
function rank({ isInTheWay, kind }: ExplainedHolder): number {
  return (isInTheWay ? 0 : 2) + (kind === "accepted" ? 1 : 0);
}

/** Only when the kernel removes all of them by itself. */
function waitOf(blocking: readonly ExplainedHolder[]): number | null {
  if (blocking.length === 0 || blocking.some(({ leftMs }) => leftMs === null)) return null;
  return Math.max(...blocking.map(({ leftMs }) => leftMs!));
}

/** Reported where /proc/PID/ns/net of some process is not readable. */
export const NO_NAMESPACES = "some network namespaces are not visible to this user: run as root";

function describeUnseen(found: Holders, holders: readonly ExplainedHolder[]): string[] {
  const isOwnerless = holders.some(({ processes, user }) => processes.length === 0 && user !== null);
  const why = seesEveryProcess() ? "" : "; /proc hides the processes of others (hidepid)";
  const isUnknown = holders.some(({ kind }) => kind === "unknown");
  return [
    ...(!found.seesAllProcesses && isOwnerless ? [`${HIDDEN_OWNER}${why}`] : []),
    ...(!found.showsBound && isUnknown
      ? [
          "this kernel reports no socket that is bound and neither listens nor is connected (Linux 6.8 does): " +
            "run as root to look for it among the descriptors of all processes",
        ]
      : []),
    ...(found.seesAllNamespaces ? [] : [NO_NAMESPACES]),
  ];
}
