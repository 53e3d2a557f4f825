// What the guard costs: connect() beside net.connect to a live listener, in pairs within one run, so that a machine
// that is fast one moment and slow the next slows both. Between them the least that any guard does: what of the cost
// is the kernel's and the crossings', and not ours to save. node benchmarks/guard.mjs [PAIRS] prints one object.
import { fork } from "node:child_process";
import net from "node:net";
import { performance } from "node:perf_hooks";
import { connect, rangesWithout } from "../dist/index.js";
import { portFacts } from "../dist/kernel/index.js";
import { loadNative } from "../dist/socket/native.js";

/** Until V8 has compiled what it will: a guard of which half is interpreted yet costs half as much again. */
const WARM_UP = 10_000;
const RESAMPLES = 200;
const pairs = Number(process.argv[2] ?? 4000);
const host = "127.0.0.1";

if (process.argv[2] === "listen") listen(Number(process.argv[3]));
else console.log(JSON.stringify(await measured(), null, 2));

/** A listener in a process of its own, on a port that it tells. */
function listen(port) {
  const server = net.createServer((socket) => socket.on("error", () => {}).resume());
  server.listen(port, host, () => process.send(server.address().port));
}

async function measured() {
  const { low, high } = portFacts().ephemeralRange;
  return {
    pairs,
    // Where the kernel could never pick the peer's port there is nothing to prevent; where it could, there is.
    outsideTheRange: await withListener(low - 1 - Math.floor(Math.random() * 5000), compared),
    insideTheRange: await withListener(pickable(low, high), compared),
    insideTheRangeDetecting: await withListener(pickable(low, high), (port) => compared(port, "detect")),
  };
}

/** Of the parity that connect(2) picks. */
function pickable(low, high) {
  return low + 2 * Math.floor(Math.random() * ((high - low) / 2));
}

async function withListener(wanted, use) {
  const child = fork(new URL(import.meta.url).pathname, ["listen", String(wanted)]);
  const port = await new Promise((resolve) => child.once("message", resolve));
  try {
    return await use(port);
  } finally {
    child.kill();
  }
}

/** A connect of each kind in turn, the order left to chance. net.connect makes nothing of `guard`, and gets it too. */
async function compared(port, guard = "prevent") {
  const doors = {
    plain: () => net.connect({ port, host, guard }),
    least: leastGuarded(port, guard),
    guarded: () => connect({ port, host, guard }),
  };
  const names = Object.keys(doors);
  const connects = { plain: [], least: [], guarded: [] };
  const wholes = { plain: [], least: [], guarded: [] };
  for (let pair = -WARM_UP; pair < pairs; pair++) {
    for (const name of shuffled(names)) {
      const { connectMs, closeMs } = await timed(doors[name]);
      if (pair < 0) continue;
      connects[name].push(connectMs);
      wholes[name].push(closeMs);
    }
  }
  return { untilConnect: told(connects), untilClose: told(wholes) };
}

/**
 * net.connect with the fewest calls in between that are a guard at all: a socket with the range set, where the kernel
 * could pick the peer's port, and getsockname(2) before Node hears of the end. No options, no errors, no retry.
 */
function leastGuarded(port, guard) {
  const native = loadNative();
  const [range] = guard === "prevent" ? rangesWithout(port, portFacts().ephemeralRange) : [];
  return () => {
    const socket = net.connect({ port, host, guard });
    const tcp = socket._handle;
    tcp.connect = (request, host, port) => {
      if (range) tcp.open(native.socketInRange(4, range.low, range.high));
      const { oncomplete } = request;
      request.oncomplete = (status, handle, same, readable, writable) => {
        if (native.localPort(tcp.fd) === port) throw new Error("joined to itself");
        oncomplete.call(request, status, handle, same, readable, writable);
      };
      return Object.getPrototypeOf(tcp).connect.call(tcp, request, host, port);
    };
    return socket;
  };
}

function shuffled(names) {
  const order = [...names];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/** The time from the call to 'connect', and to the 'close' after a reset, which leaves no TIME-WAIT. */
async function timed(make) {
  const startedAt = performance.now();
  const socket = make();
  await new Promise((resolve) => socket.once("connect", resolve));
  const connectMs = performance.now() - startedAt;
  socket.resetAndDestroy();
  await new Promise((resolve) => socket.once("close", resolve));
  return { connectMs, closeMs: performance.now() - startedAt };
}

/** Guarded over plain, at the fastest decile (which a busy machine disturbs least) and at the median. */
function told({ plain, least, guarded }) {
  const again = Array.from({ length: RESAMPLES }, () => ratioAt(0.5, resampled(plain), resampled(guarded)));
  return {
    fastestDecileRatio: round(ratioAt(0.1, plain, guarded)),
    medianRatio: round(ratioAt(0.5, plain, guarded)),
    medianRatioFrom: round(quantile(again, 0.025)),
    medianRatioTo: round(quantile(again, 0.975)),
    leastMedianRatio: round(ratioAt(0.5, plain, least)),
  };
}

function ratioAt(part, one, other) {
  return quantile(other, part) / quantile(one, part);
}

function quantile(values, part) {
  return values.toSorted((a, b) => a - b)[Math.floor(part * (values.length - 1))];
}

function resampled(values) {
  return values.map(() => values[Math.floor(Math.random() * values.length)]);
}

function round(value) {
  return Number(value.toFixed(3));
}
