/** What experiments use: TcpSocket, ReconnectLoop, and the sysctls of a kernel of their own. */
import { writeFileSync } from "node:fs";
import { sysctl } from "../kernel/host.ts";
import type { Engine } from "../loop/engine.ts";
import type { ReconnectResult } from "../loop/reconnect.ts";
import { ReconnectLoop } from "../loop/reconnect.ts";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import type { ErrnoName, Outcome } from "../socket/errors.ts";
import { DialError, SocketError } from "../socket/errors.ts";
import type { FreePortOptions } from "../socket/free-port.ts";
import { findFreePort } from "../socket/free-port.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Strategy } from "../socket/strategy.ts";

/** Small, so that a lap takes seconds on an emulated kernel; the answers do not depend on its size. */
export const RANGE: PortRange = { low: 40_000, high: 40_999 };
const ANSWER_WITHIN_MS = 2000;
const LOOP_WITHIN_MS = 60_000;
/** The errno of socket(2) on a kernel without IPv6. */
const NO_FAMILY = "EAFNOSUPPORT";

/** How one connect ended. */
export interface ConnectEnd {
  readonly outcome: Outcome;
  /** The local port that the kernel picked; 0 where it does not report one. */
  readonly localPort: number;
}

export interface ConnectOnceOptions {
  readonly options?: Partial<SocketOptions>;
  /** bind(2) to this first. */
  readonly local?: Address;
}

/** Thrown by an experiment when the machine does not allow what it needs. The finding reports the message. */
export class NotHere extends Error {
  override readonly name = "NotHere";
}

/** The tools of all experiments on one kernel. */
export class Instruments {
  /** How many times a random thing is repeated. */
  readonly trials: number;
  readonly #ownsKernel: boolean;
  #lastPort = 0;

  /** `ownsKernel`: whether the lab may set the sysctls of this network namespace. */
  constructor(trials: number, ownsKernel: boolean) {
    this.trials = trials;
    this.#ownsKernel = ownsKernel;
  }

  /** The current net.ipv4.ip_local_port_range. */
  get range(): PortRange {
    const [low, high] = (sysctl("net.ipv4.ip_local_port_range") ?? "").split(" ").map(Number);
    if (!low || !high) throw new NotHere("no net.ipv4.ip_local_port_range here");
    return { low, high };
  }

  /** How many ports of the range have the parity of its low end. */
  get portsOfParity(): number {
    return Math.floor((this.range.high - this.range.low) / 2) + 1;
  }

  /** Sets sysctls for good. Throws NotHere where that is not allowed. */
  setSysctls(values: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(values)) {
      this.#checkOwned(name);
      setSysctl(name, value);
    }
  }

  /** Sets a sysctl while `use` runs. Throws NotHere where that is not allowed. */
  async withSysctl<T>(name: string, value: string, use: () => Promise<T>): Promise<T> {
    this.#checkOwned(name);
    const before = sysctl(name);
    if (before === null) throw new NotHere(`no ${name} here`);
    setSysctl(name, value);
    try {
      return await use();
    } finally {
      setSysctl(name, before === "" ? "\n" : before);
    }
  }

  #checkOwned(name: string): void {
    if (!this.#ownsKernel) throw new NotHere(`${name} is the host's here: no namespace can be created`);
  }

  /** Narrows the ephemeral range of the whole namespace while `use` runs. */
  withRange<T>(range: PortRange, use: () => Promise<T>): Promise<T> {
    return this.withSysctl("net.ipv4.ip_local_port_range", `${range.low} ${range.high}`, use);
  }

  /** withRange() of one port. */
  withPort<T>(port: number, use: () => Promise<T>): Promise<T> {
    return this.withRange({ low: port, high: port }, use);
  }

  /** Returns a free port of the range, of the low end's parity or the other; never the same twice in a row. */
  findPort(parity: "low" | "other" = "low"): number {
    const isWanted = (port: number) => port !== this.#lastPort;
    this.#lastPort = findPortHere(this.range, { parity, isWanted });
    return this.#lastPort;
  }

  /** Returns `count` free ports in a row; the first has the parity of the low end. */
  findPorts(count: number): PortRange {
    const low = findPortHere(this.range, { count, parity: "low", from: this.range.low });
    return { low, high: low + count - 1 };
  }

  /** Returns a dead port below the range, the same each time: a connect to it cannot be joined to itself. */
  findPortOutside(): number {
    const high = this.range.low - 1;
    return findPortHere({ low: 1025, high }, { from: high });
  }

  /** connectOnce() with this port alone to choose from: "picked", or the errno where the kernel does not pick it. */
  pickFrom(port: number, peer: Address): Promise<string> {
    return this.withPort(port, async () => {
      const { outcome, localPort } = await this.connectOnce(peer);
      return localPort === port ? "picked" : outcome;
    });
  }

  /** A listener on a port below the range, to which a socket can stay connected. */
  listenOutside(): TcpSocket {
    return TcpSocket.open(4).bind(loopback(this.findPortOutside())).listen();
  }

  /** Runs a reconnect loop, and resets the socket that connected. */
  async runLoop(
    peer: Address,
    strategy: Strategy,
    attempts: number,
    engine: Engine = "plain",
  ): Promise<ReconnectResult> {
    const loop = new ReconnectLoop({ peer, strategy, engine, attempts, durationMs: LOOP_WITHIN_MS });
    const result = await loop.run();
    result.socket?.reset();
    return result;
  }

  /** Returns the local ports of `attempts` attempts, in order. */
  async recordWalk(peer: Address, attempts: number, strategy: Strategy = "fresh"): Promise<number[]> {
    const ports: number[] = [];
    const onPorts = (batch: Uint16Array) => ports.push(...batch);
    const loop = new ReconnectLoop({ peer, strategy, attempts, durationMs: LOOP_WITHIN_MS, onPorts });
    const result = await loop.run();
    result.socket?.reset();
    return ports;
  }

  /** socket(2), setsockopt(2), bind(2) if `local` is given, connect(2), reset. Returns the outcome. */
  async connectOnce(peer: Address, { options = {}, local }: ConnectOnceOptions = {}): Promise<ConnectEnd> {
    let localPort = 0;
    const outcome = await outcomeOf(async () => {
      using socket = TcpSocket.open(peer.family, options);
      const joined = await outcomeOf(() => connectAndJudge(socket, peer, local));
      localPort = socket.getsockname().port;
      socket.reset();
      return joined;
    });
    return { outcome, localPort };
  }

  /** connectOnce(), `attempts` times. */
  async connectMany(peer: Address, attempts: number, options?: ConnectOnceOptions): Promise<ConnectEnd[]> {
    const results: ConnectEnd[] = [];
    for (let i = 0; i < attempts; i++) results.push(await this.connectOnce(peer, options));
    return results;
  }
}

/** findFreePort(), but throws NotHere if no port is free. */
function findPortHere(range: PortRange, options: FreePortOptions): number {
  try {
    return findFreePort(range, options);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === "ERR_NO_FREE_PORT" ? new NotHere(message) : error;
  }
}

async function connectAndJudge(
  socket: TcpSocket,
  peer: Address,
  local: Address | undefined,
): Promise<Outcome> {
  if (local) socket.bind(local);
  await completeConnect(socket, peer);
  return socket.isSelfConnected() ? "self-connect" : "connected";
}

/** connect(2), and waits until it has ended. Throws SocketError where it fails. */
export async function completeConnect(socket: TcpSocket, peer: Address): Promise<TcpSocket> {
  if (socket.connect(peer) === "in-progress") await socket.connected({ deadlineMs: ANSWER_WITHIN_MS });
  return socket;
}

/** Returns "yes: self-connect" if every attempt was one, and adds what was not asked for lack of IPv6. */
export function describeOutcomes(outcomes: readonly string[]): string {
  const judged = outcomes.filter((outcome) => outcome !== NO_FAMILY);
  const isYes = judged.length > 0 && judged.every((outcome) => outcome === "self-connect");
  if (!isYes) return `no: ${[...new Set(outcomes)].join(", ")}`;
  return withFamilies("yes: self-connect", { hasIpv6: judged.length === outcomes.length });
}

/** Adds to an answer about both families that this kernel has only one. */
export function withFamilies(answer: string, { hasIpv6 }: { readonly hasIpv6: boolean }): string {
  return hasIpv6 ? answer : `${answer}; IPv4 alone, no IPv6 here`;
}

/** socket(2): whether this kernel has IPv6. */
export function hasIpv6(): boolean {
  try {
    TcpSocket.open(6).close();
    return true;
  } catch (error) {
    if (error instanceof SocketError && error.code === NO_FAMILY) return false;
    throw error;
  }
}

/** The address 127.0.0.1 or ::1 with this port. */
export function loopback(port: number, family: 4 | 6 = 4): Address {
  return toAddress(family === 4 ? "127.0.0.1" : "::1", port);
}

/** Returns the result of the call, or the name of the errno that it threw. */
export async function outcomeOf<T extends string>(
  call: () => Promise<T> | T,
): Promise<T | "deadline" | ErrnoName> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof SocketError) return error.code;
    if (error instanceof DialError) return "deadline";
    throw error;
  }
}

/** Names by the word that they have in common: "always: fresh, reuse; never: bind". */
export function groupByWord(words: ReadonlyMap<string, string>): string {
  const groups = new Map<string, string[]>();
  for (const [name, word] of words) groups.set(word, [...(groups.get(word) ?? []), name]);
  return [...groups].map(([word, names]) => `${word}: ${names.join(", ")}`).join("; ");
}

/** Counts each word. */
export function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

function setSysctl(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, value);
  } catch (error) {
    throw new NotHere(`${name} cannot be set here (${(error as NodeJS.ErrnoException).code})`);
  }
}
