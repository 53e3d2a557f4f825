/**
 * One way to connect. Arguments: port, milliseconds, door, what to do: "live" connects to the port and resets, one
 * after another; "own" does so at a server of this process; "held" keeps many connections and prints their memory;
 * "start" starts Node with the door loaded, again and again.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { connect, dial, TcpSocket } from "../../lib/index.ts";
import { measure } from "../measure.ts";

const HOST = "127.0.0.1";
const REGISTER = new URL("../../register.js", import.meta.url).href;
/** Fewer than a listener's queue holds: nothing accepts them. */
const HELD = 2000;
const WARM_UP = 100;
const NS_PER_MS = 1e6;

const [port, milliseconds, door = "node:net", task = "live"] = process.argv.slice(2);
const durationMs = Number(milliseconds);
const doors: Readonly<Record<string, (port: number) => Promise<() => void>>> = {
  TcpSocket: async (port) => {
    const socket = TcpSocket.open(4);
    if (socket.connect({ family: 4, host: HOST, port }) === "in-progress") await socket.connected();
    return () => socket.reset();
  },
  "dial()": async (port) => {
    const { socket } = await dial({ family: 4, host: HOST, port });
    return () => socket.reset();
  },
  "connect()": (port) => connected(connect({ port, host: HOST })),
  "node:net": (port) => connected(net.connect({ port, host: HOST })),
  register: (port) => connected(net.connect({ port, host: HOST })),
};
if (door === "register") await import(REGISTER);
const open = doors[door]!;
const tasks = { live: () => connectFor(Number(port)), own: connectToOwn, held: holdMany, start: startNode };
await tasks[task as keyof typeof tasks]();

async function connected(socket: net.Socket): Promise<() => void> {
  await once(socket, "connect");
  return () => socket.resetAndDestroy();
}

/** Connects and resets, until the time is over. */
async function connectFor(to: number): Promise<void> {
  await measure(async (forMs) => {
    const endsAt = performance.now() + forMs;
    let count = 0;
    for (; performance.now() < endsAt; count++) (await open(to))();
    return count;
  }, durationMs);
}

async function connectToOwn(): Promise<void> {
  const server = net.createServer((socket) => socket.on("error", () => socket.destroy()).resume());
  await once(server.listen(0, HOST), "listening");
  await connectFor((server.address() as net.AddressInfo).port);
  server.close();
}

/** The growth of the process's memory for each connection, without the kernel's part. */
async function holdMany(): Promise<void> {
  const listener = TcpSocket.open(4).bind({ family: 4, host: HOST, port: 0 }).listen(HELD);
  const to = listener.getsockname().port;
  const warm = [];
  for (let i = 0; i < WARM_UP; i++) warm.push(await open(to));
  const [before, startedAt] = [memoryBytes(), performance.now()];
  const held = [];
  for (let i = WARM_UP; i < HELD; i++) held.push(await open(to));
  const elapsedNs = (performance.now() - startedAt) * NS_PER_MS;
  const growthBytes = Math.max(0, memoryBytes() - before) / held.length;
  for (const reset of [...warm, ...held]) reset();
  listener.reset();
  console.log(JSON.stringify({ count: held.length, elapsedNs, growthBytes }));
}

function memoryBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

function startNode(): void {
  const args = door === "register" ? ["--import", REGISTER, "-e", "0"] : ["-e", "0"];
  const startedAt = performance.now();
  let count = 0;
  for (; count === 0 || performance.now() < startedAt + durationMs; count++) {
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
  }
  console.log(JSON.stringify({ count, elapsedNs: (performance.now() - startedAt) * NS_PER_MS }));
}
