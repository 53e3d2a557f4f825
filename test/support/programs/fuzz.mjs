// Calls every function of the addon with wrong and right arguments at random, and prints how each call ended. It is
// a separate program, because a bug that it finds is a crash.  node test/support/programs/fuzz.mjs <seed> <calls>
import { createRequire } from "node:module";

const [seed, calls] = process.argv.slice(2).map(Number);
const native = createRequire(import.meta.url)("../../../build/Release/selfconnect.node");

/** Mulberry32. */
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
let state = seed;

const pick = (values) => values[Math.floor(random() * values.length)];
const full = native.handle();
native.socket(full, 4, 0);
const address = Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1, ...new Array(12).fill(0));
const detached = new Uint8Array(24);
structuredClone(detached, { transfer: [detached.buffer] });
const arrays = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];

// No number here is a descriptor of this process, and no array is a valid burst report, which could start a long burst.
const makers = [
  () =>
    pick([
      undefined,
      null,
      true,
      1n,
      Symbol("x"),
      "",
      "4",
      "read",
      "fresh",
      "lo",
      "sideways",
      {},
      [],
      () => {},
    ]),
  () =>
    pick([
      NaN,
      Infinity,
      -Infinity,
      -1,
      -0,
      0.5,
      4,
      5,
      6,
      2 ** 16,
      2 ** 31,
      2 ** 32,
      2 ** 53,
      2 ** 64,
      1e300,
    ]),
  // Not Object.create(full): V8 of Node 24 and 26 crashes at that, with any addon's external object.
  () => pick([native.handle(), full, full, native.handle(), new Proxy(full, {})]),
  () => new (pick(arrays))(pick([0, 1, 2, 3, 16, 24, 80])),
  () =>
    pick([
      address,
      detached,
      new Uint8Array(new ArrayBuffer(25), 1),
      new Uint8Array(new ArrayBuffer(161), 1),
    ]),
  () => pick([new DataView(new ArrayBuffer(24)), new Uint8Array(new SharedArrayBuffer(24))]),
];

const functions = Object.entries(native).filter(([, value]) => typeof value === "function");
const ended = { integers: 0, refusals: 0 };
const called = new Set();
for (let i = 0; i < calls; i++) {
  const [name, call] = pick(functions);
  const values = Array.from({ length: Math.floor(random() * 11) }, () => pick(makers)());
  called.add(name);
  if (name === "handle") continue;
  try {
    const answer = call(...values);
    if (!Number.isInteger(answer)) throw new Error(`${name} returned ${String(answer)}`);
    ended.integers++;
  } catch (error) {
    if (!(error instanceof TypeError) || !error.message.startsWith(`native.${name}: argument `)) throw error;
    ended.refusals++;
  }
  if (native.fd(full) < 0) native.socket(full, pick([4, 6]), pick([0, 1]));
}
console.log(JSON.stringify({ ...ended, functions: called.size }));
process.exit(0);
