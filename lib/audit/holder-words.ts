/**
 * The sentences about a holder of a port: what it is, and what to do, as calls of this package. report/who.ts names the
 * commands instead.
 */
import type { Process } from "../kernel/owners.ts";
import { canDestroySockets } from "../kernel/port-holders.ts";
import type { Address } from "../socket/address.ts";
import { dropScope, formatAddress } from "../socket/address.ts";
import type { Holder, HolderKind, NeededOption } from "./holders.ts";

type Words = (holder: Holder) => string;

/** By IPV6_V6ONLY of a listener on [::]; /proc/net/tcp does not have it. */
const FAMILIES = {
  true: ", for IPv6 only",
  false: ", for IPv4 and IPv6",
  null: ", for IPv6, and maybe for IPv4",
};

/** By the end of the connection that it is. */
const CONNECTIONS = {
  outgoing: (peer: string) => `is an outgoing connection to ${peer}`,
  accepted: (peer: string) =>
    `is a connection from ${peer}, accepted by a server that does not listen here any more`,
  null: (peer: string) => `is connected to ${peer}`,
};

/** What a holder of each kind is, without its subject, the address. */
export const HOLDER_WORDS: Readonly<Record<HolderKind, Words>> = {
  listener: ({ isMultipath, isV6Only, local }) => {
    const families = local.host === "::" ? FAMILIES[`${isV6Only}`] : "";
    return `listens${isMultipath ? " (Multipath TCP)" : ""}${families}`;
  },
  bound: () => "is bound and neither listens nor is connected",
  connecting: (holder) => `connects to ${peerText(holder)}, which does not answer`,
  connection: (holder) => CONNECTIONS[`${holder.direction}`](peerText(holder)),
  accepted: (holder) =>
    holder.state === "CLOSE-WAIT"
      ? `belongs to the listener, and ${peerText(holder)} has closed it (CLOSE-WAIT)`
      : `belongs to the listener, and is connected to ${peerText(holder)}`,
  "half-closed": (holder) => `is a half-closed connection to ${peerText(holder)} (${holder.state})`,
  "self-connect": ({ state }) => `is joined to itself (${state})`,
  "time-wait": (holder) => `is in TIME-WAIT after a connection to ${peerText(holder)}`,
  "self-connect-time-wait": () => "is in TIME-WAIT after a socket joined to itself",
  orphan: (holder) => `is closed, and ${peerText(holder)} has not confirmed it (${holder.state})`,
  unknown: () => "is held by a socket that the kernel does not report",
};

/** Why a socket that a process has open is without a process here. */
export const HIDDEN_OWNER =
  "the process of a socket is not visible to this user: run as root to see the owner";

/** "is joined to itself (ESTABLISHED): pid 4242 (node, user www)". */
export function describeHolder(holder: Holder): string {
  const left = holder.leftMs === null ? "" : `, ${secondsText(holder.leftMs)} left`;
  const elsewhere = holder.namespace === null ? "" : ` in network namespace ${holder.namespace}`;
  return `${HOLDER_WORDS[holder.kind](holder)}${left}${elsewhere}${ownerText(holder)}`;
}

/** The owner of a socket: its processes, or why there is none. */
function ownerText({ processes, kind, state, user }: Holder): string {
  if (processes.length > 0) return `: ${processes.map(describeProcess).join("; ")}`;
  if (kind === "unknown" || state === "TIME-WAIT" || kind === "time-wait") return "";
  if (kind === "accepted" && user === null) return ": not accepted yet";
  if (kind === "orphan" || user === null) return ": no process has it open";
  return `: no visible process, of user ${user}`;
}

/** "pid 4242 (node, user www, nginx.service)". */
export function describeProcess({
  pid,
  command,
  user,
  unit,
  container,
  fd,
}: Omit<Process, "fd"> & Partial<Pick<Process, "fd">>): string {
  const parts = [
    command,
    `user ${user}`,
    ...(unit === null ? [] : [unit]),
    ...(container === null ? [] : [`container ${container}`]),
    ...(fd === null ? ["in the fixed files of an io_uring"] : []),
  ];
  return `pid ${pid} (${parts.join(", ")})`;
}

/** What makes the port free or usable for a server. Calls: free(), waitUntilFree(), explainBind(). */
export function remedyFor(holder: Holder, needs: readonly NeededOption[] | null, asked: Address): string {
  if (needs?.includes("reuseAddress")) {
    return "set SO_REUSEADDR before bind(2), as listen() of Node does: a server then starts at once";
  }
  if (needs?.includes("reusePort")) {
    return "set SO_REUSEPORT before bind(2) (reusePort: true), to share the port with it";
  }
  return REMEDIES[holder.kind](holder, asked);
}

const REMEDIES: Readonly<Record<HolderKind, (holder: Holder, asked: Address) => string>> = {
  listener: (holder, asked) => `${endText(holder)}, or use another ${otherText(holder, asked)}`,
  bound: (holder, asked) => `${endText(holder)}, or use another ${otherText(holder, asked)}`,
  connecting: (holder) => `${endText(holder)}, or wait until its connect has failed`,
  connection: (holder) =>
    `${endText(holder)}${orAsRoot("end this connection without TIME-WAIT, ", killText(holder))}`,
  accepted: () => "end the listener first: what is left of its connections is named then",
  "half-closed": (holder, asked) => REMEDIES.connection(holder, asked),
  "self-connect": (holder) => `${holder.processes.length === 0 ? "as root: " : ""}${freeText(holder)}`,
  "time-wait": (holder, asked) => `${waitText(asked)}${orAsRoot("", killText(holder))}`,
  "self-connect-time-wait": (holder, asked) => `${waitText(asked)}${orAsRoot("", freeText(holder))}`,
  orphan: (holder) => `wait until the kernel gives up${orAsRoot("", killText(holder))}`,
  unknown: (_, asked) => `as root: explainBind(${argumentText(asked)})`,
};

/** SOCK_DESTROY: nothing where this kernel cannot end a connection of another process. */
function orAsRoot(what: string, command: string): string {
  return canDestroySockets() ? `, or ${what}as root: ${command}` : "";
}

function endText({ processes }: Holder): string {
  if (processes.length === 0) return "end the process that has it open";
  return `end ${processes.map(({ pid, command }) => `pid ${pid} (${command})`).join(" and ")}`;
}

/** What a server can change when the holder does not take every address. */
function otherText({ local }: Holder, asked: Address): string {
  const isEverywhere = local.host === "::" || (local.host === "0.0.0.0" && asked.family === 4);
  return isEverywhere ? "port" : "port or address";
}

/** ss(8), -K: SOCK_DESTROY for one connection, in whichever state. */
function killText({ local, peer }: Holder): string {
  const to = peer ? ` and dst ${formatAddress(dropScope(peer))}` : "";
  return `ss -K -a -${local.family} 'src ${formatAddress(dropScope(local))}${to}'`;
}

function freeText({ local }: Holder): string {
  return `free("${formatAddress(local)}")`;
}

function waitText(asked: Address): string {
  return `waitUntilFree(${argumentText(asked)})`;
}

/** What was asked for, as an argument: a port alone stands for [::]. */
function argumentText(asked: Address): string {
  return asked.host === "::" ? `${asked.port}` : `"${formatAddress(asked)}"`;
}

function peerText({ peer }: Holder): string {
  return peer ? formatAddress(peer) : "nobody";
}

/** Rounded up, so that after this time it is gone. */
function secondsText(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}

/** Why bind(2) fails when no socket is the reason; null for EADDRINUSE. */
export function describeRefusal(
  code: string,
  { host, port }: Address,
  firstUnprivileged: string | null,
  isOwn: boolean,
): string | null {
  if (code === "EACCES") {
    const least = firstUnprivileged ?? 1024;
    return `ports below ${least} need CAP_NET_BIND_SERVICE: use one from ${least} on instead of ${port}`;
  }
  if (code === "EADDRNOTAVAIL") {
    return isOwn ? `${host} cannot be bound here` : `${host} is not an address of this host`;
  }
  if (code === "EINVAL" && host.includes(":")) {
    const isMulticast = host.startsWith("ff");
    return isMulticast ? `${host} is a multicast address` : `write the interface too, as in ${host}%eth0`;
  }
  return code === "EAFNOSUPPORT" ? "this host has no IPv6" : null;
}
