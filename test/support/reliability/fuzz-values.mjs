// Random JavaScript values into every function of every door, and mutated texts and files into what parses: a program of
// its own, because a finding may be a crash or a hang.  node fuzz-values.mjs SEED CALLS [SKIP]. Prints one JSON object a line:
// {finding} for each call that ended in neither a result nor an error with a code, then {calls, functions, results, errors}.
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import * as audit from "../../../dist/audit/index.js";
import * as main from "../../../dist/index.js";
import * as kernel from "../../../dist/kernel/index.js";
import * as lab from "../../../dist/lab/index.js";
import * as packets from "../../../dist/packets/index.js";
import * as ports from "../../../dist/ports/index.js";
import { print, printFinding } from "./findings.mjs";
import { seededRandom } from "./random.mjs";

const [seed, calls] = process.argv.slice(2).map(Number);
const random = seededRandom(seed);
const upTo = (count) => Math.floor(random() * count);
const pick = (from) => from[upTo(from.length)];

/** These change the host, start machines or take seconds by their nature; tests of their own give them wrong values. */
const LEFT_OUT = [
  "reserve",
  "free",
  "cleanCache",
  "runLab",
  "makeMachines",
  "recordStory",
  "trace",
  "fingerprint",
].concat([
  "measureWaits",
  "checkPrediction",
  "checkNever",
  "samplePorts",
  "auditAllNamespaces",
  "observeLeavings",
  "diagnose",
]);
/** Not for users: marked @internal, or made by a static method. */
const INTERNAL = [
  "TcpSocket.adopt",
  "TcpSocket.meet",
  "socket.callKernel",
  "new Capture",
  "new StreamOptions",
];
/** The text of a file: an Error names what is wrong in it. */
const OF_FILES = /^(parse|read)/;
/** A call that has not ended by then hangs. What waits by its nature has this deadline too. */
const HANGS_AFTER_MS = 3000;

const TEXTS = [
  "",
  "nonsense",
  "127.0.0.1:9",
  "[::1]:9",
  "[fe80::1%lo]:9",
  "::ffff:127.0.0.1",
  "localhost",
  "a".repeat(70_000),
].concat([
  "\0",
  "\u{1f600}",
  "-1",
  "1e9",
  "0x10",
  "65536",
  "__proto__",
  "constructor",
  "connect",
  "fresh",
  "information",
  "1-2",
]);
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  0.5,
  4,
  6,
  80,
  65_535,
  65_536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  Number.NaN,
  Infinity,
  -Infinity,
  1e300,
];
const KEYS = [
  "host",
  "port",
  "family",
  "scope",
  "deadlineMs",
  "signal",
  "attempts",
  "peer",
  "local",
  "guard",
  "strategy",
].concat([
  "threads",
  "engine",
  "method",
  "count",
  "low",
  "high",
  "options",
  "concurrency",
  "perSecond",
  "ports",
  "states",
  "__proto__",
]);
const thrower = () => {
  throw Object.assign(new Error("the caller's own"), { code: "ERR_CALLER" });
};

const MAKERS = [
  () =>
    pick([undefined, null, true, false, 7n, Symbol("x"), () => {}, thrower, Math, new Date(Number.NaN), /x/]),
  () => pick(NUMBERS),
  () => pick(TEXTS),
  () => mutate(pick(TEXTS)),
  () => new (pick([Uint8Array, Float64Array, ArrayBuffer, SharedArrayBuffer]))(pick([0, 1, 24, 100])),
  () => structuredClone(new Uint8Array(24), { transfer: [] }),
  () => Array.from({ length: upTo(4) }, make),
  () => Object.fromEntries(Array.from({ length: upTo(5) }, () => [pick(KEYS), make()])),
  () => Object.create(null),
  () => Object.defineProperty({}, pick(KEYS), { enumerable: true, get: thrower }),
  () => pick([AbortSignal.abort(), new AbortController().signal, new Map(), new Set(), new Error("x")]),
  () => ({ family: 4, host: "127.0.0.1", port: 9, deadlineMs: 5 }),
];

function make(depth = 0) {
  return depth > 3 ? upTo(9) : pick(MAKERS)();
}

/** Some bytes changed, removed, doubled or put in. */
function mutate(text) {
  let bytes = [...text].slice(0, 300);
  for (let i = upTo(4); i >= 0; i--) {
    const at = upTo(bytes.length + 1);
    const act = upTo(4);
    if (act === 0) bytes.splice(at, upTo(3));
    else if (act === 1) bytes.splice(at, 1, String.fromCodePoint(upTo(300)));
    else if (act === 2) bytes = [...bytes, ...bytes.slice(at)].slice(0, 300);
    else bytes.splice(at, 0, pick(["%", ":", "]", "-", "9999999999", "\n", "{", '"']));
  }
  return bytes.join("");
}

const isForUsers = ([name]) => !INTERNAL.includes(name);
const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value));
const functions = Object.entries({ ...main, ...kernel, ...lab, ...packets, ...ports, ...audit }).flatMap(
  ([name, value]) => {
    if (typeof value !== "function" || LEFT_OUT.includes(name)) return [];
    if (!isClass(value)) return [[name, value]];
    const made = name.endsWith("Error") ? [] : [[`new ${name}`, (...values) => new value(...values)]];
    const statics = Object.getOwnPropertyNames(value).filter((key) => typeof value[key] === "function");
    return [...made, ...statics.map((key) => [`${name}.${key}`, (...values) => value[key](...values)])];
  },
);
/** The methods of a socket, with a new socket each. */
for (const name of Object.getOwnPropertyNames(main.TcpSocket.prototype).concat([
  "bind",
  "setsockopt",
  "getsockopt",
  "send",
])) {
  const own = Object.getOwnPropertyDescriptor(main.TcpSocket.prototype, name);
  if (name === "constructor" || own?.get) continue;
  functions.push([
    `socket.${name}`,
    (...values) => {
      const socket = main.TcpSocket.open(4);
      opened.push(socket);
      return socket[name](...values);
    },
  ]);
}

const calledOnes = functions.filter(isForUsers);
const opened = [];
const ended = { results: 0, errors: 0 };
process.on("uncaughtException", (error) => judge("a callback", [], error));
process.on("unhandledRejection", (error) => judge("a promise", [], error));

for (let i = 0; i < calls; i++) {
  const [name, call] = pick(calledOnes);
  const values = Array.from({ length: upTo(4) }, () => make());
  try {
    await settle(name, values, call(...values));
    ended.results++;
  } catch (error) {
    judge(name, values, error);
  }
  for (const socket of opened.splice(0)) if (socket.state !== "closed") socket.reset();
}
print({ calls, functions: calledOnes.length, ...ended });
process.exit(0);

async function settle(name, values, result) {
  if (result === null || typeof result !== "object") return;
  if (typeof result.on === "function") {
    result.on("error", () => {});
    (result.destroy ?? result.close)?.call(result);
  } else if (typeof result.then === "function") {
    const late = sleep(HANGS_AFTER_MS, "late", { ref: false });
    const value = await Promise.race([result, late]);
    if (value === "late" && !isWait(name)) throw new Error(`hangs: ${name}(${inspect(values)})`);
    release(value?.socket ?? value);
  } else if (typeof result.next === "function" && typeof result.return === "function") {
    await result.return();
  } else release(result);
}

/** What waits without a deadline when it was given none. */
function isWait(name) {
  return /connected|accepted|readable|writable|receive|sendAll|run|waitUntilFree|punch|dial|Capture/.test(
    name,
  );
}

function release(value) {
  if (value instanceof main.TcpSocket && value.state !== "closed") value.reset();
  else value?.[Symbol.dispose]?.();
}

function judge(name, values, error) {
  ended.errors++;
  const isText = !(error instanceof TypeError) || /primitive value|Symbol value/.test(error.message);
  const isOfFile = OF_FILES.test(name) && error instanceof Error && isText;
  if (typeof error?.code === "string" || isOfFile) return;
  const shown = inspect(values, { maxStringLength: 60, breakLength: Infinity });
  printFinding(name, error, { values: shown.slice(0, 300) });
}
