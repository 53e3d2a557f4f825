// One ground of the promise: node promise-program.mjs {ports: {prevent?, detect?}, backends?, clients, seed}
// in a namespace with a small ephemeral range. Services start and stop at random on these ports (on `backends` where
// something translates them) while the clients, each {name, guard, command}, dial them. Prints {clients, services}.
import { spawn } from "node:child_process";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { isSelfConnect } from "../../../dist/index.js";
import { findSockets } from "../../../dist/kernel/index.js";
import { seededRandom } from "./random.mjs";

const { ports, backends, clients, seed } = JSON.parse(process.argv[2]);
const random = seededRandom(seed);
const upTo = (most) => Math.floor(random() * most);
const ANSWER = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nS";
const services = {
  starts: 0,
  /** Starts that failed, by what held the port: of services that are dialled under "prevent", and under "detect". */
  failed: { prevent: {}, detect: {} },
  /** How long a self-connect that was only detected was in the way. */
  longestMs: 0,
};
let isOver = false;

const serving = Object.entries(ports).flatMap(([guard, list]) =>
  (backends ?? list).map((port) => serve(port, services.failed[guard])),
);
const results = await Promise.all(clients.map(runClient));
isOver = true;
await Promise.all(serving);
console.log(JSON.stringify({ clients: results, services }));
process.exit();

/** Runs a client to its end; {name, guard, ends, longestMs} or {name, failure}. */
function runClient({ name, guard, command: [program, ...args], env }) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"])
      child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
    child.on("error", ({ message }) => resolve({ name, failure: message }));
    child.on("close", (status, signal) => {
      if (status === 0) resolve({ name, guard, ...JSON.parse(output.stdout) });
      else resolve({ name, failure: `exit code ${status ?? signal}: ${output.stderr.slice(-400)}` });
    });
  });
}

/** Starts a server and stops it again. */
async function serve(port, failed) {
  while (!isOver) {
    await sleep(5 + upTo(120));
    const server = net.createServer(answer);
    const isStarted = await start(server, port, failed);
    await sleep(5 + upTo(120));
    if (isStarted) await new Promise((resolve) => server.close(resolve));
  }
}

/** A question, or what Fast Open sends before it, gets one byte, a request a response, and what is neither (TLS) a reset. */
function answer(stream) {
  stream.on("error", () => {});
  stream.once("data", ([first]) => {
    const sign = String.fromCharCode(first);
    if (sign === "G") stream.end(ANSWER);
    else if ("?!".includes(sign)) stream.end("S");
    else stream.resetAndDestroy();
  });
}

/** While a self-connect holds the port the start is tried again: how long one does is what detect may cost. */
async function start(server, port, failed) {
  const seenAt = new Map();
  services.starts++;
  for (; ; await sleep(1)) {
    const error = await new Promise((resolve) => {
      server.once("error", resolve).listen(port, "127.0.0.1", () => resolve(null));
    });
    server.removeAllListeners("error");
    if (!error) return true;
    // Not by explainBind(): it reads every process of the host, and this one would wait.
    const { rows } = findSockets({ localPorts: { low: port, high: port } });
    const joined = rows.filter(({ local, peer }) => isSelfConnect(local, peer));
    for (const { inode } of joined) seenAt.set(inode, seenAt.get(inode) ?? performance.now());
    const times = joined.map(({ inode }) => performance.now() - seenAt.get(inode));
    services.longestMs = Math.max(services.longestMs, ...times);
    const count = (who) => (failed[who] = (failed[who] ?? 0) + 1);
    if (joined.length === 0) {
      count(rows.length > 0 ? "ordinary sockets" : "nobody any more");
      return false;
    }
    if (seenAt.size === joined.length) count("a self-connect");
    if (isOver) return false;
  }
}
