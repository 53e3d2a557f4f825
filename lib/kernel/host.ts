/** Reads facts about this host: its addresses, its ephemeral range, the kernel, the versions. */

import { readFileSync } from "node:fs";
import os from "node:os";
import type { Address } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { parsePortList } from "../socket/port-range.ts";
import { canSelfConnect } from "../socket/route.ts";
import { specify } from "../socket/self-connect.ts";

/** The sysctls that limit the kernel's choice of a local port. */
export interface PortFacts {
  /** net.ipv4.ip_local_port_range, for IPv4 and IPv6; null when the host does not report it. */
  readonly ephemeralRange: PortRange | null;
  /** net.ipv4.ip_local_reserved_ports. */
  readonly reservedPorts: readonly PortRange[];
}

/** The host, kernel and versions with which a result was measured; every result includes them. */
export interface Environment extends PortFacts {
  readonly kernel: string;
  readonly platform: string;
  readonly machine: "host";
  readonly architecture: string;
  readonly cpus: number;
  /** The sysctls that affect self-connects, as the kernel prints them; a sysctl that it lacks is absent. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly node: string;
  readonly version: string;
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

/** proc(5), /proc/sys: reads a sysctl; null when the kernel does not have it. */
export function sysctl(name: string): string | null {
  return (
    readText(`/proc/sys/${name.replaceAll(".", "/")}`)
      ?.trim()
      .replace(/\s+/g, " ") ?? null
  );
}

/**
 * proc(5), /proc/sys/net/ipv4: reads ip_local_port_range and ip_local_reserved_ports of this network namespace at each
 * call.
 */
export function portFacts(): PortFacts {
  const [low, high] = (sysctl("net.ipv4.ip_local_port_range") ?? "").split(" ").map(Number);
  return {
    ephemeralRange: low && high ? { low, high } : null,
    reservedPorts: parsePortList(sysctl("net.ipv4.ip_local_reserved_ports") ?? ""),
  };
}

/** proc(5), /proc/version: detects gVisor, whose version text never changes; null for any other kernel. */
export function sandbox(): "gvisor" | null {
  const version = readText("/proc/version") ?? "";
  return version.includes("#1 SMP Sun Jan 10 15:06:54 PST 2016") ? "gvisor" : null;
}

/**
 * uname(2), proc(5), package.json: reads the environment at each call. A fact that the host does not report is null or
 * absent.
 */
export function environment(): Environment {
  const present = SYSCTLS.map((name) => [name, sysctl(name)]).filter(([, value]) => value !== null);
  const { version } = JSON.parse(readText(new URL("../../package.json", import.meta.url)) ?? "{}");
  return {
    kernel: os.release(),
    platform: os.platform(),
    machine: "host",
    architecture: os.arch(),
    cpus: os.availableParallelism(),
    ...portFacts(),
    sysctls: Object.fromEntries(present),
    node: process.version,
    version,
    commit: readText(new URL("../../dist/commit", import.meta.url))?.trim() || null,
  };
}

/**
 * connect(2) and bind(2) of a UDP socket: whether this host has the address. A connect to it comes from it, or, for a
 * secondary address, can when it is bound to it. Throws SocketError when the kernel does not answer (EMFILE, EPERM).
 */
export function isOwnAddress(address: Address): boolean {
  if (canSelfConnect(address)) return true;
  // With this sysctl the kernel binds to any address, of other hosts too.
  const { family } = specify(address);
  const bindsAny = sysctl(`net.ipv${family}.ip_nonlocal_bind`);
  const isTold = bindsAny === "0" || process.platform !== "linux";
  return isTold && canSelfConnect(address, { local: specify(address) });
}

function readText(path: string | URL): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // A kernel without this file, or a package without dist/commit.
  }
}
