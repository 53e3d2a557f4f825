/**
 * Random hosts that are audited: on each, a server of another process listens on several ports, the audit judges them,
 * and free ports too; then each listener ends in turn, and clients of every kind connect to its port. Prints one line
 * for each host, as JSON.
 *
 * Arguments: a seed, for how many milliseconds (at least one host), the most ports of a range.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { audit } from "../../dist/audit/index.js";
import { findSockets } from "../../dist/kernel/index.js";
import { portSituation } from "../../dist/ports/index.js";
import {
  addressOf,
  attempt,
  build,
  connectTo,
  int,
  isFree,
  oneOf,
  predictPort,
  removePlanted,
  setUp,
  tearDown,
} from "./random-host.mjs";

const [durationMs, mostPorts] = process.argv.slice(3, 5).map(Number);
const LISTENERS_PER_HOST = 10;
const FREE_PER_HOST = 3;
/** Attempts to a port that is never picked, in laps of the range. */
const LAPS = 3;
const MOST_MEANS = 40;
const MOST_ATTEMPTS = 20_000;
/** The probability from which a self-connect must have come. */
const CERTAIN = 1 - 1e-6;
const FOUR = ["127.0.0.1", "10.1.2.3"];
const SIX = ["::1", "fd00::1"];
const HOSTS = [...FOUR, ...SIX, "0.0.0.0", "0.0.0.0", "::", "::", "127.0.0.2", "10.9.1.1"];
const OPTIONS = [{}, { reuseAddress: true }, { reusePort: true }, { reuseAddress: true, reusePort: true }];
const METHODS = ["connect", "late-bind", "bind", "bind with SO_REUSEADDR"];
const PLANTED_PORT = /^\d+/;

const server = fork(new URL("programs/listeners.mjs", import.meta.url).pathname);

async function ask(message) {
  server.send(message);
  return (await once(server, "message"))[0];
}

/** The addresses at which clients of this host reach a listener; the first is the one that the audit judges. */
function peersOf({ host, options }) {
  if (host === "0.0.0.0") return FOUR;
  if (host !== "::") return [host];
  return options.ipv6Only ? SIX : [...SIX, ...FOUR];
}

/** Ports near which a mistake is likely, and random ones: the ends of the range, holders and what follows them. */
function drawPorts({ range: { low, high }, reserved, holders }) {
  const held = holders.map((holder) => Number(PLANTED_PORT.exec(holder)[0]));
  const blocks = reserved.split(",").filter(Boolean);
  const ends = blocks.map((block) => Number(block.split("-").at(-1)));
  const near = [...held, ...held, ...ends].map((port) => port + oneOf([1, 2, 3]));
  const wanted = [low, low + 1, high - 1, high, ...near];
  while (wanted.length < 4 * LISTENERS_PER_HOST) wanted.push(int(low, high));
  const ports = [...new Set(wanted)].filter((port) => port >= low && port <= high);
  for (let index = ports.length - 1; index > 0; index--) {
    const other = int(0, index);
    [ports[index], ports[other]] = [ports[other], ports[index]];
  }
  // First those of the holders: few listeners can start there.
  return [...new Set([...held, ...ports])];
}

function drawListener(port) {
  const host = oneOf(HOSTS);
  const isV6Only = host === "::" && oneOf([true, false]);
  return { host, port, options: { ...oneOf(OPTIONS), ...(isV6Only && { ipv6Only: true }) } };
}

const start = ({ host, port, options }) => ask({ listen: addressOf(host, port), options });

/** Starts listeners; one in four of them has accepted a connection. */
async function startListeners(ports) {
  const started = [];
  while (ports.length > 0 && started.length < LISTENERS_PER_HOST) {
    const port = ports.shift();
    const listener = drawListener(port);
    if (!(await start(listener))) continue;
    started.push(listener);
    if (int(1, 4) === 1 && connectTo(addressOf(peersOf(listener)[0], port))) await ask({ accept: port });
  }
  return started;
}

function knock(method, host, port, range, most) {
  for (let made = 1; made <= most; made++) if (attempt(method, host, port, range)) return made;
  return null;
}

/** The clients that the audit says never get the port. */
function excluded(risk) {
  if (risk === "at-risk") return [];
  return risk === "bind-first" ? ["connect"] : METHODS;
}

/** Who got the port although the audit excludes it; null when nobody did. */
function findJoined(listener, risk, { range }) {
  const most = LAPS * (range.high - range.low + 1) + 20;
  for (const host of peersOf(listener)) {
    for (const method of excluded(risk)) {
      if (knock(method, host, listener.port, range, most)) return `${method} to ${host} got it`;
    }
  }
  return null;
}

/** Whether nobody gets the port although the audit says so; null when somebody does, at any address of the listener. */
async function findMissing(listener, risk, situation) {
  if (risk !== "at-risk" && risk !== "bind-first") return null;
  const reasons = [];
  for (const host of peersOf(listener)) {
    for (const method of risk === "at-risk" ? ["connect"] : ["bind", "late-bind"]) {
      const reason = await whyMissed(method, host, listener.port, situation);
      if (reason === null) return null;
      reasons.push(`${method} to ${host}: ${reason}`);
    }
  }
  return `nobody got it (${reasons.join("; ")})`;
}

/** Why a client that knocked long enough did not get the port; null when it did, or may only have been unlucky. */
async function whyMissed(method, host, port, { range }) {
  const situation = portSituation(addressOf(host, port), method);
  const { never, wait } = await predictPort(host, method, port, situation);
  const mean = never ? 0 : wait(Number.MAX_SAFE_INTEGER).mean;
  const most = Math.min(MOST_ATTEMPTS, Math.ceil(MOST_MEANS * mean) + LAPS * (range.high - range.low + 1));
  const startedAt = performance.now();
  if (knock(method, host, port, range, most)) return null;
  const rate = (most * 1000) / Math.max(0.01, performance.now() - startedAt);
  const why = situation.keeper ?? never?.reason;
  return why || wait(rate).cdf(most) >= CERTAIN ? (why ?? "certain") : null;
}

/** Connections and TIME-WAIT on the port, of which no table shows whether bind(2) put them there. */
function connectionsOn(port) {
  const { rows } = findSockets({ localPorts: { low: port, high: port } });
  return rows.filter(({ state }) => state !== "LISTEN").length;
}

/**
 * Compares a verdict with what clients get. A warning for nothing is right where no table shows what keeps the port
 * from them: then the audit has no time for it, or a connection is on the port.
 */
async function judge(listener, { risk, meanMs, never, heldBy }, built) {
  const joined = findJoined(listener, risk, built);
  const missing = joined ? null : await findMissing(listener, risk, built);
  const isHidden = meanMs === null || connectionsOn(listener.port) > 0;
  const because = [never?.because, ...heldBy.map(({ local, is }) => `${local.host} ${is}`)].join("; ");
  return { ...listener, risk, because, wrong: joined ?? (isHidden ? null : missing), missing };
}

async function tryHost() {
  const built = await build(mostPorts);
  const ports = drawPorts(built);
  const listeners = await startListeners(ports);
  const free = ports.filter((port) => isFree("::", port)).slice(0, FREE_PER_HOST);
  const found = (await audit()).listeners.filter(({ owner }) => owner?.pid === server.pid);
  const asked = free.length > 0 ? (await audit({ ports: free })).ports : [];
  const trials = [];
  for (const listener of listeners) {
    const verdict = found.find(({ local }) => local.port === listener.port);
    await ask({ end: listener.port });
    trials.push(await judge(listener, verdict, built));
    if (!(await start(listener))) throw new Error(`cannot listen again: ${JSON.stringify(listener)}`);
  }
  for (const one of asked) trials.push(await judge({ host: "127.0.0.1", port: one.port }, one, built));
  for (const { port } of listeners) await ask({ end: port });
  removePlanted();
  console.log(JSON.stringify({ ...built, trials }));
}

setUp();
const endsAt = performance.now() + durationMs;
do await tryHost();
while (performance.now() < endsAt);
tearDown();
server.disconnect();
