// A program that does not use this package: node innocent.mjs HOW=PORT … It connects from the peer's port, which is a
// self-connect at once, and prints the outcome. HOW says where it connects: here, or in something that it starts.
import { exec, execFile, execFileSync, execSync, fork, spawn, spawnSync } from "node:child_process";
import cluster from "node:cluster";
import net from "node:net";
import { SHARE_ENV, Worker } from "node:worker_threads";

const file = new URL(import.meta.url).pathname;
const node = process.execPath;
const { PATH } = process.env;
const text = { encoding: "utf8" };
const inherit = { stdio: "inherit" };

const here = (port) => [`here=${port}`];
const program = (port) => [file, ...here(port)];
const line = (port) => `"${node}" ${program(port).join(" ")}`;
const print = (_, stdout) => process.stdout.write(stdout);
const evaluate = (code, options) => new Worker(code, { eval: true, ...options });

/** The same as connect(), for workers without a file. */
const code = (port) => `
  const socket = require("net").connect({ host: "127.0.0.1", port: ${port}, localPort: ${port} });
  socket.on("error", ({ code, name, cause }) => console.log("${port}: " + name + " " + code + " " + cause?.code));
  socket.on("connect", () => console.log("${port}: connected to itself") ?? socket.resetAndDestroy());`;
const module = (port) =>
  `import { createRequire } from "node:module"; const require = createRequire("/");${code(port)}`;
const nested = (port) =>
  `new (require("worker_threads").Worker)(${JSON.stringify(code(port))}, { eval: true, execArgv: [] })`;

const STARTS = {
  here: connect,
  off: (port) => connect(port, { guard: "off" }),
  worker: (port) => new Worker(file, { argv: here(port) }),
  "worker by eval": (port) => evaluate(code(port)),
  "worker by a URL": (port) =>
    new Worker(new URL(`data:text/javascript,${encodeURIComponent(module(port))}`)),
  "worker with flags": (port) => new Worker(file, { argv: here(port), execArgv: ["--no-warnings"] }),
  "worker with an environment": (port) => new Worker(file, { argv: here(port), env: { PATH } }),
  "worker with both": (port) => evaluate(code(port), { execArgv: [], env: {} }),
  "worker with a shared environment": (port) => evaluate(code(port), { env: SHARE_ENV }),
  "worker in a worker": (port) => evaluate(nested(port), { env: {} }),
  cluster: (port) => {
    cluster.setupPrimary({ exec: file, args: here(port), execArgv: [] });
    cluster.fork();
  },
  fork: (port) => fork(file, here(port)),
  "fork with flags": (port) => fork(file, here(port), { execArgv: [] }),
  spawn: (port) => spawn(node, program(port), inherit),
  "spawn with an environment": (port) => spawn(node, program(port), { ...inherit, env: { PATH } }),
  exec: (port) => exec(line(port), print),
  execFile: (port) => execFile(node, program(port), { env: {} }, print),
  spawnSync: (port) => spawnSync(node, program(port), inherit),
  execFileSync: (port) => process.stdout.write(execFileSync(node, program(port), { ...text, env: {} })),
  execSync: (port) => process.stdout.write(execSync(line(port), text)),
};

function connect(port, options = {}) {
  const socket = net.connect({ host: "127.0.0.1", port, localPort: port, ...options });
  socket.on("error", ({ code, name, cause }) => console.log(`${port}: ${name} ${code} ${cause?.code}`));
  socket.on("connect", () => {
    console.log(`${port}: connected ${socket.localPort === socket.remotePort ? "to itself" : "to another"}`);
    socket.resetAndDestroy();
  });
  // A worker of a cluster lives until it disconnects.
  socket.on("close", () => cluster.worker?.disconnect());
}

for (const [how, port] of process.argv.slice(2).map((each) => each.split("="))) STARTS[how](Number(port));
