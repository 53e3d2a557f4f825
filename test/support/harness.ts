/** Shared by tests: dead ports, listeners, the command line, network namespaces, checks of the kernel. */
import type { ChildProcess, ChildProcessByStdio, StdioOptions } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import net from "node:net";
import os from "node:os";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "vitest";
import { portFacts } from "../../lib/kernel/index.ts";
import { isAtLeast } from "../../lib/kernel/release.ts";
import { seededRandom } from "../../lib/loop/statistics.ts";
import type { Address } from "../../lib/socket/address.ts";
import { findFreePort } from "../../lib/socket/free-port.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative, replaceNative } from "../../lib/socket/native.ts";
import type { OptionName } from "../../lib/socket/options.ts";
import type { TcpSocket } from "../../lib/socket/socket.ts";
import { supported } from "../../lib/socket/supported.ts";

const ECHO_WAIT_MS = 1000;

export const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
/** The families of this machine's loopback: tests over one that it lacks are left out, and a line says so. */
export const FAMILIES: readonly (4 | 6)[] = findFamilies();

export const MAIN = new URL("../../dist/cli/main.js", import.meta.url).pathname;

function findFamilies(): (4 | 6)[] {
  const addresses = Object.values(os.networkInterfaces()).flatMap((some) => some ?? []);
  if (addresses.some(({ address }) => address === LOOPBACK[6])) return [4, 6];
  console.log(`no test over IPv6: this machine does not have ${LOOPBACK[6]}`);
  return [4];
}

/** A dead port of the ephemeral range: with the low end's parity, which connect(2) picks, or with the other. */
export function deadPort(parity: "connect" | "other" = "connect"): number {
  const addresses = FAMILIES.map((family) => ({ family, host: LOOPBACK[family], port: 0 }));
  return findFreePort(portFacts().ephemeralRange!, {
    addresses,
    parity: parity === "connect" ? "low" : "other",
  });
}

/** A dead address on loopback. */
export function deadPeer(family: 4 | 6 = 4, parity: "connect" | "other" = "connect"): Address {
  return { family, host: LOOPBACK[family], port: deadPort(parity) };
}

/** Runs a Node server that calls `serve` for each connection; closes it and all its connections at the end. */
export async function withListener<T>(
  family: 4 | 6,
  serve: (socket: net.Socket) => void,
  use: (peer: Address) => Promise<T> | T,
): Promise<T> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // The other end may reset; the test checks only its own end.
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK[family], resolve));
  try {
    return await use({ family, host: LOOPBACK[family], port: (server.address() as AddressInfo).port });
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The descriptor on which a program reports that it handles Ctrl-C. */
const REPORT_FD = 3;

/**
 * Loaded before a program, reports on a descriptor that the program now handles SIGINT. SigCgt of /proc does not show
 * it, because Node always catches SIGINT. Programs that inherit the flag are not our children and report nothing.
 */
const REPORT_HANDLER = `data:text/javascript,${encodeURIComponent(`
  import { writeSync } from "node:fs";
  if (process.ppid === ${process.pid})
    process.on("newListener", (name) => name === "SIGINT" && writeSync(${REPORT_FD}, "handled"));`)}`;

/** Runs the built command line; `during` may act on the process while it runs. */
export function cli(args: readonly string[], during?: (child: ChildProcess) => void): Promise<CommandResult> {
  const flags = during ? ["--import", REPORT_HANDLER] : [];
  return command(process.execPath, [...flags, MAIN, ...args], during);
}

/** Sends Ctrl-C to a command of cli() after it has handled Ctrl-C for a while: on a busy machine it starts late. */
export function interruptAfter(ms: number): (child: ChildProcess) => void {
  return (child) => child.stdio[REPORT_FD]!.once("data", () => setTimeout(() => child.kill("SIGINT"), ms));
}

const running = new Set<ChildProcess>();

/** Ends programs that a timed-out test left running. */
export function endPrograms(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Runs a program to its end. */
export function command(
  file: string,
  args: readonly string[],
  during?: (child: ChildProcess) => void,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const stdio: StdioOptions = ["ignore", "pipe", "pipe", ...(during ? ["pipe" as const] : [])];
    const child = spawn(file, args, { stdio }) as ChildProcessByStdio<null, Readable, Readable>;
    running.add(child);
    child.on("exit", () => running.delete(child));
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        output[name] += text;
      });
    }
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...output }));
    during?.(child);
  });
}

/** Runs a program in a new network namespace, with loopback up and the given ephemeral range. */
export function runInNamespace(range: string, file: string, args: readonly string[]): Promise<CommandResult> {
  const setUp = `ip link set lo up && echo "${range}" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"`;
  return command("unshare", ["-rn", "sh", "-c", setUp, "sh", file, ...args]);
}

/** Skips, with the reason, where there is no IPv6. */
export function needsIpv6(context: TestContext): void {
  if (!FAMILIES.includes(6)) context.skip(`this machine does not have ${LOOPBACK[6]}`);
}

/** Skips, with the reason, where network namespaces are not available. */
export function needsNamespaces(context: TestContext): void {
  const made = spawnSync("unshare", ["-rn", "ip", "link", "show"]);
  if (made.status !== 0)
    context.skip("no network namespaces here: needs unshare, ip (iproute2) and permission");
}

/** Skips, with the reason, for a user who lacks what root has. `why` is what root is needed for. */
export function needsRoot(context: TestContext, why: string): void {
  if (process.getuid!() !== 0) context.skip(`needs root: ${why}`);
}

/** Skips, with the reason, where this process may not have so many files open at once. */
export function needsFiles(context: TestContext, count: number): void {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))!;
  if (Number(soft) < count) context.skip(`needs ${count} open files (ulimit -n)`);
}

/** Skips, with the reason, on one processor: two SYNs cross on loopback only where two send at the same moment. */
export function needsTwoProcessors(context: TestContext): void {
  if (os.availableParallelism() < 2) context.skip("needs 2 processors, so that SYNs cross on loopback");
}

/** Skips on kernels before `version`, and fails on later ones that lack the option. */
export function requires(context: TestContext, version: string, name: OptionName): void {
  const isThere = supported(name);
  const isDue = isAtLeast(os.release(), version);
  if (!isThere && isDue)
    throw new Error(`Linux ${os.release()} should have ${name}, which came with ${version}`);
  if (!isThere) context.skip(`${name} came with Linux ${version}; this is ${os.release()}`);
}

/** A seeded generator, so that a failure can be replayed: SEED=… npm test. */
export function random(seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)): {
  next: () => number;
  seed: number;
} {
  return { next: seededRandom(seed), seed };
}

/** Sends bytes and returns what the same socket then receives. */
export async function echo(socket: TcpSocket, bytes: Uint8Array): Promise<Uint8Array> {
  socket.send(bytes);
  const received = new Uint8Array(bytes.length);
  const endsAt = performance.now() + ECHO_WAIT_MS;
  let length = 0;
  while (length < received.length && performance.now() < endsAt) {
    const count = socket.recv(received.subarray(length));
    if (count === 0) break;
    if (count === null) await sleep(1);
    else length += count;
  }
  return received.subarray(0, length);
}

/** Fakes a kernel: replaces some of the addon's calls while `use` runs. */
export async function withNative<T>(calls: Partial<Native>, use: () => Promise<T> | T): Promise<T> {
  const restore = replaceNative({ ...loadNative(), ...calls });
  try {
    return await use();
  } finally {
    restore();
  }
}

/** What a call throws; undefined when it does not. */
export function catchError(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}
