/**
 * The cost of the guard: connects to a live listener by net.connect, by the least guard, and by connect(), in turn
 * within one process, so that a slow moment of the machine slows down all three.
 * Arguments: port, milliseconds of a round, rounds, guard, how many connections to the port hold local ports meanwhile.
 */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, rangesWithout, TcpSocket } from "../../lib/index.ts";
import { portFacts } from "../../lib/kernel/index.ts";
import type { Door, GuardMeasurement, GuardRound } from "../guard.ts";

/** Connects before the rounds, until V8 has compiled the code: a half-interpreted guard costs half as much again. */
const WARM_UP = 10_000;
const HOST = "127.0.0.1";
const NS_PER_MS = 1e6;
/** Linux's constants: this driver calls setsockopt(2) and getsockname(2) without this package. */
const [AF_INET, SOCK_STREAM, IPPROTO_IP, IP_LOCAL_PORT_RANGE] = [2, 1, 0, 51];
const [SOCK_NONBLOCK, SOCK_CLOEXEC] = [0o4000, 0o2000000];

/** Fewer than the listener's queue has room for. */
const HELD_AT_ONCE = 500;

const [port, milliseconds, rounds = "1", guard = "prevent", heldPorts = "0"] = process.argv.slice(2);
/** The options of every door; net.connect ignores `guard`. */
const options = { port: Number(port), host: HOST, guard: guard as "prevent" | "detect" };
const doors: Partial<Record<Door, () => net.Socket>> = {
  "node:net": () => net.connect(options),
  "selfconnect connect()": () => connect(options),
};
const missing: Partial<Record<Door, string>> = {};
try {
  doors["least guard"] = await makeLeastGuard();
} catch (error) {
  missing["least guard"] = (error as Error).message.split("\n")[0]!;
}

const made: Record<string, GuardRound[]> = {};
for (let warm = 0; warm < WARM_UP; warm++) await connectByAll();
const held = await holdPorts(Number(heldPorts));
for (let round = 0; round < Number(rounds); round++) await measureRound(Number(milliseconds));
const answer: GuardMeasurement = { rounds: made, missing };
console.log(JSON.stringify(answer));
for (const socket of held) socket.reset();

/** Holds local ports as other connections do: on the side that connects, whatever the listener does with its own. */
async function holdPorts(count: number): Promise<TcpSocket[]> {
  const sockets: TcpSocket[] = [];
  while (sockets.length < count) {
    const socket = TcpSocket.open(4);
    socket.connect({ family: 4, host: HOST, port: options.port });
    sockets.push(socket);
    if (sockets.length % HELD_AT_ONCE === 0) await sleep(10); // The listener empties its queue.
  }
  return sockets;
}

/** Makes a connect by each door, in random order. */
async function connectByAll(
  record?: (door: Door, connectNs: number, closeNs: number) => void,
): Promise<void> {
  for (const door of shuffle(Object.keys(doors) as Door[])) {
    const [connectNs, closeNs] = await timeConnect(doors[door]!);
    record?.(door, connectNs, closeNs);
  }
}

async function measureRound(durationMs: number): Promise<void> {
  const times: Record<string, { connect: number[]; close: number[] }> = {};
  for (const door of Object.keys(doors)) times[door] = { connect: [], close: [] };
  const endsAt = performance.now() + durationMs;
  do {
    await connectByAll((door, connectNs, closeNs) => {
      times[door]!.connect.push(connectNs);
      times[door]!.close.push(closeNs);
    });
  } while (performance.now() < endsAt);
  for (const [door, { connect, close }] of Object.entries(times)) {
    const round = { connectNs: medianOf(connect), closeNs: medianOf(close) };
    made[door] = [...(made[door] ?? []), round];
  }
}

/** The time from the call to 'connect', and to the 'close' after a reset, which leaves no TIME-WAIT. */
async function timeConnect(open: () => net.Socket): Promise<[connectNs: number, closeNs: number]> {
  const startedAt = performance.now();
  const socket = open();
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const connectMs = performance.now() - startedAt;
  socket.resetAndDestroy();
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return [connectMs * NS_PER_MS, (performance.now() - startedAt) * NS_PER_MS];
}

/**
 * net.connect with the fewest added calls that still guard: a socket with its range set, if the kernel could pick
 * the peer's port, and getsockname(2) before Node learns of the connect. No options, no errors, no retry.
 */
async function makeLeastGuard(): Promise<() => net.Socket> {
  const { default: koffi } = await import("koffi");
  const libc = koffi.load("libc.so.6");
  const socket = libc.func("int socket(int domain, int type, int protocol)");
  const setsockopt = libc.func(
    "int setsockopt(int fd, int level, int name, const uint32_t *value, unsigned int length)",
  );
  const getsockname = libc.func("int getsockname(int fd, uint8_t *address, uint32_t *length)");
  const ephemeral = portFacts().ephemeralRange;
  const [range] = guard === "prevent" && ephemeral ? rangesWithout(options.port, ephemeral) : [];
  const packed = range && Uint32Array.of(range.low + range.high * 2 ** 16);
  const local = new Uint8Array(16);
  const length = Uint32Array.of(local.length);
  return () => {
    const stream = net.connect(options);
    // Node's types lack the handle.
    const tcp = (stream as unknown as { _handle: TcpHandle })._handle;
    tcp.connect = (request, host, peerPort) => {
      if (packed) {
        const fd = socket(AF_INET, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0);
        setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, packed, packed.byteLength);
        tcp.open(fd);
      }
      const { oncomplete } = request;
      request.oncomplete = (...ending: unknown[]) => {
        getsockname(tcp.fd, local, length);
        if (local[2]! * 256 + local[3]! === peerPort) throw new Error("joined to itself");
        oncomplete.apply(request, ending);
      };
      return Object.getPrototypeOf(tcp).connect.call(tcp, request, host, peerPort);
    };
    return stream;
  };
}

interface TcpHandle {
  readonly fd: number;
  open(fd: number): number;
  connect(request: ConnectRequest, host: string, port: number): number;
}

interface ConnectRequest {
  oncomplete: (...ending: unknown[]) => void;
}

function shuffle<T>(names: readonly T[]): T[] {
  const order = [...names];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;
}
