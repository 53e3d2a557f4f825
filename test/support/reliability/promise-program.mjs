// The promise of the guard: node promise-program.mjs SECONDS SEED. In a namespace with a small ephemeral range clients
// dial, in every way in and without a pause, services that start and stop at random. Prints {end, …}.
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, connectMany, dial, guardStatistics, isSelfConnect } from "../../../dist/index.js";
import { findSockets } from "../../../dist/kernel/index.js";
import { seededRandom } from "./random.mjs";

const [seconds, seed] = process.argv.slice(2).map(Number);
const random = seededRandom(seed);
const upTo = (most) => Math.floor(random() * most);
const LOW = 50_000;
const SERVICES = 6;
const CLIENTS_EACH = 3;
const began = performance.now();
const isOver = () => performance.now() - began >= seconds * 1000;

const totals = {
  dials: {},
  connected: 0,
  refused: 0,
  joined: 0,
  rejected: 0,
  starts: 0,
  others: {},
  /** Starts that failed, by what held the port: of services that are dialled under "prevent", and under "detect". */
  prevented: {},
  detected: {},
  /** How long a self-connect that was only detected was in the way. */
  longestMs: 0,
};
const count = (list, name) => {
  list[name] = (list[name] ?? 0) + 1;
};
/** Every second service is dialled under "detect", where a self-connect exists until it is rejected. */
const guardOf = (port) => ((port - LOW) % 4 === 0 ? "prevent" : "detect");
const services = Array.from({ length: SERVICES }, (_, i) => LOW + 2 * i);

/** Each returns [local port, remote port, end] of what it was handed. */
const WAYS = {
  dial: async (port, guard) => {
    const { socket } = await dial(
      { family: 4, host: "127.0.0.1", port },
      { attempts: 1, deadlineMs: 500, guard },
    );
    return [socket.getsockname().port, socket.getpeername().port, () => socket.reset()];
  },
  "net.connect": async (port, guard) => {
    const stream = connect({ host: "127.0.0.1", port, guard });
    await new Promise((resolve, reject) => stream.once("connect", resolve).once("error", reject));
    stream.on("error", () => {});
    return [stream.localPort, stream.remotePort, () => stream.resetAndDestroy()];
  },
  connectMany: async (port, guard) => {
    for await (const { socket, outcome } of connectMany([{ family: 4, host: "127.0.0.1", port }], {
      deadlineMs: 500,
      guard,
    })) {
      if (!socket) throw Object.assign(new Error(outcome), { code: outcome });
      return [socket.getsockname().port, socket.getpeername().port, () => socket.reset()];
    }
    throw new Error("no outcome");
  },
};

const clients = services.flatMap((port) => Array.from({ length: CLIENTS_EACH }, () => dialOn(port)));
await Promise.all([...clients, ...services.map(serve)]);
console.log(JSON.stringify({ end: true, ...totals, guard: guardStatistics() }));
process.exit(0);

async function dialOn(port) {
  while (!isOver()) {
    const way = Object.keys(WAYS)[upTo(3)];
    const guard = guardOf(port);
    count(totals.dials, `${way}, ${guard}`);
    try {
      const [local, remote, end] = await WAYS[way](port, guard);
      if (local === remote) totals.joined++;
      totals.connected++;
      end();
    } catch (error) {
      // A stream's error has the guard's verdict as its cause.
      const code =
        error.cause?.code === "ERR_SELF_CONNECT" ? "ERR_SELF_CONNECT" : (error.cause?.code ?? error.code);
      if (code === "ECONNREFUSED" || code === "ECONNRESET") totals.refused++;
      else if (code === "ERR_SELF_CONNECT" || code === "self-connect") totals.rejected++;
      else count(totals.others, String(code ?? error.message));
    }
    if (upTo(16) === 0) await sleep(upTo(3));
  }
}

/** Starts a server and stops it again; a start that fails says who held the port. */
async function serve(port) {
  while (!isOver()) {
    await sleep(5 + upTo(120));
    const server = net.createServer((stream) => stream.on("error", () => {}).resume());
    const isStarted = await start(server, port);
    await sleep(5 + upTo(120));
    if (isStarted) await new Promise((resolve) => server.close(resolve));
  }
}

/** While a self-connect holds the port the start is tried again: how long one does is what detect may cost. */
async function start(server, port) {
  const list = guardOf(port) === "prevent" ? totals.prevented : totals.detected;
  const seenAt = new Map();
  totals.starts++;
  for (; ; await sleep(1)) {
    const error = await new Promise((resolve) => {
      server.once("error", resolve).listen(port, "127.0.0.1", () => resolve(null));
    });
    server.removeAllListeners("error");
    if (!error) return true;
    // Not by explainBind(): it reads every process of the host, and the guard of this process would wait.
    const { rows } = findSockets({ localPorts: { low: port, high: port } });
    const joined = rows.filter(({ local, peer }) => isSelfConnect(local, peer));
    for (const { inode } of joined) seenAt.set(inode, seenAt.get(inode) ?? performance.now());
    const times = joined.map(({ inode }) => performance.now() - seenAt.get(inode));
    totals.longestMs = Math.max(totals.longestMs, ...times);
    if (joined.length === 0) {
      count(list, rows.length > 0 ? "ordinary sockets" : "nobody any more");
      return false;
    }
    if (seenAt.size === joined.length) count(list, "a self-connect");
    if (isOver()) return false;
  }
}
