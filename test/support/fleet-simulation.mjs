// node test/support/fleet-simulation.mjs --hosts 10000: how large a fleet may be. Starts a redis-server, workers that only
// answer in several processes, and one lab; prints time, memory and the size of the result. The workers are those of
// lib/fleet/worker.ts (as many as begin in --start seconds), each with its own blocking connection; only what they would
// measure is made up, and an idle one asks again after --idle seconds: with the 20 of a real one, thousands on one
// processor leave no time for their own timers, and BullMQ opens a connection again that answers a second late. It raises
// what it needs, and says how: the limit of descriptors by prlimit(1), Redis' maxclients. Plain JavaScript, as test/all.mjs.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const VERSION = JSON.parse(readFileSync("package.json", "utf8")).version;
/** Beside node_modules/bullmq, which the bundle imports. */
const BUNDLE = path.resolve("node_modules/.cache/selfconnect/fleet-workers.mjs");
const DEADLINE_MS = 900_000;

/** One process of workers: `count` hosts from `first` on, which share a connection and block on one each. */
const WORKERS = `
import { openConnection } from "./lib/fleet/connection.ts";
import { HostWorker } from "./lib/fleet/worker.ts";
import { EXPERIMENTS } from "./lib/lab/experiments.ts";
const [queue, first, count, idle] = process.argv.slice(2);
const drainSeconds = Number(idle);
const kernels = ["5.10.0", "6.1.0", "6.12.0", "6.18.0"];
const connection = await openConnection(queue);
connection.redis.setMaxListeners(0);
process.on("disconnect", () => process.exit());
const workers = [];
const environmentOf = (kernel) => ({ kernel, upstream: kernel, architecture: "x64", cpus: 2, hasIpv6: true, node: process.version,
  version: ${JSON.stringify(VERSION)}, ephemeralRange: "32768-60999", sysctls: { "net.ipv4.tcp_tw_reuse": "2" } });
for (let at = Number(first); at < Number(first) + Number(count); at++) {
  const environment = environmentOf(kernels[at % kernels.length]);
  const answer = async ({ experiment }) => {
    const { upstream } = environment;
    const asked = EXPERIMENTS.find(({ name }) => name === experiment);
    const words = asked.expected({ machine: "host", upstream, hasIpv6: true }) ?? "counted";
    const counts = { tries: 12, selfConnects: 6, other: 6 };
    return { kind: "finding", environment, finding: { experiment, status: "answered", answer: words, counts, elapsedMs: 100 } };
  };
  const worker = new HostWorker(connection, { queue, name: "host-" + at, report: () => {}, drainSeconds, stalledMs: drainSeconds * 1000 }, answer);
  workers.push(worker);
}
let isEnough = false;
process.on("message", () => (isEnough = true));
let begun = 0;
setInterval(() => Promise.all(workers.slice(0, begun).map((worker) => worker.announce())), 30_000);
for (; begun < workers.length && !isEnough; begun += 50)
  await Promise.all(workers.slice(begun, begun + 50).map((one) => one.begin()));
process.send(Math.min(begun, workers.length));
`;

/** Runs it, and returns the figures. */
export async function simulateFleet(asked) {
  await bundle({ contents: WORKERS, resolveDir: process.cwd(), loader: "js" }, BUNDLE);
  const asking = path.join(path.dirname(BUNDLE), "fleet-lab.mjs");
  await bundle({ contents: 'export * from "./lib/fleet/fleet-lab.ts";', resolveDir: process.cwd() }, asking);
  const { runFleetLab } = await import(asking);
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-simulation-"));
  const children = [];
  try {
    return await simulate({ ...asked, runFleetLab, folder, children });
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function simulate({ wanted, processes, experiments, startMs, idleS, runFleetLab, folder, children }) {
  // Each worker blocks on a connection of its own; the rest is room for the shared ones.
  const descriptors = wanted + 1_000;
  execFileSync("prlimit", ["--pid", String(process.pid), `--nofile=${descriptors}:${descriptors}`]);
  const socket = path.join(folder, "redis.sock");
  const limits = ["--maxclients", String(wanted + 200), "--tcp-backlog", "4096", "--unixsocket", socket];
  const server = spawn("redis-server", ["--port", "0", "--dir", folder, "--save", "", ...limits], {
    stdio: "ignore",
  });
  children.push(server);
  while (!existsSync(socket)) await sleep(20);
  const queue = `unix://${socket}`;
  const began = performance.now();
  const each = Math.ceil(wanted / processes);
  const enough = setTimeout(() => {
    for (const child of children.slice(1)) child.send("enough");
  }, startMs);
  const starts = Array.from({ length: processes }, (_, at) =>
    startWorkers(children, queue, at * each, Math.min(each, wanted - at * each), idleS),
  );
  const hosts = (await Promise.all(starts)).reduce((sum, count) => sum + count, 0);
  clearTimeout(enough);
  const startS = (performance.now() - began) / 1000;
  const workersMb = children.slice(1).reduce((sum, { pid }) => sum + residentMb(pid), 0);
  const baseMb = residentMb(process.pid);
  let mostMb = baseMb;
  const timer = setInterval(() => (mostMb = Math.max(mostMb, residentMb(process.pid))), 200);
  const asked = performance.now();
  const cpuBefore = cpuSeconds([process.pid, ...children.map(({ pid }) => pid)]);
  const result = await runFleetLab({
    queue,
    experiments,
    deadlineMs: DEADLINE_MS,
    save: (sofar) => JSON.stringify(sofar).length,
  });
  clearInterval(timer);
  const labS = (performance.now() - asked) / 1000;
  const answered = result.findings.filter(({ status }) => status === "answered").length;
  const cells = new Set(result.findings.map(({ kernel, experiment }) => `${kernel} ${experiment}`)).size;
  return {
    hosts,
    cells: hosts * experiments.length,
    answered,
    twice: result.findings.length - cells,
    startS,
    labS,
    // Two for each worker at most: more are connections that were opened again.
    connections: await countConnections(socket),
    perS: answered / labS,
    cpuS: cpuSeconds([process.pid, ...children.map(({ pid }) => pid)]).map(
      (seconds, at) => seconds - cpuBefore[at],
    ),
    startCpuS: cpuBefore,
    coordinatorMb: mostMb,
    redisMb: peakMb(server.pid),
    workersMb,
    resultMb: JSON.stringify(result).length / 2 ** 20,
    result,
  };
}

/** How many connections this Redis has accepted since it started. */
async function countConnections(socket) {
  const client = net.connect(socket);
  client.end("INFO stats\r\n");
  const said = await text(client);
  return Number(/total_connections_received:(\d+)/.exec(said)[1]);
}

async function startWorkers(children, queue, ...numbers) {
  const child = spawn(process.execPath, [BUNDLE, queue, ...numbers.map(String)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  children.push(child);
  const ended = once(child, "exit").then(() => Promise.reject(new Error("workers ended")));
  const [begun] = await Promise.race([once(child, "message"), ended]);
  return begun;
}

/** Of lib/, so that it needs no build of dist/. */
async function bundle(stdin, outfile) {
  mkdirSync(path.dirname(outfile), { recursive: true });
  await build({
    stdin,
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["bullmq", "ioredis"],
    define: { SELFCONNECT_VERSION: JSON.stringify(VERSION) },
    banner: {
      js: 'import { createRequire as own } from "node:module"; const require = own(import.meta.url);',
    },
    logLevel: "warning",
  });
}

/** proc(5), /proc/PID/stat: user and system time of each process. */
function cpuSeconds(pids) {
  return pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  });
}

function residentMb(pid) {
  return statusMb(pid, "VmRSS");
}

function peakMb(pid) {
  return statusMb(pid, "VmHWM");
}

function statusMb(pid, field) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)[1]) / 1024;
}

if (process.argv[1]?.endsWith("fleet-simulation.mjs")) {
  const { values } = parseArgs({
    options: {
      hosts: { type: "string", default: "1000" },
      start: { type: "string", default: "600" },
      idle: { type: "string", default: "1000" },
      processes: { type: "string", default: "4" },
      experiments: { type: "string", default: "parity,bind-first,steps" },
    },
  });
  const { result, ...figures } = await simulateFleet({
    wanted: Number(values.hosts),
    startMs: Number(values.start) * 1000,
    idleS: Number(values.idle),
    processes: Number(values.processes),
    experiments: values.experiments.split(","),
  });
  console.log(
    JSON.stringify(figures, (_, value) => (typeof value === "number" ? Math.round(value * 10) / 10 : value)),
  );
  process.exit();
}
