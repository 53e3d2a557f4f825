/** Random sequences of calls on sockets over loopback. SEED=… replays a run; FUZZ_MS=… makes it longer. */
import { closeSync } from "node:fs";
import net from "node:net";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { expect, it } from "vitest";
import { connectMany } from "../../lib/guard/connect-many.ts";
import { dial } from "../../lib/guard/dial.ts";
import { punch } from "../../lib/guard/punch.ts";
import { findFourTuple } from "../../lib/kernel/tables.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import type { Address } from "../../lib/socket/address.ts";
import { isSameAddress } from "../../lib/socket/address.ts";
import { DialError, SocketError } from "../../lib/socket/errors.ts";
import { WaitError } from "../../lib/socket/limits.ts";
import type { OptionName } from "../../lib/socket/options.ts";
import { createServer } from "../../lib/socket/server.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { SocketState } from "../../lib/socket/state.ts";
import { socketOptions } from "../../lib/socket/stream-options.ts";
import { optionTable } from "../../lib/socket/supported.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { deadPeer, FAMILIES, LOOPBACK, random } from "../support/harness.ts";

const FUZZ_MS = Number(process.env.FUZZ_MS ?? 20_000);
const CALLS_PER_ROUND = 40;
/** No wait of a round has a deadline later than this. */
const LONGEST_WAIT_MS = 20;
/** A wait that is not over this long after its socket was closed hangs. */
const HANGS_AFTER_MS = 5000;
const STATES: readonly SocketState[] = [
  "unconnected",
  "listening",
  "connecting",
  "connected",
  "failed",
  "closed",
];
const OPTIONS = optionTable().map(({ name }) => name as OptionName);
const VALUES = [0, 1, -1, 2 ** 31, 5, true, false, "cubic", "x", null, undefined, {}, 7n, new Uint8Array(4)];
/** Later connections would not be reset, or would reach other hosts or other users' sockets. */
const LEFT_OUT: ReadonlySet<OptionName> = new Set(["lingerSeconds"] as const);

const { next, seed } = random();
const upTo = (count: number) => Math.floor(next() * count);
const pick = <T>(from: readonly T[]): T => from[upTo(from.length)]!;

/** One round: some sockets, what may connect to what, and the waits that were begun. */
class Round {
  readonly family: 4 | 6 = pick(FAMILIES);
  readonly sockets: TcpSocket[] = [];
  readonly others: (net.Socket | net.Server)[] = [];
  readonly waits: Promise<unknown>[] = [];
  readonly selves: Address[] = [];
  readonly log: string[] = [];
  readonly listener = TcpSocket.open(this.family)
    .bind(this.host(0))
    .listen(pick([0, 1, 16]));
  readonly dead = deadPeer(this.family, "other");
  readonly abort = new AbortController();

  host(port: number): Address {
    return { family: this.family, host: LOOPBACK[this.family], port };
  }

  limits(): { deadlineMs: number; signal?: AbortSignal } {
    return { deadlineMs: upTo(LONGEST_WAIT_MS), ...(upTo(4) === 0 && { signal: this.abort.signal }) };
  }

  peer(): Address {
    return pick([this.listener.getsockname(), this.dead, this.host(0), ...this.selves.slice(-1)]);
  }

  add(socket: TcpSocket | null): void {
    if (socket) this.sockets.push(socket);
  }

  /** Replaces a socket by the one that owns its descriptor now. */
  move(from: TcpSocket, to: TcpSocket): void {
    expect(from.state).toBe("closed");
    this.sockets[this.sockets.indexOf(from)] = to;
  }

  keep(stream: net.Socket): void {
    this.others.push(stream.on("error", () => {}).resume());
  }

  keepServer(server: net.Server): void {
    this.others.push(server);
  }
}

type Act = (socket: TcpSocket, round: Round) => unknown;

const bytes = () => new Uint8Array(pick([0, 1, 10, 1000, 300_000]));

const ACTS: Readonly<Record<string, Act>> = {
  open: (_, round) => round.add(TcpSocket.open(round.family)),
  pair: async (_, round) => {
    for (const socket of await TcpSocket.pair(round.family)) round.add(socket);
  },
  bind: (socket, round) => socket.bind(round.host(0)),
  join: (socket, round) => {
    const self = socket.getsockname();
    if (self.port === 0) return;
    round.selves.push(self);
    socket.connect(self);
  },
  connect: (socket, round) => socket.connect(round.peer()),
  connectAgain: (socket, round) => socket.connect(round.listener.getsockname()),
  connected: (socket, round) => socket.connected(round.limits()),
  listen: (socket) => socket.listen(upTo(3)),
  accept: (socket, round) => round.add(socket.accept()),
  accepted: async (socket, round) => round.add(await socket.accepted(round.limits())),
  acceptListener: (_, round) => round.add(round.listener.accept()),
  takeError: (socket) => socket.takeError(),
  send: (socket) => socket.send(bytes(), { urgent: upTo(5) === 0 }),
  writev: (socket) => socket.writev([bytes(), bytes()]),
  sendmsg: (socket) => socket.sendmsg([bytes()], { sent: upTo(2) === 0 }),
  sendAll: (socket, round) => socket.sendAll(bytes(), round.limits()),
  recv: (socket) => socket.recv(bytes(), { peek: upTo(3) === 0, urgent: upTo(9) === 0 }),
  recvmsg: (socket) => socket.recvmsg(bytes(), { errorQueue: upTo(3) === 0 }),
  receiveExactly: (socket, round) => socket.receiveExactly(pick([0, 1, 1000]), round.limits()),
  readable: (socket, round) => socket.readable(round.limits()),
  writable: (socket, round) => socket.writable(round.limits()),
  reportMessages: (socket) => socket.reportMessages({ errors: upTo(2) === 0, sent: upTo(2) === 0 }),
  isSelfConnected: (socket) => {
    const { local, peer } = socket.toJSON();
    const isJoined = socket.isSelfConnected();
    if (local && peer && socket.state === "connected") expect(isJoined).toBe(isSameAddress(local, peer));
  },
  names: (socket) => [socket.getsockname(), socket.getpeername()],
  inspect: (socket) => [inspect(socket), JSON.stringify(socket)],
  shutdown: (socket) => {
    // A FIN that a socket sends to itself leaves TIME-WAIT, as documented. Linux keeps a shutdown that failed before
    // connect(2), and sends FIN then.
    if (socket.state === "connected" && !socket.isSelfConnected())
      socket.shutdown(pick(["read", "write", "both"]));
  },
  getsockopt: (socket) => socket.getsockopt(pick(OPTIONS)),
  setsockopt: (socket) => {
    const name = pick(OPTIONS);
    if (!LEFT_OUT.has(name)) socket.setsockopt(name, pick(VALUES) as never);
  },
  transfer: (socket, round) => round.move(socket, TcpSocket.fromTransfer(socket.transfer())),
  fromFd: (socket, round) => {
    const fd = socket.release();
    try {
      round.move(socket, TcpSocket.fromFd(fd, pick([undefined, round.dead])));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  },
  toStream: (socket, round) => round.keep(socket.toStream({ allowHalfOpen: upTo(2) === 0 })),
  toServer: (socket, round) => {
    round.keepServer(socket.toServer(net.createServer((stream) => round.keep(stream))));
  },
  loop: async (_, round) => {
    const { deadlineMs, signal } = round.limits();
    const limit = { durationMs: deadlineMs + 1, ...(signal && { signal }), selfConnects: 1 + upTo(2) };
    const strategy = pick(["fresh", "reuse", "autobind", "bind", "range"] as const);
    await using loop = new ReconnectLoop({ peer: round.peer(), strategy, threads: 1 + upTo(2), ...limit });
    if (upTo(3) === 0) return loop.progress();
    const isIterated = upTo(2) === 0;
    for await (const _progress of isIterated ? loop : []) if (upTo(2) === 0) break;
    const { socket, local } = await loop.run(round.limits().signal);
    if (local) round.selves.push(local);
    round.add(socket);
    return loop.progress();
  },
  connectMany: async (_, round) => {
    const peers = [round.peer(), round.peer(), round.listener.getsockname()];
    const guard = pick(["prevent", "detect", "off"] as const);
    const results = connectMany(peers, { ...round.limits(), guard, concurrency: 1 + upTo(3) });
    for await (const { socket, local } of results) {
      if (local) round.selves.push(local);
      round.add(socket ?? null);
      if (upTo(3) === 0) break;
    }
  },
  dial: async (_, round) => {
    const { socket } = await dial(round.peer(), { ...round.limits(), attempts: 1 + upTo(3) });
    expect(socket.isSelfConnected()).toBe(false);
    round.add(socket);
  },
  punch: async (_, round) => {
    const peer = pick([round.dead, round.peer()]);
    const { socket } = await punch(pick([round.host(0), peer]), peer, round.limits());
    expect(socket.isSelfConnected()).toBe(false);
    round.add(socket);
  },
  socketOptions: (_, round) => {
    const options = socketOptions(pick(round.others));
    const name = pick(OPTIONS);
    if (LEFT_OUT.has(name)) return options.information();
    return upTo(2) === 0 ? options.get(name) : options.set(name, pick(VALUES) as never);
  },
  createServer: (_, round) => {
    const acceptedOptions = { noDelay: true, ...(upTo(4) === 0 && { congestion: "x" }) };
    const server = createServer({ acceptedOptions }, (stream) => round.keep(stream));
    server.on("error", () => {}).listen(pick([0, round.dead.port]), LOOPBACK[round.family]);
    round.keepServer(server);
  },
  abortAll: (_, round) => round.abort.abort(new Error("aborted")),
  turn: () => nextTurn(),
  wait: () => sleep(1),
  close: (socket) => socket.close(),
  reset: (socket) => socket.reset(),
};
/** These end a socket or take long, so that a sequence with many of them has little to do. */
const RARE: ReadonlySet<string> = new Set([
  ...["loop", "connectMany", "dial", "punch", "createServer"],
  "toStream",
  "toServer",
  "close",
  "reset",
  "abortAll",
]);
const NAMES = Object.keys(ACTS).flatMap((name) => (RARE.has(name) ? [name] : [name, name, name]));

/** Fails for an error that no caller could handle by its code. */
function expectKnown(error: unknown, round: Round): void {
  const isOurs = error instanceof SocketError || error instanceof WaitError || error instanceof DialError;
  const isMisuse = error instanceof TypeError || error instanceof RangeError;
  const { code } = error as { code?: unknown };
  if (isOurs || (isMisuse && typeof code === "string") || error === round.abort.signal.reason) return;
  throw new Error(`SEED=${seed}: ${round.log.join(", ")} failed`, { cause: error });
}

async function play(round: Round): Promise<void> {
  round.add(TcpSocket.open(round.family));
  round.add(TcpSocket.open(round.family));
  for (let count = 0; count < CALLS_PER_ROUND; count++) {
    const [name, socket] = [pick(NAMES), pick(round.sockets)];
    round.log.push(`${name} of ${round.sockets.indexOf(socket)} (${socket.state})`);
    try {
      const result = ACTS[name]!(socket, round);
      if (!(result instanceof Promise)) continue;
      const wait = result.catch((error) => expectKnown(error, round));
      round.waits.push(wait);
      if (upTo(2) === 0) await wait;
    } catch (error) {
      expectKnown(error, round);
    } finally {
      for (const one of round.sockets) expect(STATES).toContain(one.state);
    }
  }
}

async function end(round: Round): Promise<void> {
  for (const socket of round.sockets) {
    if (upTo(2) === 0) socket.close();
    else socket.reset();
    expect([socket.state, socket.fd]).toEqual(["closed", -1]);
  }
  round.listener.close();
  for (const other of round.others) {
    if (other instanceof net.Socket) other.destroy();
    else other.close();
  }
  const late = sleep(HANGS_AFTER_MS, "late", { ref: false });
  const all = Promise.all(round.waits).then(() => "over");
  const ended = await Promise.race([all, late]);
  // A pair, or an accepted connection, that came while the round ended.
  for (const socket of round.sockets) socket.reset();
  if (ended === "late") throw new Error(`SEED=${seed}: a wait hangs after ${round.log.join(", ")}`);
  for (const self of round.selves) {
    const left = findFourTuple(self, self);
    expect(left, `SEED=${seed}: ${round.log.join(", ")}`).toEqual([]);
  }
}

it(`random calls leave nothing open, hang nowhere and throw known errors (SEED=${seed})`, {
  timeout: FUZZ_MS + 60_000,
}, async () => {
  const before = openDescriptors().size;
  const endsAt = performance.now() + FUZZ_MS;
  let rounds = 0;
  for (; performance.now() < endsAt; rounds++) {
    const round = new Round();
    try {
      await play(round);
    } finally {
      await end(round);
    }
    // Streams and servers close in the next turns.
    const settlesAt = performance.now() + HANGS_AFTER_MS;
    while (openDescriptors().size > before && performance.now() < settlesAt) await sleep(1);
    expect(openDescriptors().size, `SEED=${seed}: ${round.log.join(", ")}`).toBeLessThanOrEqual(before);
  }
  console.log(`${rounds} rounds of ${CALLS_PER_ROUND} calls`);
});
