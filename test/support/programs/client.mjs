// A client that reconnects at full speed: node client.mjs DOOR PORT ATTEMPTS. It prints one object when it has made
// that many attempts, or is joined to itself; then it keeps that socket, as a client does, until its stdin ends.
// The doors "net", "http", "tls", "undici", "fetch" and "socket" do not use this package. GUARD is the guard of the
// others. With COUNT=1 it makes just so many attempts, also after one that was joined to itself, which it resets.
import { subscribe } from "node:diagnostics_channel";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";

const [door, portText, attemptsText] = process.argv.slice(2);
const port = Number(portText);
const host = process.env.HOST ?? "127.0.0.1";
const guard = process.env.GUARD ?? "prevent";
const peer = { family: host.includes(":") ? 6 : 4, host, port };
const isCounting = process.env.COUNT === "1";
const IN_FLIGHT = 8;
// In Node 20 a fetch never settles when its connection is reset while undici still compiles its parser, with or without
// this package: the first ones of a process are lost when they meet the service's end. Node 22 and later fix it.
const FETCH_LIMIT_MS = 2000;
const counts = { door, attempts: 0, connected: 0, selfConnects: 0, rejected: 0, outcomes: {} };
/** Called on a self-connect, because an HTTP client that is joined to itself waits for an answer that never comes. */
const waiting = new Set();

subscribe("selfconnect:rejected", () => counts.rejected++);
subscribe("net.client.socket", ({ socket }) => watch(socket));

// The parent sends a byte when this client may end; until then it continues, even beyond ATTEMPTS.
let isReleased = isCounting;
process.stdin.once("data", () => {
  isReleased = true;
});

const attempt = (await doors()[door]?.()) ?? fail(`no door ${door}`);
await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
console.log(JSON.stringify(counts));
if (counts.selfConnects === 0 || isCounting) process.exit();
process.stdin.on("end", () => process.exit());

async function lane() {
  const goesOn = () => isCounting || counts.selfConnects === 0;
  while ((counts.attempts < Number(attemptsText) || !isReleased) && goesOn()) {
    counts.attempts++;
    const outcome = await attempt();
    if (Object.keys(counts.outcomes).length === 0) process.send?.("under way");
    counts.outcomes[outcome] = (counts.outcomes[outcome] ?? 0) + 1;
  }
}

/** One attempt function per door, which resolves to the outcome. */
function doors() {
  const stream =
    (make, ready = "connect") =>
    () =>
      new Promise((resolve) => {
        const socket = watch(make());
        socket.on("error", (error) => resolve(error.code));
        socket.on("close", () => resolve("closed"));
        const keeps = () => isJoined(socket) && !isCounting;
        socket.on(ready, () => (keeps() ? resolve("joined to itself") : socket.resetAndDestroy()));
      });
  const request = (agent) => () =>
    new Promise((resolve) => {
      const sent = http.get({ host, port, agent }, (response) =>
        response.resume().on("end", () => resolve("answered")),
      );
      sent.on("error", (error) => resolve(error.code));
      sent.on("socket", (socket) =>
        socket.on("connect", () => isJoined(socket) && resolve("joined to itself")),
      );
    });
  const fetchBy = (fetch, options) => () =>
    new Promise((resolve) => {
      waiting.add(resolve);
      fetch(`http://${host}:${port}/`, { ...options, signal: AbortSignal.timeout(FETCH_LIMIT_MS) })
        .then((response) => response.text())
        .then(
          () => "answered",
          (error) => error.cause?.code ?? error.name,
        )
        .then(resolve)
        .finally(() => waiting.delete(resolve));
    });
  const importOurs = () => import("../../../dist/index.js");
  return {
    net: () => stream(() => net.connect({ host, port })),
    socket: () => stream(() => new net.Socket().connect(port, host)),
    tls: () => stream(() => tls.connect({ host, port }), "secureConnect"),
    http: () => request(new http.Agent()),
    fetch: () => fetchBy(fetch),
    undici: async () => fetchBy((await import("undici")).fetch),
    "guarded connect": async () =>
      ((lib) => stream(() => lib.connect({ host, port, guard })))(await importOurs()),
    "guarded streams": async () =>
      ((lib) => stream(() => lib.streamFactory({ guard })().connect(port, host)))(await importOurs()),
    "guarded stream": async () =>
      ((lib) => stream(() => lib.guardStream(new net.Socket(), { guard }).connect(port, host)))(
        await importOurs(),
      ),
    "guarded tls": async () =>
      ((lib) => stream(() => lib.connectTls({ host, port, guard }), "secureConnect"))(await importOurs()),
    "guarded http": async () =>
      ((lib) => request(lib.guardAgent(new http.Agent(), { guard })))(await importOurs()),
    "guarded undici": async () => {
      const [lib, undici] = [await importOurs(), await import("undici")];
      return fetchBy(undici.fetch, {
        dispatcher: new undici.Agent({ connect: lib.undiciConnect(undici.buildConnector, {}, { guard }) }),
      });
    },
    "guarded dial": async () => {
      const lib = await importOurs();
      return () =>
        lib.dial(peer, { guard }).then(
          (dialed) => endOurs(lib, dialed),
          (error) => error.code,
        );
    },
    "guarded connectMany": async () => {
      const lib = await importOurs();
      return async () => {
        const results = lib.connectMany([peer], { guard, perSecond: Infinity });
        for await (const { socket, local, outcome } of results)
          return socket ? endOurs(lib, { socket, local, peer }) : outcome;
      };
    },
  };
}

/** Ends a connection of dial() or connectMany(). */
function endOurs(lib, { socket, local, peer }) {
  // The service may have reset the connection by now: then the kernel has forgotten the peer.
  if (lib.isSelfConnect(local, peer)) counts.selfConnects++;
  socket.reset();
  return "closed";
}

/** Counts each 'connect' event of a socket that is joined to itself. */
function watch(socket) {
  if (socket.listeners("connect").includes(onConnect)) return socket;
  return socket.on("connect", onConnect);
}

function onConnect() {
  if (!isJoined(this)) return counts.connected++;
  counts.selfConnects++;
  for (const resolve of waiting) resolve("joined to itself");
}

function isJoined(socket) {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}

function fail(message) {
  throw new Error(message);
}
