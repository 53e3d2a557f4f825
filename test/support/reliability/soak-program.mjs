// The soak: node --expose-gc soak-program.mjs SECONDS SEED. A loop of every strategy, engine and number of threads, one
// after another, while the guard dials in the same process and workers come and go. Prints a sample every second, then
// {end}.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import net from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { connect, dial, guardStatistics, ReconnectLoop, STRATEGIES, TcpSocket } from "../../../dist/index.js";
import { seededRandom } from "./random.mjs";

const [seconds, seed] = process.argv.slice(2).map(Number);
const random = seededRandom(seed);
const PIECE_MS = 900;
const DIAL_EVERY_MS = 25;
const WORKER_EVERY_MS = 5000;
const ENDLESS = 2 ** 32 - 1;
const began = performance.now();
const elapsed = () => (performance.now() - began) / 1000;
const print = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);

const totals = { attempts: 0, pieces: 0, dials: 0, failedDials: 0, joined: 0, workers: 0, selfConnects: 0 };
/** Attempts per second of "reuse": by itself, and in the mixed load. */
const rates = { alone: [], mixed: [] };
const listener = net.createServer((stream) => stream.on("error", () => {}).resume()).listen(0, "127.0.0.1");
await new Promise((resolve) => listener.once("listening", resolve));
const { port } = listener.address();
let isOver = false;
let isAlone = false;

const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();
const sampling = sample();
const load = [runLoops(), dialOn(), restartWorkers()];
await Promise.all(load);
isOver = true;
await sampling;
listener.close();
print({ end: true, ...totals, guard: guardStatistics(), rates });
process.exit(0);

function deadPeer() {
  const socket = TcpSocket.open(4).bind("127.0.0.1:0");
  const peer = socket.getsockname();
  socket.close();
  return peer;
}

async function runLoops() {
  const kinds = STRATEGIES.flatMap((strategy) =>
    ["plain", "io_uring", "auto"].flatMap((engine) =>
      [1, 2].map((threads) => ({ strategy, engine, threads })),
    ),
  );
  for (let i = 0; elapsed() < seconds; i++) {
    if (i % 12 === 0) await runPaired();
    await runPiece(kinds[Math.floor(random() * kinds.length)]);
  }
}

/** "reuse" without the rest of the load, then with it. */
async function runPaired() {
  const reuse = { strategy: "reuse", engine: "auto", threads: 1 };
  isAlone = true;
  await sleep(2 * DIAL_EVERY_MS);
  rates.alone.push(await runPiece(reuse));
  isAlone = false;
  rates.mixed.push(await runPiece(reuse));
}

async function runPiece(kind) {
  const loop = new ReconnectLoop({
    peer: deadPeer(),
    durationMs: PIECE_MS,
    selfConnects: ENDLESS,
    attempts: ENDLESS,
    ...kind,
  });
  const result = await loop.run();
  result.socket?.reset();
  const counted = Object.values(result.outcomes).reduce((sum, count) => sum + count, 0);
  assert.equal(counted, result.attempts, "the counters add up");
  totals.attempts += result.attempts;
  totals.selfConnects += result.outcomes["self-connect"] ?? 0;
  totals.pieces++;
  return result.attemptsPerSecond;
}

/** The guard, by dial() and by net.connect(), to a service of this process. */
async function dialOn() {
  while (elapsed() < seconds) {
    await sleep(DIAL_EVERY_MS);
    if (isAlone) continue;
    totals.dials += 2;
    try {
      const { socket } = await dial({ family: 4, host: "127.0.0.1", port }, { deadlineMs: 5000 });
      if (socket.isSelfConnected()) totals.joined++;
      socket.reset();
      const stream = connect({ host: "127.0.0.1", port });
      await new Promise((resolve, reject) => stream.once("connect", resolve).once("error", reject));
      if (stream.localPort === stream.remotePort) totals.joined++;
      stream.resetAndDestroy();
    } catch (error) {
      totals.failedDials++;
      print({ failed: error.message });
    }
  }
}

async function restartWorkers() {
  // When a worker ends while it imports a module, Node leaves the module's file open, whatever it is: one that ends later
  // shows what we leave open.
  const code = `import(${JSON.stringify(new URL("../../../dist/index.js", import.meta.url).href)}).then(({ ReconnectLoop, TcpSocket }) => {
    const socket = TcpSocket.open(4).bind("127.0.0.1:0");
    const peer = socket.getsockname();
    socket.close();
    require("node:worker_threads").parentPort.postMessage("imported");
    return new ReconnectLoop({ peer, durationMs: 60000, selfConnects: ${ENDLESS}, strategy: "fresh" }).run();
  });`;
  while (elapsed() < seconds) {
    const worker = new Worker(code, { eval: true });
    await once(worker, "message");
    await sleep(Math.min(WORKER_EVERY_MS, 500 + random() * 2000));
    await worker.terminate();
    totals.workers++;
    await sleep(random() * WORKER_EVERY_MS);
  }
}

async function sample() {
  for (let last = 0; !isOver; ) {
    await sleep(1000);
    globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    const made = totals.attempts - last;
    last = totals.attempts;
    print({
      second: Math.round(elapsed()),
      descriptors: readdirSync("/proc/self/fd").length,
      rssMb: rss / 2 ** 20,
      heapMb: heapUsed / 2 ** 20,
      delayMs: delay.percentile(99) / 1e6,
      attempts: made,
    });
    delay.reset();
  }
}
