/** What experiments stand on: TcpSocket, ReconnectLoop, and the sysctls of a kernel that is theirs alone. */
import { writeFileSync } from "node:fs";
import { sysctl } from "../kernel/host.ts";
import type { ReconnectResult } from "../loop/reconnect.ts";
import { ReconnectLoop } from "../loop/reconnect.ts";
import type { Strategy } from "../loop/strategy.ts";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import type { ErrnoName, Outcome } from "../socket/errors.ts";
import { DialError, SocketError } from "../socket/errors.ts";
import type { FreePortOptions } from "../socket/free-port.ts";
import { findFreePort } from "../socket/free-port.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { TcpSocket } from "../socket/socket.ts";

/** Small, so that an emulated kernel goes round it in seconds; the answers do not depend on its size. */
export const RANGE: PortRange = { low: 40_000, high: 40_999 };
const ANSWER_WITHIN_MS = 2000;
const LOOP_WITHIN_MS = 60_000;
/** What socket(2) answers on a kernel without IPv6. */
const NO_FAMILY = "EAFNOSUPPORT";

/** One connect, made by hand. */
export interface ConnectEnd {
  readonly outcome: Outcome;
  /** The local port that the kernel chose; 0 where it does not tell. */
  readonly localPort: number;
}

export interface ConnectOnceOptions {
  readonly options?: Partial<SocketOptions>;
  /** bind(2) to this first. */
  readonly local?: Address;
}

/** Thrown by a run when the machine does not allow what the experiment needs; the finding then says so. */
export class NotHere extends Error {
  override readonly name = "NotHere";
}

/** Made for one kernel, and used by one experiment after another. */
export class Instruments {
  /** How many times a random thing is repeated. */
  readonly trials: number;
  readonly #ownsKernel: boolean;
  #lastPort = 0;

  /** `ownsKernel`: whether the sysctls of this network namespace are the lab's to set. */
  constructor(trials: number, ownsKernel: boolean) {
    this.trials = trials;
    this.#ownsKernel = ownsKernel;
  }

  /** net.ipv4.ip_local_port_range as it is now. */
  get range(): PortRange {
    const [low, high] = (sysctl("net.ipv4.ip_local_port_range") ?? "").split(" ").map(Number);
    if (!low || !high) throw new NotHere("no net.ipv4.ip_local_port_range here");
    return { low, high };
  }

  /** How many ports of the range have the parity of its low end. */
  get portsOfParity(): number {
    return Math.floor((this.range.high - this.range.low) / 2) + 1;
  }

  /** Sets a sysctl for as long as `use` runs. Throws NotHere where that is not allowed. */
  async withSysctl<T>(name: string, value: string, use: () => Promise<T>): Promise<T> {
    if (!this.#ownsKernel) throw new NotHere(`${name} is the host's own here: no namespace can be made`);
    const before = sysctl(name);
    if (before === null) throw new NotHere(`no ${name} here`);
    setSysctl(name, value);
    try {
      return await use();
    } finally {
      setSysctl(name, before === "" ? "\n" : before);
    }
  }

  /** Narrows the ephemeral range of the whole namespace for as long as `use` runs. */
  withRange<T>(range: PortRange, use: () => Promise<T>): Promise<T> {
    return this.withSysctl("net.ipv4.ip_local_port_range", `${range.low} ${range.high}`, use);
  }

  /** A port inside the range, of the low end's parity or the other, and not the one given before. */
  port(parity: "low" | "other" = "low"): number {
    const isWanted = (port: number) => port !== this.#lastPort;
    this.#lastPort = findPortHere(this.range, { parity, isWanted });
    return this.#lastPort;
  }

  /** So many ports side by side, all of them free; the first has the parity of the low end. */
  free(count: number): PortRange {
    const low = findPortHere(this.range, { count, parity: "low", from: this.range.low });
    return { low, high: low + count - 1 };
  }

  /** A dead port below the range, the same each time: a destination that can never be joined to itself. */
  outside(): number {
    const high = this.range.low - 1;
    return findPortHere({ low: 1025, high }, { from: high });
  }

  /** A reconnect loop. What connected is reset. */
  async loop(peer: Address, strategy: Strategy, attempts: number): Promise<ReconnectResult> {
    const loop = new ReconnectLoop({ peer, strategy, attempts, durationMs: LOOP_WITHIN_MS });
    const result = await loop.run();
    result.socket?.reset();
    return result;
  }

  /** The local ports of so many attempts, in order. */
  async walk(peer: Address, attempts: number, strategy: Strategy = "fresh"): Promise<number[]> {
    const ports: number[] = [];
    const onPorts = (batch: Uint16Array) => ports.push(...batch);
    const loop = new ReconnectLoop({ peer, strategy, attempts, durationMs: LOOP_WITHIN_MS, onPorts });
    const result = await loop.run();
    result.socket?.reset();
    return ports;
  }

  /** socket, options, bind if asked, connect, and how it ended; what connected is reset. */
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

  /** The same, many times. */
  async connectMany(peer: Address, attempts: number, options?: ConnectOnceOptions): Promise<ConnectEnd[]> {
    const results: ConnectEnd[] = [];
    for (let i = 0; i < attempts; i++) results.push(await this.connectOnce(peer, options));
    return results;
  }
}

/** A namespace without such a port does not allow what the experiment needs. */
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
  if (socket.connect(peer) === "in-progress") await socket.connected({ deadlineMs: ANSWER_WITHIN_MS });
  return socket.isSelfConnected() ? "self-connect" : "connected";
}

/** "yes: self-connect" when every attempt was one; a family that the kernel lacks is counted, not judged. */
export function sureWords(outcomes: readonly string[]): string {
  const had = outcomes.filter((outcome) => outcome !== NO_FAMILY);
  if (had.length > 0 && had.every((outcome) => outcome === "self-connect")) return "yes: self-connect";
  return `no: ${[...new Set(outcomes)].join(", ")}`;
}

/** 127.0.0.1 with this port, or ::1. */
export function loopback(port: number, family: 4 | 6 = 4): Address {
  return toAddress(family === 4 ? "127.0.0.1" : "::1", port);
}

/** What a call ended with: its own word, or the errno name that it threw. */
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

/** How often each word was given. */
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
