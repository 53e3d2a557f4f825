// Mutated files into every reader of files: a program of its own, because a finding may be a crash or a hang.
// node fuzz-files.mjs SEED COUNT. Each file is one of test/golden or an expectation, with values of its objects or bytes
// changed. A reader refuses it with an Error in words, or what it returns can be rendered and compared. Prints one JSON
// object a line: {finding}, then {files, accepted}.
import { readFileSync } from "node:fs";
import { parseExpectation } from "../../../dist/lab/index.js";
import { readTrace } from "../../../dist/packets/index.js";
import { readPorts } from "../../../dist/ports/index.js";
import * as report from "../../../dist/report/index.js";
import { print, printFinding } from "./findings.mjs";
import { seededRandom } from "./random.mjs";

const [seed, count] = process.argv.slice(2).map(Number);
const random = seededRandom(seed);
const upTo = (most) => Math.floor(random() * most);
const pick = (from) => from[upTo(from.length)];
const golden = (name) => readFileSync(new URL(`../../golden/${name}`, import.meta.url), "utf8");
/** One file is small: rendering it takes milliseconds. */
const HANGS_AFTER_MS = 5000;

const RESULTS = ["bench", "ports", "reconnect-trials", "reconnect", "predict", "audit", "trace", "lab"].map(
  (name) => golden(`${name}.json`),
);
const CAPTURES = ["trace", "trace-pair"].map((name) =>
  Buffer.from(golden(`${name}.pcapng.hex`).replace(/\s/g, ""), "hex"),
);
const VALUES = [
  null,
  true,
  0,
  -1,
  0.5,
  1e300,
  2 ** 53,
  "",
  "x",
  "__proto__",
  "\u001b[31m",
  "a".repeat(5000),
  [],
  {},
];

/** Each takes a mutated file; what it throws must be an Error in words. */
const READERS = {
  "report, compare": () => {
    const text = pick(RESULTS);
    const results = [report.parseResult("first", text), report.parseResult("second", mutateText(text))];
    return () => {
      const sheet = report.resultSheet(results);
      const same = report.comparisonSheet(report.compareResults(results));
      for (const one of [sheet, same])
        for (const write of [report.sheetText, report.sheetHtml, report.sheetMarkdown, report.sheetCsv])
          write(one);
    };
  },
  "report of labs, lab --resume": () => {
    const labs = [RESULTS.at(-1), mutateText(RESULTS.at(-1))].map(report.parseLabResult);
    return () => {
      const merged = report.mergeLabs(labs);
      for (const write of [report.labText, report.labHtml, report.labMarkdown, report.labCsv]) write(merged);
    };
  },
  "lab --expect": () => parseExpectation(mutateText(EXPECTATION)),
  "bench --expect": () => report.parseBenchBounds("file", mutateText(BOUNDS)),
  "trace --read": () => readTrace(pieces(mutateBytes(pick(CAPTURES)))),
  "ports --read": () =>
    readPorts(pieces(random() < 0.5 ? mutateBytes(pick(CAPTURES)) : mutateBytes(Buffer.from(LIST)))),
};
const EXPECTATION = JSON.stringify({
  schema: "selfconnect.lab-expect/1",
  kernels: [{ id: "host", answers: { parity: "no", steps: "2" } }],
});
const BOUNDS = JSON.stringify({ "attempts, fresh": { atLeast: 1000 }, "peak memory": { atMost: 5 } });
const LIST = Array.from({ length: 60 }, (_, i) => 40_000 + 2 * i).join("\n");

let accepted = 0;
for (let i = 0; i < count; i++) {
  const [name, read] = pick(Object.entries(READERS));
  const began = performance.now();
  let isRead = false;
  try {
    const result = await read();
    isRead = true;
    if (typeof result === "function") result();
    accepted++;
  } catch (error) {
    // What a reader has accepted is rendered without an error; comparing results of other hosts is refused in words.
    judge(isRead ? `${name}, once read` : name, error);
  }
  if (performance.now() - began > HANGS_AFTER_MS)
    print({ finding: `${name}: longer than ${HANGS_AFTER_MS} ms` });
}
print({ files: count, readers: Object.keys(READERS).length, accepted });

/** An Error of the engine (a property of undefined …) is nobody's words; JSON.parse() has good ones. */
function judge(name, error) {
  const isOfEngine =
    error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  if (error instanceof Error && (!isOfEngine || typeof error.code === "string")) return;
  printFinding(name, error);
}

/** Values of the object, or bytes of its text. */
function mutateText(text) {
  if (random() < 0.2) return mutateBytes(Buffer.from(text)).toString();
  const whole = JSON.parse(text);
  for (let i = upTo(3); i >= 0; i--) mutateValue(whole);
  return JSON.stringify(whole);
}

/** Puts another value at a random place, removes it, or doubles it. */
function mutateValue(whole) {
  const places = placesOf(whole);
  if (places.length === 0) return;
  const [at, key] = pick(places);
  const act = upTo(4);
  if (act === 0) delete at[key];
  else if (act === 1) at[key] = [at[key], structuredClone(at[key])];
  else at[key] = structuredClone(pick(VALUES));
}

function placesOf(at) {
  if (at === null || typeof at !== "object") return [];
  return Object.keys(at).flatMap((key) => [[at, key], ...placesOf(at[key])]);
}

function mutateBytes(from) {
  let bytes = Buffer.from(from);
  for (let i = upTo(5); i >= 0; i--) {
    const at = upTo(bytes.length + 1);
    const act = upTo(4);
    if (act === 0 && at < bytes.length) bytes[at] = upTo(256);
    else if (act === 1) bytes = bytes.subarray(0, at);
    else if (act === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 40))]);
    else if (at + 4 <= bytes.length) bytes.writeUInt32LE(pick([0, 1, 0xffffffff, 0x7fffffff, 0x10000]), at);
  }
  return bytes;
}

async function* pieces(bytes) {
  for (let at = 0, next; at < bytes.length; at = next) {
    next = at + 1 + upTo(300);
    yield new Uint8Array(bytes.subarray(at, next));
  }
}
