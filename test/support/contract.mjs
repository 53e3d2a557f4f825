// The contract of every way in, on every runtime. Plain JavaScript without a test runner, because it runs on all of
// them: RUNTIME contract.mjs ways|program. It prints one line of JSON for each row: what a way in does about a connect
// that would join the socket to itself. It runs in a network namespace whose ephemeral range is PORT and PORT + 1, and
// which has no TIME-WAIT: a plain connect to the even PORT gets the port PORT.
import { spawn } from "node:child_process";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";
import { Worker } from "node:worker_threads";

export const PORT = 50_000;
/** A listener's port, outside that range. */
const LIVE_PORT = 40_000;
/** Longer than any connect on loopback; a runtime that hangs is reported after this time. */
const PATIENCE_MS = 5000;

const HOST = "127.0.0.1";
const peer = { host: HOST, port: PORT };
const file = new URL(import.meta.url).pathname;

/** How a stream ends: "no" if the caller got it although it is joined to itself. */
function endOf(stream) {
  return new Promise((resolve) => {
    stream.on("connect", () => {
      resolve(stream.localPort === stream.remotePort ? "no" : "connects");
      stream.destroy();
    });
    stream.on("error", (error) => resolve(verdictOf(error)));
  });
}

/** "detects" if the guard rejected a self-connect, "prevents" if the kernel refused the connect from another port. */
function verdictOf(error) {
  const codes = [];
  for (let each = error; each && codes.length < 9; each = each.cause) codes.push(each.code);
  if (codes.includes("ERR_SELF_CONNECT")) return "detects";
  return codes.includes("ECONNREFUSED") ? "prevents" : "no";
}

const responseOf = (options) =>
  new Promise((resolve) => {
    http.get({ ...peer, ...options }, () => resolve("no")).on("error", (error) => resolve(verdictOf(error)));
  });

/** The library's ways in. */
async function waysIn() {
  const ways = await import("../../dist/index.js");
  const live = { host: HOST, port: LIVE_PORT };
  const tryCall = (call) => {
    try {
      call().destroy();
      return "sets them";
    } catch (error) {
      return error.code === "ERR_OPTION_UNSUPPORTED" ? "throws" : error.code;
    }
  };
  const undici = () =>
    new Promise((resolve) => {
      const request = { hostname: HOST, port: String(PORT), protocol: "http:" };
      // As undici's own: it returns the stream at once, and answers when it is connected.
      const buildConnector = () => (asked, answer) =>
        net
          .connect({ host: asked.hostname, port: asked.port })
          .once("connect", () => answer(null))
          .on("error", answer);
      ways.undiciConnect(buildConnector)(request, (error) => resolve(error ? verdictOf(error) : "no"));
    });
  return {
    "`connect()`": () => endOf(ways.connect(peer)),
    "`streamFactory()`": () => endOf(ways.streamFactory()().connect(peer)),
    "`guardStream()`": () => endOf(ways.guardStream(new net.Socket()).connect(peer)),
    "`connectTls()`": () => endOf(ways.connectTls(peer)),
    "`guardAgent()`": () => responseOf({ agent: ways.guardAgent(new http.Agent()) }),
    "`undiciConnect()`": undici,
    "`dial()`": () =>
      ways.dial(`${HOST}:${PORT}`).then(({ socket }) => {
        socket.reset();
        return "no";
      }, verdictOf),
    "socket `options` of `connect()`": async () =>
      tryCall(() => ways.connect({ ...live, options: { priority: 1 } }).on("error", () => {})),
    "a live listener": async () => {
      const server = net.createServer((socket) => socket.end("hello")).listen(LIVE_PORT, HOST);
      await new Promise((listening) => server.once("listening", listening));
      const streams = [ways.connect(live), ways.guardStream(new net.Socket()).connect(live)];
      const ends = await Promise.all(streams.map(endOf));
      server.close();
      return ends.every((end) => end === "connects") ? "connects" : ends.join();
    },
  };
}

/** The code of a worker without a file. */
const CODE = `
  const stream = require("net").connect({ host: "${HOST}", port: ${PORT} });
  const { parentPort } = require("worker_threads");
  stream.on("connect", () => parentPort.postMessage(null) ?? stream.destroy());
  stream.on("error", ({ code, cause }) => parentPort.postMessage({ code, cause: { code: cause && cause.code } }));`;

function verdictOfWorker(options) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(CODE, { eval: true, ...options });
    worker.on("message", (error) => {
      resolve(error ? verdictOf(error) : "no");
      worker.terminate();
    });
    worker.on("error", reject);
  });
}

/** This program again, as a child that makes one plain connect. */
function verdictOfChild(options) {
  const run = process.versions.deno ? ["run", "-A"] : [];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...run, file, "child"], options);
    let output = "";
    child.stdout.on("data", (text) => (output += text));
    child.on("error", reject);
    child.on("close", () => resolve(output.trim()));
  });
}

/** A program that does not import the library: whether it is guarded depends on how it was started. */
const PROGRAM = {
  "`net`": () => endOf(net.connect(peer)),
  "`tls`": () => endOf(tls.connect(peer)),
  "`http`": () => responseOf({}),
  "`fetch`": () =>
    fetch(`http://${HOST}:${PORT}/`, { signal: AbortSignal.timeout(PATIENCE_MS / 2) }).then(
      () => "no",
      verdictOf,
    ),
  "a worker": () => verdictOfWorker({}),
  "a worker with `env` and `execArgv`": () => verdictOfWorker({ env: {}, execArgv: [] }),
  "a child process": () => verdictOfChild({}),
  "a child with an `env`": () => verdictOfChild({ env: { PATH: process.env.PATH, HOME: process.env.HOME } }),
};

async function main(what) {
  if (what === "child") {
    console.log(await endOf(net.connect(peer)));
    return process.exit();
  }
  for (const [row, ask] of Object.entries(what === "ways" ? await waysIn() : PROGRAM)) {
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, "hangs"));
    const verdict = await Promise.race([ask(), late]).catch((error) => `fails: ${error.message}`);
    console.log(JSON.stringify({ row, verdict }));
  }
  process.exit();
}

if (process.argv[1] === file) await main(process.argv[2]);
