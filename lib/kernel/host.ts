/** Reads facts about this host: its addresses, its ephemeral range, the kernel, the versions. */

import { readFileSync } from "node:fs";
import os from "node:os";
import type { Address } from "../socket/address.ts";
import { ADDRESS_BYTES, decodeAddress, parseText, unmap } from "../socket/address.ts";
import { addressBytes } from "../socket/address-bytes.ts";
import { errnoName, SocketError, threadError } from "../socket/errors.ts";
import { loadNative, nativeOrNull } from "../socket/native.ts";
import { isInPackage, packageFile } from "../socket/own-files.ts";
import type { PortRange } from "../socket/port-range.ts";
import { parsePortList } from "../socket/port-range.ts";
import { canSelfConnect } from "../socket/route.ts";
import { specify } from "../socket/self-connect.ts";
import { packageVersion } from "./version.ts";

/** The sysctls that limit the kernel's choice of a local port. */
export interface PortFacts {
  /**
   * net.ipv4.ip_local_port_range, for IPv4 and IPv6; null when the host does not report it, or may not say which of its
   * ports are reserved: then nobody knows which ports the kernel picks.
   */
  readonly ephemeralRange: PortRange | null;
  /** net.ipv4.ip_local_reserved_ports. */
  readonly reservedPorts: readonly PortRange[];
}

/** The host, kernel and versions with which a result was measured; every result includes them. */
export interface Environment extends PortFacts {
  /** uname(2): the release, as "6.18.44-fc". */
  readonly kernel: string;
  /** process.platform: "linux". */
  readonly platform: string;
  /** Always "host": this is where the program runs, not a guest of the lab. */
  readonly machine: "host";
  /** process.arch: "x64". */
  readonly architecture: string;
  /** How many processors the process may use. */
  readonly cpus: number;
  /** proc(5), /proc/cpuinfo: the model of the first processor; "" where the host does not report it. */
  readonly processor: string;
  /** The sysctls that affect self-connects, as the kernel prints them; a sysctl that it lacks is absent. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** The version of Node, or of the runtime in its place. */
  readonly node: string;
  /** The version of this package. */
  readonly version: string;
  /** The commit of the package's clone; null in an installed package. */
  readonly commit: string | null;
}

const SYSCTLS = [
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_local_port_step_width",
  "net.ipv4.tcp_tw_reuse",
  "net.ipv4.tcp_timestamps",
  "net.ipv4.tcp_syn_retries",
];

/** An fd of a network namespace; this one stands for the namespace of this process. */
export const OWN_NAMESPACE = -1;
/** A sysctl of the network is at most 64 KiB: ip_local_reserved_ports with every second port. */
const MOST_SYSCTL_BYTES = 2 ** 18;

/** proc(5), /proc/sys: reads a sysctl, of a network namespace; null when the kernel does not have it. */
export function sysctl(name: string, namespaceFd = OWN_NAMESPACE): string | null {
  const path = `/proc/sys/${name.replaceAll(".", "/")}`;
  const text = namespaceFd === OWN_NAMESPACE ? readText(path) : readInNamespace(namespaceFd, path);
  return text?.trim().replace(/\s+/g, " ") ?? null;
}

/** proc(5), /proc/sys/net/ipv4: reads ip_local_port_range and ip_local_reserved_ports at each call. */
export function portFacts(): PortFacts {
  return readPortFacts(OWN_NAMESPACE);
}

/** portFacts() of a network namespace. */
export function readPortFacts(namespaceFd: number): PortFacts {
  const [low, high] = (sysctl("net.ipv4.ip_local_port_range", namespaceFd) ?? "").split(" ").map(Number);
  const reservedPorts = readReservedPorts(namespaceFd);
  return {
    ephemeralRange: low && high && reservedPorts ? { low, high } : null,
    reservedPorts: reservedPorts ?? [],
  };
}

/** None in a kernel without the list (gVisor); null when the list is there and cannot be read. */
function readReservedPorts(namespaceFd: number): readonly PortRange[] | null {
  const path = "/proc/sys/net/ipv4/ip_local_reserved_ports";
  if (namespaceFd !== OWN_NAMESPACE) return parsePortList(readInNamespace(namespaceFd, path)?.trim() ?? "");
  try {
    return parsePortList(readFileSync(path, "utf8").trim());
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? [] : null;
  }
}

/** proc(5), /proc/net: reads a file of a network namespace; null when the kernel does not have it. */
export function readNetwork(name: string, namespaceFd: number): string | null {
  const path = `/proc/thread-self/net/${name}`;
  return namespaceFd === OWN_NAMESPACE ? readText(path) : readInNamespace(namespaceFd, path);
}

/** setns(2) on a thread of its own, open(2), read(2). Returns null when the kernel does not have the file. */
function readInNamespace(namespaceFd: number, path: string): string | null {
  const bytes = new Uint8Array(MOST_SYSCTL_BYTES);
  const failed = new Uint32Array(1);
  const native = loadNative();
  const size = native.readInNamespace(namespaceFd, path, bytes, failed);
  if (size >= 0) return new TextDecoder().decode(bytes.subarray(0, size));
  if (errnoName(size) === "ENOENT") return null;
  const syscall = native.fileCalls[failed[0]!]!;
  throw syscall === "setns" ? threadError(size, syscall) : new SocketError(size, { syscall });
}

/** Of the running kernel, and so the same for as long as this process runs. */
let knownVersion: string | null = null;

/** proc(5), /proc/version: detects gVisor, whose version text never changes; null for any other kernel. */
export function findSandbox(): "gvisor" | null {
  knownVersion ??= readText("/proc/version") ?? "";
  return knownVersion.includes("#1 SMP Sun Jan 10 15:06:54 PST 2016") ? "gvisor" : null;
}

/**
 * uname(2), proc(5), package.json: reads the environment at each call. A fact that the host does not report is null or
 * absent.
 */
export function environment(): Environment {
  const present = SYSCTLS.map((name) => [name, sysctl(name)]).filter(([, value]) => value !== null);
  return {
    kernel: os.release(),
    platform: os.platform(),
    machine: "host",
    architecture: os.arch(),
    cpus: os.availableParallelism(),
    processor: os.cpus()[0]?.model.trim() ?? "",
    ...portFacts(),
    sysctls: Object.fromEntries(present),
    node: process.version,
    version: packageVersion(),
    commit: (isInPackage() && readText(packageFile("dist/commit"))?.trim()) || null,
  };
}

/**
 * connect(2) of a UDP socket to the peer, then getsockname(2): the local address that the route gives a plain connect,
 * with port 0. Sends no packet. Returns null when there is no route, or no addon.
 */
export function localAddressTowards(peer: Address | string): Address | null {
  return findRoute(peer, OWN_NAMESPACE);
}

/** localAddressTowards() in a network namespace. */
export function findRoute(peer: Address | string, namespaceFd: number): Address | null {
  const to = unmap(parseText(peer));
  const native = nativeOrNull();
  const local = new Uint8Array(ADDRESS_BYTES);
  try {
    if (!native || native.routeSource(namespaceFd, addressBytes(to, native), local) < 0) return null;
  } catch {
    return null; // The scope is not an interface of this host.
  }
  return { ...decodeAddress(local, String), port: 0 };
}

/**
 * connect(2) and bind(2) of a UDP socket: whether this host has the address. A connect to it comes from it, or, for a
 * secondary address, can when it is bound to it. Throws SocketError when the kernel does not answer (EMFILE, EPERM).
 */
export function isOwnAddress(asked: Address | string): boolean {
  const address = parseText(asked);
  return (
    canSelfConnect(address) || (bindProves(address) && canSelfConnect(address, { local: specify(address) }))
  );
}

/** Whether bind(2) proves that an address is this host's: with ip_nonlocal_bind the kernel binds to any address. */
export function bindProves(address: Address): boolean {
  return process.platform !== "linux" || sysctl(`net.ipv${specify(address).family}.ip_nonlocal_bind`) === "0";
}

function readText(path: string | URL): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // A kernel without this file, or a package without dist/commit.
  }
}
