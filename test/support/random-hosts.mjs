/**
 * Random hosts: in a network namespace of its own, sets a random ephemeral range and random reserved ports, plants
 * sockets of every kind, predicts, and makes real attempts. Prints one line for each trial, as JSON.
 *
 * Arguments: a seed, for how many milliseconds, the most ports of a range. With a fourth, "slow", the attempts are made
 * from once to 20 times a second, by one to four clients at a time, beside a client of another peer.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TcpSocket } from "../../dist/index.js";
import { environment } from "../../dist/kernel/index.js";
import { portAlgorithm, portSituation, predict, supposeAlgorithm } from "../../dist/ports/index.js";

const [seed, durationMs, mostPorts] = process.argv.slice(2, 5).map(Number);
const isSlow = process.argv[5] === "slow";
const TRIALS_PER_HOST = 24;
const NEVER_LAPS = 3;
const MOST_MEANS = 40;
/**
 * The probability from which a self-connect must have come. Where few ports can be picked, one salt in several never
 * leads to the port, and the next comes after ten seconds: then the most attempts leave a chance that it has not.
 */
const CERTAIN = 1 - 1e-6;
/** More than two periods of the salt. */
const SLOW_MS = 22_000;
const SLOW_PORTS = 30;
const HOSTS = ["127.0.0.1", "::1", "10.1.2.3", "10.9.1.1", "fd00::1"];
const METHODS = ["connect", "connect", "late-bind", "range", "bind", "bind with SO_REUSEADDR"];
const release = environment().kernel;

/** Mulberry32. */
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const int = (low, high) => low + Math.floor(random() * (high - low + 1));
const oneOf = (list) => list[int(0, list.length - 1)];
const familyOf = (host) => (host.includes(":") ? 6 : 4);
const addressOf = (host, port) => ({ family: familyOf(host), host, port });

const planted = [];
function plant(family, options = {}) {
  const socket = TcpSocket.open(family, options);
  planted.push(socket);
  return socket;
}

/** A server that stays for the whole run, for connections to elsewhere. */
const elsewhere = TcpSocket.open(4, { reuseAddress: true });

async function connectFrom(port, options, isBound) {
  const client = plant(4, isBound ? options : { ...options, localPortRange: { low: port, high: port } });
  if (isBound) client.bind(addressOf("127.0.0.1", port));
  client.connect(elsewhere.getsockname());
  await client.connected();
  return [client, await accept(elsewhere)];
}

async function accept(server) {
  for (let tries = 0; tries < 1000; tries++) {
    const accepted = server.accept();
    if (accepted) {
      planted.push(accepted);
      return accepted;
    }
    await sleep(1);
  }
  throw new Error("nobody connected");
}

async function leaveTimeWait(port, isBound) {
  for (const socket of await connectFrom(port, {}, isBound)) {
    planted.splice(planted.indexOf(socket), 1);
    socket.close();
  }
}

async function acceptOfDeadServer(port) {
  const server = TcpSocket.open(4, { reuseAddress: true }).bind(addressOf("127.0.0.1", port)).listen();
  plant(4).connect(addressOf("127.0.0.1", port));
  await accept(server);
  server.close();
}

const listenOn = (host, options) => (port) =>
  plant(familyOf(host), options).bind(addressOf(host, port)).listen();
const bindTo = (host, options) => (port) => plant(familyOf(host), options).bind(addressOf(host, port));
const HOLDERS = {
  "listens on 127.0.0.1": listenOn("127.0.0.1"),
  "listens on 127.0.0.3": listenOn("127.0.0.3"),
  "listens on 0.0.0.0": listenOn("0.0.0.0"),
  "listens on ::1": listenOn("::1"),
  "listens on [::]": listenOn("::"),
  "listens on [::], IPV6_V6ONLY": listenOn("::", { ipv6Only: true }),
  "listens on 10.1.2.3": listenOn("10.1.2.3"),
  "bound to 127.0.0.1": bindTo("127.0.0.1"),
  "bound to 127.0.0.3, SO_REUSEADDR": bindTo("127.0.0.3", { reuseAddress: true }),
  "bound to 127.0.0.1, SO_REUSEPORT": bindTo("127.0.0.1", { reusePort: true }),
  "bound to ::1": bindTo("::1"),
  "bound, then connected": (port) => connectFrom(port, {}, true),
  "connected by connect(2)": (port) => connectFrom(port, {}, false),
  "TIME-WAIT after bind(2)": (port) => leaveTimeWait(port, true),
  "TIME-WAIT after connect(2)": (port) => leaveTimeWait(port, false),
  "accepted by a dead server": acceptOfDeadServer,
};

function drawRange() {
  const kind = random();
  const size =
    kind < 0.4 ? int(1, 8) : kind < 0.7 ? int(9, 100) : kind < 0.93 ? int(101, 1500) : int(1501, mostPorts);
  const low = int(5000, 60_000 - Math.min(size, 50_000));
  return { low, high: low + Math.min(size, isSlow ? SLOW_PORTS : mostPorts) - 1 };
}

function drawReserved({ low, high }) {
  const size = high - low + 1;
  const kind = random();
  if (kind < 0.4) return [];
  const blocks = [];
  for (let count = int(1, 3); count > 0; count--) {
    const first = int(low, high);
    blocks.push([first, Math.min(high, first + int(0, Math.ceil(size / 2)))]);
  }
  if (kind < 0.7) return blocks;
  const density = oneOf([0.1, 0.5, 0.9]);
  const parity = oneOf([0, 1, null, null]);
  const ports = Array.from({ length: Math.min(size, 400) }, (_, index) => low + index);
  const single = ports.filter((port) => (parity === null ? random() < density : port % 2 === parity));
  return single.map((port) => [port, port]);
}

async function plantAt(kind, port) {
  try {
    await HOLDERS[kind](port);
    return true;
  } catch (error) {
    if (error.code === "EADDRINUSE" || error.code === "EADDRNOTAVAIL") return false;
    throw error;
  }
}

/** Sets the host up; returns what was planted. */
async function build() {
  const range = drawRange();
  const reserved = drawReserved(range);
  const text = reserved.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
  writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", `${range.low} ${range.high}`);
  writeFileSync("/proc/sys/net/ipv4/ip_local_reserved_ports", `${text}\n`);
  const holders = [];
  const most = Math.min(range.high - range.low, oneOf([0, 1, 3, 10]));
  for (let count = 0; count < most; count++) {
    const kind = oneOf(Object.keys(HOLDERS));
    const port = int(range.low, range.high);
    // A reserved port cannot be picked from a range of one; a held one cannot be bound again.
    const works = await plantAt(kind, port);
    if (works) holders.push(`${port} ${kind}`);
  }
  return { range, reserved: text, holders };
}

function attempt(method, host, port, range) {
  const family = familyOf(host);
  const options = {
    ...(method === "late-bind" && { bindAddressNoPort: true }),
    ...(method === "range" && { localPortRange: range }),
    ...(method === "bind with SO_REUSEADDR" && { reuseAddress: true }),
  };
  const socket = TcpSocket.open(family, options);
  try {
    if (method === "late-bind" || method.startsWith("bind")) socket.bind(addressOf(host, 0));
    if (method.startsWith("bind") && socket.getsockname().port !== port) return false;
    socket.connect(addressOf(host, port));
    return socket.getsockname().port === port && socket.isSelfConnected();
  } catch (error) {
    if (error.code === "EADDRNOTAVAIL" || error.code === "EADDRINUSE") return false;
    throw error;
  } finally {
    socket.reset();
  }
}

function predictPort(host, method, port, situation) {
  const name = method.startsWith("bind") ? "bind" : method;
  return predict({
    peer: addressOf(host, port),
    method: name,
    algorithm: name === "bind" ? portAlgorithm("linux-bind") : supposeAlgorithm(name, release),
    facts: { ...situation, keeper: null },
    reuseAddress: method === "bind with SO_REUSEADDR",
  });
}

async function tryPort(host, method, port, range, situation) {
  const prediction = await predictPort(host, method, port, situation);
  const size = range.high - range.low + 1;
  const began = performance.now();
  const never = prediction.never;
  const slow = never ? null : prediction.wait(Number.MAX_SAFE_INTEGER);
  const most = never ? NEVER_LAPS * size + 20 : Math.min(200_000, Math.ceil(MOST_MEANS * slow.mean) + 20);
  let attempts = 0;
  let isJoined = false;
  const startedAt = performance.now();
  while (attempts < most && !isJoined) {
    attempts++;
    isJoined = attempt(method, host, port, range);
  }
  const rate = (attempts * 1000) / Math.max(0.01, performance.now() - startedAt);
  return { ...judge(port, prediction, rate, attempts, isJoined), ms: performance.now() - began };
}

/**
 * What a trial shows. One that has not ended in time has a share above that of the attempts made, anywhere there if the
 * prediction is right; it is wrong when it was predicted to have ended by then.
 */
function judge(port, prediction, rate, attempts, isJoined) {
  const never = prediction.never?.reason ?? null;
  if (never) return { port, never, attempts, isRight: !isJoined };
  const wait = prediction.wait(rate);
  const [from, to] = [wait.cdf(isJoined ? attempts - 1 : attempts), isJoined ? wait.cdf(attempts) : 1];
  const share = from + random() * (to - from);
  return { port, never, attempts, isRight: isJoined || from < CERTAIN, isJoined, share, mean: wait.mean };
}

/** Trials at a slow pace, side by side: the kernel walks separately to each port. */
async function tryPortsSlowly(host, method, ports, range, situation) {
  const [everyMs, clients] = [oneOf([50, 200, 500, 1000]), oneOf([1, 1, 2, 4])];
  const attempts = new Map(ports.map((port) => [port, 0]));
  const joined = new Set();
  let rounds = 0;
  const startedAt = performance.now();
  for (; performance.now() - startedAt < SLOW_MS && joined.size < ports.length; rounds++) {
    for (let client = 0; client < clients; client++) {
      for (const port of ports.filter((one) => !joined.has(one))) {
        attempts.set(port, attempts.get(port) + 1);
        if (attempt(method, host, port, range)) joined.add(port);
      }
    }
    attempt(method, host, range.low - 1, range);
    await sleep(startedAt + (rounds + 1) * everyMs - performance.now());
  }
  const rate = (rounds * clients * 1000) / (performance.now() - startedAt);
  const pace = `${clients} clients every ${everyMs} ms`;
  const trials = [];
  for (const port of ports) {
    const prediction = await predictPort(host, method, port, situation);
    trials.push({ pace, ...judge(port, prediction, rate, attempts.get(port), joined.has(port)) });
  }
  return trials;
}

/** Ports near which a mistake is likely, and random ones. */
function drawPorts({ low, high }, situation) {
  const ends = [low, low + 1, high - 1, high];
  const held = situation.heldPorts.flatMap((port) => [port + 1, port + 2, port + 3]);
  const reserved = situation.reservedPorts.flatMap((block) => [
    block.high + 1,
    block.high + 2,
    block.high + 4,
  ]);
  const wanted = [
    ...ends,
    ...held,
    ...reserved,
    ...Array.from({ length: TRIALS_PER_HOST }, () => int(low, high)),
  ];
  const busy = new Set(situation.heldPorts);
  const ports = [...new Set(wanted)].filter((port) => port >= low && port <= high && !busy.has(port));
  for (let index = ports.length - 1; index > 0; index--) {
    const other = int(0, index);
    [ports[index], ports[other]] = [ports[other], ports[index]];
  }
  return ports.slice(0, TRIALS_PER_HOST);
}

function isFree(host, port) {
  const socket = TcpSocket.open(familyOf(host));
  try {
    socket.bind(addressOf(host, port)).listen();
    return true;
  } catch {
    return false;
  } finally {
    socket.reset();
  }
}

async function tryHost(host, method) {
  const built = await build();
  const name = method.startsWith("bind") ? "bind" : method;
  const look = () => portSituation(addressOf(host, 1), name);
  const situation = look();
  const ports = drawPorts(built.range, situation).filter((port) => isFree(host, port));
  const trials = isSlow ? await tryPortsSlowly(host, method, ports, built.range, situation) : [];
  for (const port of isSlow ? [] : ports)
    trials.push(await tryPort(host, method, port, built.range, situation));
  // A TIME-WAIT may have ended meanwhile.
  const isSteady = String(look().heldPorts) === String(situation.heldPorts);
  for (const socket of planted.splice(0)) socket.reset();
  for (let waiting = elsewhere.accept(); waiting; waiting = elsewhere.accept()) waiting.reset();
  if (isSteady) console.log(JSON.stringify({ host, method, ...built, held: situation.heldPorts, trials }));
}

for (const address of ["10.1.2.3/32", "fd00::1/128"])
  execFileSync("ip", ["addr", "add", address, "dev", "lo"]);
execFileSync("ip", ["route", "add", "local", "10.9.0.0/16", "dev", "lo"]);
elsewhere.bind(addressOf("127.0.0.1", 0)).listen(64);
const endsAt = performance.now() + durationMs;
while (performance.now() < endsAt) await tryHost(oneOf(HOSTS), oneOf(METHODS));
elsewhere.reset();
