// A client of the promise: RUNTIME promise-client.mjs {kind, guard, host, ports, seconds, seed, source?, fastOpen?}. It
// dials those ports again and again, in every way in of its kind: "library", those of this package; "preload", those of
// a program under selfconnect/register, which does not know of it. It prints how each way's dials have ended, and how long the longest took. Whether a
// socket is joined to itself the bytes tell, not the guard: its own question comes back. A service answers "S". Another
// client's question comes where two clients were joined to each other: each has dialled the local port of the other.
import http from "node:http";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { seededRandom } from "./random.mjs";

const { kind, guard, host, ports, seconds, seed, source, fastOpen } = JSON.parse(process.argv[2]);
const random = seededRandom(seed);
const upTo = (most) => Math.floor(random() * most);
const LANES = 3;
/** Between two dials of a lane, on average half of it. */
const PAUSE_MS = 80;
/** A service answers at once, if it is not stopping. */
const PATIENCE_MS = 3000;
/** Each dial asks another question, for two dials of one process may meet as well. */
let dialled = 0;
const isNode = !process.versions.bun && !process.versions.deno;
const SELF_CONNECT = ["ERR_SELF_CONNECT", "self-connect"];
const NOBODY = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET"];
/** What an HTTP parser and TLS say to a question. */
const ECHO = /^(HPE_|HTTPParserError|ERR_SSL_)/;
/** Names of ours, of undici and of AbortSignal for an answer that did not come in time. */
const LATE = ["ERR_DEADLINE", "deadline", "TimeoutError", "no answer"];

function nextQuestion() {
  dialled++;
  return `?${seed}.${dialled}.`;
}

/** Deno's name for EADDRNOTAVAIL is EINVAL; an AbortSignal's code is a number. */
function codeOf({ code, name }) {
  if (process.versions.deno && code === "EINVAL") return "EADDRNOTAVAIL";
  return typeof code === "string" ? code : name;
}

/** How an attempt that failed has ended. `question` is null where what came back cannot be its own. */
function endOf(error, question = "") {
  const codes = [];
  for (let each = error; each && codes.length < 9; each = each.cause) {
    codes.push(codeOf(each));
    // What the parsers of Node's http and of undici could not read.
    const bytes = each.rawPacket ?? each.data;
    if (bytes) return endOfBytes(bytes, question);
  }
  if (codes.some((code) => SELF_CONNECT.includes(code))) return "rejected";
  if (codes.some((code) => ECHO.test(code))) return question === null ? "crossed" : "joined";
  if (codes.some((code) => LATE.includes(code))) return "no answer";
  return codes.some((code) => NOBODY.includes(code)) ? "refused" : codes.at(-1);
}

/** What comes back for a question, or for a request whose path it is, says who is there. */
function endOfBytes(bytes, question) {
  const text = Buffer.from(bytes).toString("latin1");
  if (text.includes(question)) return "joined";
  return text.startsWith("S") ? "connected" : "crossed";
}

/** Asks over a stream as soon as it is connected. */
function ask(stream, ready = "connect") {
  return new Promise((resolve) => {
    const question = nextQuestion();
    let echo = question;
    const late = setTimeout(() => {
      resolve("no answer");
      stream.destroy();
    }, PATIENCE_MS);
    stream.on(ready, () => stream.write(question));
    stream.on("data", (bytes) => {
      resolve(endOfBytes(bytes, question));
      stream.resetAndDestroy();
    });
    // TLS does not show what it could not read. Where only one port is dialled nobody else dials ours.
    stream.once("connect", () => {
      if (ports.length > 1 && stream.localPort !== stream.remotePort) echo = null;
    });
    stream.on("error", (error) => resolve(endOf(error, echo)));
    stream.on("close", () => {
      clearTimeout(late);
      resolve("refused");
    });
  });
}

/** Asks over a TcpSocket. */
async function askRaw(socket) {
  const question = nextQuestion();
  try {
    await socket.sendAll(Buffer.from(question));
    await socket.readable({ deadlineMs: PATIENCE_MS });
    const bytes = new Uint8Array(64);
    const length = socket.recv(bytes);
    return length > 0 ? endOfBytes(bytes.subarray(0, length), question) : "refused";
  } catch (error) {
    return endOf(error);
  } finally {
    socket.reset();
  }
}

function request(options) {
  const question = nextQuestion();
  return new Promise((resolve) => {
    const sent = http.get({ host, path: `/${question}`, timeout: PATIENCE_MS, ...options }, (response) =>
      response.resume().on("close", () => resolve("connected")),
    );
    sent.on("timeout", () => sent.destroy(Object.assign(new Error(), { code: "no answer" })));
    sent.on("error", (error) => resolve(endOf(error, question)));
  });
}

function requestBy(fetch, port, options = {}) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const question = nextQuestion();
  return fetch(`http://${host}:${port}/${question}`, { ...options, signal })
    .then((response) => response.text())
    .then(
      () => "connected",
      (error) => endOf(error, question),
    );
}

/** The ways in of this package. Node's own insides are there on Node alone. */
async function waysOfLibrary() {
  const ours = await import("../../../dist/index.js");
  const local = source && { localAddress: source };
  const streams = {
    "connect()": (port) => ask(ours.connect({ host, port, guard, ...local })),
    "streamFactory()": (port) =>
      ask(
        ours
          .streamFactory({ guard })()
          .connect({ host, port, ...local }),
      ),
    "guardStream()": (port) =>
      ask(ours.guardStream(new net.Socket(), { guard }).connect({ host, port, ...local })),
    "dial()": (port) =>
      ours
        .dial(`${host}:${port}`, {
          attempts: 1,
          deadlineMs: PATIENCE_MS,
          guard,
          ...(source && { local: source }),
        })
        .then(({ socket }) => askRaw(socket), endOf),
    "connectMany()": async (port) => {
      const options = { deadlineMs: PATIENCE_MS, guard, ...(source && { local: `${source}:0` }) };
      for await (const { socket, outcome } of ours.connectMany([`${host}:${port}`], options))
        return socket ? askRaw(socket) : endOf({ code: outcome });
    },
  };
  if (guard === "detect") streams["TcpSocket, asked isSelfConnected()"] = (port) => askChecked(ours, port);
  if (!isNode) return streams;
  // undici 7 needs Node 20.18.
  const undici = await import("undici").catch(() => null);
  const agent = ours.guardAgent(new http.Agent(), { guard });
  const dispatcher =
    undici &&
    new undici.Agent({ connect: ours.undiciConnect(undici.buildConnector, { ...local }, { guard }) });
  return {
    ...streams,
    "connectTls()": (port) => ask(ours.connectTls({ host, port, guard, ...local }), "secureConnect"),
    "guardAgent()": (port) => request({ port, agent, ...local }),
    ...(undici && { "undiciConnect()": (port) => requestBy(undici.fetch, port, { dispatcher }) }),
  };
}

/** A socket without a guard, which is asked before it is used: with Fast Open its SYN has data, and goes with them. */
async function askChecked({ TcpSocket }, port) {
  const socket = TcpSocket.open(4);
  try {
    if (source) socket.bind(`${source}:0`);
    if (fastOpen) socket.setsockopt("fastOpenConnect", true);
    socket.connect(`${host}:${port}`);
    if (fastOpen) await socket.sendAll(Buffer.from("!"));
    await socket.connected({ deadlineMs: PATIENCE_MS });
    if (socket.isSelfConnected()) return "rejected";
  } catch (error) {
    return endOf(error);
  } finally {
    if (socket.state !== "connected" || socket.isSelfConnected()) socket.reset();
  }
  return askRaw(socket);
}

/** Those of a program that was started under the preload. */
function waysOfProgram() {
  const local = source && { localAddress: source };
  const streams = {
    "net.connect": (port) => ask(net.connect({ host, port, ...local })),
    "net.Socket": (port) => ask(new net.Socket().connect({ host, port, ...local })),
  };
  if (!isNode) return streams;
  return {
    ...streams,
    "tls.connect": (port) => ask(tls.connect({ host, port, ...local }), "secureConnect"),
    "http.get": (port) => request({ port, agent: new http.Agent(), ...local }),
    ...(!source && { fetch: (port) => requestBy(fetch, port) }),
  };
}

const ways = Object.entries(kind === "library" ? await waysOfLibrary() : waysOfProgram());
const ends = Object.fromEntries(ways.map(([name]) => [name, {}]));
/** The longest dial: for that long a self-connect may be in a service's way under "detect". */
let longestMs = 0;
const began = performance.now();

async function dialOn() {
  while (performance.now() - began < seconds * 1000) {
    const [name, dial] = ways[upTo(ways.length)];
    const start = performance.now();
    const end = await dial(ports[upTo(ports.length)]);
    longestMs = Math.max(longestMs, performance.now() - start);
    ends[name][end] = (ends[name][end] ?? 0) + 1;
    await sleep(upTo(PAUSE_MS));
  }
}

await Promise.all(Array.from({ length: LANES }, dialOn));
console.log(JSON.stringify({ ends, longestMs }));
process.exit();
