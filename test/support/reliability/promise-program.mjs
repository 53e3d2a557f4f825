// The promise of the guard: node promise-program.mjs SECONDS SEED. In a namespace with a small ephemeral range clients
// dial, in every way in and without a pause, services that start and stop at random. Prints {end, …}.
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { explainBind } from "../../../dist/audit/index.js";
import { connect, connectMany, dial, guardStatistics } from "../../../dist/index.js";
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
  failedStarts: [],
  others: {},
};
const count = (list, name) => {
  list[name] = (list[name] ?? 0) + 1;
};
/** Services that are being started: then nobody is to hold their port. */
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
    const guard = upTo(4) === 0 ? "detect" : "prevent";
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
    const error = await new Promise((resolve) => {
      server.once("error", resolve);
      server.listen(port, "127.0.0.1", () => resolve(null));
    });
    totals.starts++;
    if (error) {
      const kinds = explainBind({ host: "127.0.0.1", port }).holders.map(({ kind }) => kind);
      totals.failedStarts.push(kinds.join("+") || "gone when asked");
      continue;
    }
    await sleep(5 + upTo(120));
    await new Promise((resolve) => server.close(resolve));
  }
}
