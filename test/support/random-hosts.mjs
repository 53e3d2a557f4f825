/**
 * Random hosts: in a network namespace of its own, sets a random ephemeral range and random reserved ports, plants
 * sockets of every kind, predicts, and makes real attempts. Prints one line for each trial, as JSON.
 *
 * Arguments: a seed, for how many milliseconds, the most ports of a range, the pace, and at least how many hosts. At the
 * pace "slow" the attempts are made from once to 20 times a second, by one to four clients at a time, beside a client of
 * another peer.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { portSituation } from "../../dist/ports/index.js";
import {
  addressOf,
  attempt,
  build,
  int,
  isFree,
  oneOf,
  predictPort,
  random,
  removePlanted,
  setUp,
  tearDown,
} from "./random-host.mjs";

const [durationMs, mostPorts] = process.argv.slice(3, 5).map(Number);
const isSlow = process.argv[5] === "slow";
const leastHosts = Number(process.argv[6]);
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

async function tryHost(host, method) {
  const built = await build(isSlow ? SLOW_PORTS : mostPorts);
  const name = method.startsWith("bind") ? "bind" : method;
  const look = () => portSituation(addressOf(host, 1), name);
  const situation = look();
  const ports = drawPorts(built.range, situation).filter((port) => isFree(host, port));
  const trials = isSlow ? await tryPortsSlowly(host, method, ports, built.range, situation) : [];
  for (const port of isSlow ? [] : ports)
    trials.push(await tryPort(host, method, port, built.range, situation));
  // A TIME-WAIT may have ended meanwhile.
  const isSteady = String(look().heldPorts) === String(situation.heldPorts);
  removePlanted();
  if (isSteady) console.log(JSON.stringify({ host, method, ...built, held: situation.heldPorts, trials }));
}

setUp();
const endsAt = performance.now() + durationMs;
for (let hosts = 0; hosts < leastHosts || performance.now() < endsAt; hosts++)
  await tryHost(oneOf(HOSTS), oneOf(METHODS));
tearDown();
