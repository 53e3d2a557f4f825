/** What this host says about itself: its addresses, its ephemeral range, the kernel, the versions. Read-only. */

import { readFileSync } from "node:fs";
import os from "node:os";
import type { Address } from "../socket/address.ts";
import { isSameHost, toAddress, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { parsePortList } from "../socket/port-range.ts";

/** What the kernel's choice of a local port depends on. */
export interface PortFacts {
  /** net.ipv4.ip_local_port_range, for IPv4 and IPv6; null where the host does not tell. */
  readonly ephemeralRange: PortRange | null;
  /** net.ipv4.ip_local_reserved_ports. */
  readonly reservedPorts: readonly PortRange[];
}

/** The environment that every result carries. */
export interface Environment extends PortFacts {
  readonly kernel: string;
  readonly platform: string;
  readonly machine: "host";
  readonly architecture: string;
  readonly cpus: number;
  /** The sysctls that matter here, verbatim; those that the kernel does not have are absent. */
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

/** proc(5), /proc/sys: the value of a sysctl, or null where there is none. */
export function sysctl(name: string): string | null {
  return (
    readText(`/proc/sys/${name.replaceAll(".", "/")}`)
      ?.trim()
      .replace(/\s+/g, " ") ?? null
  );
}

/**
 * proc(5), /proc/sys/net/ipv4: ip_local_port_range and ip_local_reserved_ports of this network namespace, read anew
 * each time.
 */
export function portFacts(): PortFacts {
  const [low, high] = (sysctl("net.ipv4.ip_local_port_range") ?? "").split(" ").map(Number);
  return {
    ephemeralRange: low && high ? { low, high } : null,
    reservedPorts: parsePortList(sysctl("net.ipv4.ip_local_reserved_ports") ?? ""),
  };
}

/** proc(5), /proc/version: gVisor answers for Linux, with a version of its own that never changes. */
export function sandbox(): "gvisor" | null {
  const version = readText("/proc/version") ?? "";
  return version.includes("#1 SMP Sun Jan 10 15:06:54 PST 2016") ? "gvisor" : null;
}

/**
 * uname(2), proc(5) and package.json: the environment now. Reads only; a fact that the host does not report is null
 * or absent.
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
 * Whether an address is of this host: loopback, unspecified (which connect(2) turns into loopback), or of one of
 * its interfaces. A self-connect exists with no other.
 */
export function isOwnAddress(address: Address): boolean {
  const own = unmap(address);
  if (own.family === 4 && (own.host.startsWith("127.") || own.host === "0.0.0.0")) return true;
  if (own.host === "::1" || own.host === "::") return true;
  const { scope: _, ...bare } = own;
  const interfaces = Object.values(os.networkInterfaces()).flatMap((list) => list ?? []);
  return interfaces.some((entry) =>
    isSameHost(toAddress(entry.address.split("%")[0]!, 0), { ...bare, port: 0 }),
  );
}

function readText(path: string | URL): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // Another kernel, or not a checkout: the fact is not there to be had.
  }
}
