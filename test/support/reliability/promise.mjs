// The part `promise` of check:deep: for --minutes, on grounds of different kinds, each a namespace with a small ephemeral
// range, clients of every runtime dial, in every way in, services that start and stop at random. No joined socket is
// handed out, and a service fails to start only while an ordinary connection, or for less than one connect a detected
// self-connect, holds its port.
import { fileURLToPath } from "node:url";
import { runCommand } from "../run-command.mjs";
import { fetchRuntime, RUNTIMES, THIS_NODE } from "../runtimes.mjs";

const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));
const PROGRAM = pathOf("promise-program.mjs");
const CLIENT = pathOf("promise-client.mjs");
const BALANCER = pathOf("../programs/behind-balancer.sh");
/** What its setup exits with where there can be no balancer. */
const UNAVAILABLE = 77;
/** How much longer than its time a ground may take, to start and to end its clients. */
const GRACE_MS = 120_000;
const LOOPBACK = "127.0.0.1";
const SERVICE = "10.96.0.10";
/** Twelve ports, six of which connect(2) picks: those of services. */
const RANGE = "50000 50011";
const PORTS = { prevent: [50_000, 50_004, 50_008], detect: [50_002, 50_006, 50_010] };
const ONE_PORT = { detect: [50_002] };

const own = (...commands) => [
  "unshare",
  "--net",
  "sh",
  "-ec",
  [
    "ip link set lo up",
    `echo "${RANGE}" > /proc/sys/net/ipv4/ip_local_port_range`,
    ...commands,
    'exec "$@"',
  ].join("\n"),
  "sh",
];
const balanced = (port) => ["unshare", "-nm", BALANCER, SERVICE, String(port), "50002", RANGE];

/** The kinds of ground. A balancer answers for the services' host, so nothing there can be prevented. */
const GROUNDS = [
  { name: "loopback", prefix: own(), ports: PORTS, isForAll: true },
  { name: "a source address", prefix: own(), ports: PORTS, source: LOOPBACK },
  {
    name: "TCP Fast Open",
    prefix: own("echo 1543 > /proc/sys/net/ipv4/tcp_fastopen"),
    ports: PORTS,
    fastOpen: true,
  },
  {
    name: "NAT",
    prefix: own(
      `ip route add ${SERVICE} dev lo src ${LOOPBACK}`,
      "nft add table ip lab",
      "nft 'add chain ip lab out { type nat hook output priority -100; }'",
      `nft add rule ip lab out ip daddr ${SERVICE} dnat to ${LOOPBACK}`,
    ),
    host: SERVICE,
    ports: PORTS,
  },
  { name: "a load balancer", prefix: balanced(50_002), host: SERVICE, ports: ONE_PORT },
  {
    name: "a load balancer with another port",
    prefix: balanced(80),
    host: SERVICE,
    ports: { detect: [80] },
    backends: [50_002],
  },
];

export async function keepPromise({ seed, minutes }) {
  const { runtimes, skipped } = listRuntimes();
  const grounds = GROUNDS.map((ground, i) => runGround(ground, runtimes, minutes * 60, seed + 100 * i));
  const results = await Promise.all(grounds);
  for (const { skip } of results) if (skip) skipped.push(skip);
  return { ...judge(results, minutes), skipped };
}

/** The Node that runs this, and each of check:wide that npm can fetch. */
function listRuntimes() {
  const runtimes = [THIS_NODE];
  const skipped = [];
  for (const runtime of RUNTIMES) {
    try {
      runtimes.push({ ...runtime, path: fetchRuntime(runtime) });
    } catch ({ message }) {
      skipped.push(`${runtime.name}: npm cannot fetch it (${message.split("\n")[0]})`);
    }
  }
  return { runtimes, skipped };
}

/** Returns {name, clients, services}, {name, skip} or {name, failure}. */
async function runGround(ground, runtimes, seconds, seed) {
  const { name, prefix, ports, backends, isForAll } = ground;
  const clients = (isForAll ? runtimes : [THIS_NODE]).flatMap((runtime) => clientsOf(ground, runtime));
  const run = clients.map((client, i) => withCommand(client, ground, seconds, seed + i + 1));
  const args = JSON.stringify({ ports, backends, clients: run, seed });
  const { status, output } = await runCommand([...prefix, process.execPath, PROGRAM, args], {
    timeout: seconds * 1000 + GRACE_MS,
    killSignal: "SIGKILL",
  });
  if (status === UNAVAILABLE || output.startsWith("unshare:"))
    return { name, skip: `${name}: needs root, cgroup v2, BPF and python3 (${output.trim()})` };
  const line = output.split("\n").find((one) => one.startsWith('{"clients"'));
  return line
    ? { name, ...JSON.parse(line) }
    : { name, failure: `exit code ${status}: ${output.slice(-600)}` };
}

/** The clients of a runtime. Those that are not Node do not prevent everywhere: they are held to what they detect. */
function clientsOf({ ports }, runtime) {
  const guards = runtime.name.startsWith("Node") ? ["prevent", "detect"] : ["detect"];
  return guards
    .filter((guard) => ports[guard])
    .flatMap((guard) => ["library", "preload"].map((kind) => ({ runtime, guard, kind })));
}

function withCommand({ runtime, guard, kind }, { host = LOOPBACK, ports, source, fastOpen }, seconds, seed) {
  const task = { kind, guard, host, ports: ports[guard], seconds, seed, source, fastOpen };
  const preload = kind === "preload" ? runtime.preload : [];
  return {
    name: `${runtime.name}, ${kind}`,
    guard,
    command: [runtime.path, ...runtime.run, ...preload, CLIENT, JSON.stringify(task)],
    env: { SELFCONNECT_GUARD: guard, NODE_OPTIONS: "" },
  };
}

const ENDS = ["connected", "refused", "rejected", "crossed", "joined"];

const sum = (list) => Object.values(list).reduce((all, one) => all + one, 0);
const longest = (list) => Math.max(0, ...list.map((one) => one.longestMs ?? 0));

/** The figures of all grounds, and what is red. */
function judge(results, minutes) {
  const { total, ...counts } = tally(results);
  const services = results.flatMap((one) => one.services ?? []);
  const failed = (guard, who) => services.reduce((all, one) => all + (one.failed[guard][who] ?? 0), 0);
  const unusual = Object.entries(total).filter(([end]) => !ENDS.includes(end));
  return {
    facts: [
      ["minutes", minutes],
      ["guarded dials", sum(total)],
      ["joined sockets handed out", total.joined ?? 0],
      ["connected to a service", total.connected ?? 0],
      ["refused, or reset by a service that ended", total.refused ?? 0],
      ["self-connects that the guard rejected", total.rejected ?? 0],
      ["sockets of two clients that were joined to each other", total.crossed ?? 0],
      ...unusual.map(([end, times]) => [`ended with ${end}`, times]),
      ["starts of services", services.reduce((all, { starts }) => all + starts, 0)],
      [
        "starts that failed while an ordinary socket held the port",
        failed("prevent", "ordinary sockets") + failed("detect", "ordinary sockets"),
      ],
      ["starts that failed by a self-connect, under prevent", failed("prevent", "a self-connect")],
      ["starts that had to wait for a self-connect, under detect", failed("detect", "a self-connect")],
      ["milliseconds for which one was in the way, at most", Math.ceil(longest(services))],
    ],
    head: ["dials by", "all", ...ENDS, "others"],
    rows: Object.entries(counts).flatMap(([by, lists]) => rowsBy(by, lists)),
    red: results.flatMap(listRed),
  };
}

/** How dials ended, all of them and by ground, runtime and way in. */
function tally(results) {
  const counts = { total: {}, ground: {}, runtime: {}, way: {} };
  const add = (list, end, times) => {
    list[end] = (list[end] ?? 0) + times;
  };
  for (const { name: ground, clients = [] } of results) {
    for (const { name, ends = {} } of clients) {
      const runtime = name.replace(/\.\d+, .*/, "");
      for (const [way, list] of Object.entries(ends)) {
        for (const [end, times] of Object.entries(list)) {
          add(counts.total, end, times);
          for (const [by, key] of Object.entries({ ground, runtime, way })) {
            counts[by][key] ??= {};
            add(counts[by][key], end, times);
          }
        }
      }
    }
  }
  return counts;
}

function rowsBy(by, lists) {
  return Object.entries(lists).map(([key, list]) => {
    const known = ENDS.map((end) => list[end] ?? 0);
    return [`${by}: ${key}`, sum(list), ...known, sum(list) - sum(known)];
  });
}

function listRed({ name, failure, clients = [], services }) {
  const red = failure ? [failure] : [];
  for (const client of clients) {
    if (client.failure) red.push(`${client.name}: ${client.failure}`);
    for (const [way, { joined }] of Object.entries(client.ends ?? {}))
      if (joined) red.push(`${client.name}, ${client.guard}: ${way} handed out ${joined} joined sockets`);
  }
  const prevented = services?.failed.prevent["a self-connect"];
  if (prevented) red.push(`${prevented} starts failed by a self-connect under prevent`);
  // A self-connect that is only detected is in the way for less time than one connect takes.
  if (services?.longestMs > longest(clients))
    red.push(`a self-connect held a port for ${Math.round(services.longestMs)} ms: no dial took that long`);
  return red.map((one) => `${name}: ${one}`);
}
