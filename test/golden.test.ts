/**
 * Goldens: recorded results of every command, and the output of each writer for them, byte for byte. To change a
 * wording run `npx vitest run test/golden.test.ts -u`, then look at the difference.
 *
 * In test/golden/, `x.input.json` is what the library returned in a real run; `x.json` is the object of --json.
 */
import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, vi } from "vitest";
import type { JoinedMoment } from "../lib/audit/joined.ts";
import { pacesOf } from "../lib/cli/predict.ts";
import { progressLines } from "../lib/cli/progress.ts";
import { showWhileOpen } from "../lib/cli/reconnect.ts";
import { environment, portFacts } from "../lib/kernel/host.ts";
import type { SocketRow } from "../lib/kernel/tables.ts";
import { expectationOf, judge } from "../lib/lab/expectation.ts";
import type { Finding } from "../lib/lab/lab.ts";
import { portAlgorithm } from "../lib/ports/algorithms.ts";
import { checkPrediction } from "../lib/ports/check.ts";
import { fingerprint } from "../lib/ports/fingerprint.ts";
import { expectedRemaining, predict } from "../lib/ports/predict.ts";
import { measureWaits } from "../lib/ports/waits.ts";
import * as report from "../lib/report/index.ts";
import {
  applyBenchBounds,
  auditChangesText,
  auditMetrics,
  auditReport,
  auditText,
  benchCsv,
  benchHtml,
  benchMarkdown,
  benchText,
  compareResults,
  compareText,
  comparisonSheet,
  dialReport,
  dialText,
  doctorReport,
  doctorText,
  fleetAuditMetrics,
  fleetAuditReport,
  fleetAuditText,
  freeReport,
  freeText,
  holderText,
  hostAuditMetrics,
  hostAuditReport,
  hostAuditText,
  hostsReport,
  hostsText,
  judgementText,
  labCleanReport,
  labCleanText,
  labCsv,
  labHtml,
  labKernelsReport,
  labKernelsText,
  labListReport,
  labListText,
  labMarkdown,
  labText,
  ladderSvg,
  mergeLabs,
  neverText,
  parseBenchBounds,
  parseLabResult,
  parseResult,
  portsHtml,
  portsReadHtml,
  portsReadReport,
  portsReadText,
  portsReport,
  portsText,
  predictReport,
  predictText,
  reconnectAfterText,
  reconnectProgressText,
  reconnectReport,
  reconnectStartText,
  reconnectText,
  reserveReport,
  reserveText,
  resultSheet,
  sheetCsv,
  sheetHtml,
  sheetMarkdown,
  sheetText,
  storyHtml,
  traceHtml,
  tracePcapng,
  traceReport,
  traceText,
  whoReport,
  whoText,
} from "../lib/report/index.ts";
import type { Address } from "../lib/socket/address.ts";

// The census has loaded lib/ before this file could replace anything in it.
vi.hoisted(() => vi.resetModules());
// Writers that read facts of this host get the recorded ones.
vi.mock("../lib/kernel/host.ts", { spy: true });
vi.mock("../lib/audit/explain-bind.ts", { spy: true });
vi.mock("../lib/socket/listen-refusal.ts", { spy: true });
vi.mock("../lib/ports/waits.ts", { spy: true });
// What each writer returns is kept, to find those that no golden records.
vi.mock("../lib/report/index.ts", { spy: true });

const FOLDER = new URL("golden/", import.meta.url);
const ENVIRONMENT = JSON.parse(readFileSync(new URL("environment.json", FOLDER), "utf8"));
const recorded = readdirSync(FOLDER).sort();
const used = new Set(["environment.json"]);
const compared: string[] = [];

vi.mocked(environment).mockReturnValue(ENVIRONMENT);
vi.mocked(portFacts).mockReturnValue(ENVIRONMENT);

function recordedText(file: string): string {
  used.add(file);
  return readFileSync(new URL(file, FOLDER), "utf8");
}

/** Reads a recorded result. A value that JSON cannot express is an object with one key. */
function readRecordedResult(file: string) {
  return JSON.parse(recordedText(file), (_, value) => {
    if (typeof value?.base64 === "string") return new Uint8Array(Buffer.from(value.base64, "base64"));
    if (typeof value?.bigint === "string") return BigInt(value.bigint);
    if (Array.isArray(value?.uint16)) return Uint16Array.from(value.uint16);
    if (Array.isArray(value?.float64)) return Float64Array.from(value.float64);
    return value;
  });
}

async function expectGolden(file: string, text: string): Promise<void> {
  used.add(file);
  compared.push(text);
  await expect(text).toMatchFileSnapshot(new URL(file, FOLDER).pathname);
}

/** Expects the object as --json prints it, and that it conforms to its published schema. */
async function expectJson(name: string, schema: string, object: object): Promise<void> {
  const text = jsonOf(object);
  expectSchema(schema, JSON.parse(text));
  await expectGolden(`${name}.json`, text);
}

function jsonOf(object: object): string {
  return `${JSON.stringify(object, null, 2)}\n`;
}

/** Bytes as text, 32 a line. */
function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("hex")
    .replaceAll(/.{1,64}/g, "$&\n");
}

function expectSchema(schema: string, object: unknown): void {
  const url = new URL(`../docs/schema/${schema}-1.json`, import.meta.url);
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  const validate = ajv.compile(JSON.parse(readFileSync(url, "utf8")));
  validate(object);
  expect(validate.errors).toBeNull();
}

function readResult(file: string) {
  return parseResult(file, recordedText(file));
}

async function expectSheet(name: string, sheet: report.Sheet): Promise<void> {
  await expectGolden(`${name}.txt`, `${sheetText(sheet)}\n`);
  await expectGolden(`${name}.html`, sheetHtml(sheet));
  await expectGolden(`${name}.markdown`, sheetMarkdown(sheet));
  await expectGolden(`${name}.csv`, sheetCsv(sheet));
}

/** Returns what `print` writes to stdout. */
async function captureOutput(print: () => void | Promise<void>): Promise<string> {
  let text = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((part) => {
    text += part;
    return true;
  });
  try {
    await print();
  } finally {
    write.mockRestore();
  }
  return text;
}

/** A socket joined to itself while it was open. */
function momentOf(local: Address, row: SocketRow): JoinedMoment {
  const { holders } = readRecordedResult("who-joined.input.json");
  const rows = [[row, { pid: 4242, command: "node" }]] as const;
  const echo = { sent: "hello, myself", received: "hello, myself" };
  return { local, peer: local, rows, whyNoRows: null, refusal: "EADDRINUSE", holders, ...echo };
}

describe("reconnect", () => {
  it("joined to itself, with the harm", async () => {
    const { never, results, row } = readRecordedResult("reconnect.input.json");
    await expectJson("reconnect", "reconnect", reconnectReport(results, never));
    const signal = new AbortController().signal;
    const [last, moment] = [results[0], momentOf(results[0].local, row)];
    const text = await captureOutput(() => showWhileOpen(moment, last, {}, signal));
    await expectGolden("reconnect.txt", `${text}${reconnectAfterText(last.local, null)}\n`);
  });

  it("that never ends, with advice", async () => {
    const { never } = readRecordedResult("reconnect-never.input.json");
    await expectGolden("never.txt", `${neverText(never)}\n`);
  });

  it.each(["reconnect-trials", "reconnect-never", "reconnect-listener"])("%s", async (name) => {
    const { never, results } = readRecordedResult(`${name}.input.json`);
    await expectJson(name, "reconnect", reconnectReport(results, never));
    const text = reconnectText(results, { listener: { pid: 4242, command: "node" } });
    await expectGolden(`${name}.txt`, `${text}\n`);
  });

  it("the lines before and while it runs", async () => {
    const { results } = readRecordedResult("reconnect.input.json");
    const loop = results[0];
    const findRemaining = expectedRemaining(loop.peer, loop.strategy, ENVIRONMENT);
    const start = reconnectStartText(loop, ENVIRONMENT);
    const now = reconnectProgressText(loop, ENVIRONMENT.ephemeralRange, findRemaining(loop.localPort));
    const text = `${start}\ntrial 1/3 · ${now}\n`;
    await expectGolden("reconnect-live.txt", text);
  });
});

describe("the page of a run", () => {
  it("joined to itself", async () => {
    const { results, row } = readRecordedResult("reconnect.input.json");
    const { ports } = readRecordedResult("ports.input.json");
    const { traced } = readRecordedResult("trace.input.json");
    const result = results[0];
    const algorithm = portAlgorithm("linux-5.18");
    const prediction = await predict({ peer: result.peer, algorithm, facts: ENVIRONMENT });
    const host = readRecordedResult("audit.input.json");
    const port = readRecordedResult("audit-port.input.json");
    const moment = momentOf(result.local, row);
    const story = { result, never: null, ports, trace: traced, moment, refusalAfter: null };
    await expectGolden("story.html", storyHtml({ ...story, prediction, host, port }));
  });
});

describe("a fleet", () => {
  it("whose hosts found something, nothing, or did not answer", async () => {
    const found = readRecordedResult("fleet-audit.input.json");
    await expectJson("fleet-audit", "fleet-audit", fleetAuditReport(found));
    await expectGolden("fleet-audit.txt", `${fleetAuditText(found)}\n`);
    await expectGolden("fleet-audit.prom", fleetAuditMetrics(found));
  });
});

describe("dial", () => {
  it.each(["dial", "dial-failed", "dial-self-connect", "dial-many"])("%s", async (name) => {
    const { asked, ...outcome } = readRecordedResult(`${name}.input.json`);
    await expectJson(name, "dial", dialReport(asked, outcome));
    await expectGolden(`${name}.txt`, `${dialText(asked, outcome)}\n`);
  });
});

describe("trace", () => {
  it.each(["trace", "trace-pair", "trace-without-packets"])("%s", async (name) => {
    const { peer, traced, table, flags } = readRecordedResult(`${name}.input.json`);
    const extras = { sent: flags.data ?? null, leavings: table };
    await expectJson(name, "trace", traceReport(peer, traced, extras));
    await expectGolden(`${name}.txt`, `${traceText(traced, extras)}\n`);
    if (traced.capture) await expectGolden(`${name}.svg`, ladderSvg(traced.ladder));
    await expectGolden(`${name}.html`, traceHtml(traced, extras));
    const packets = tracePcapng(traced);
    if (packets) await expectGolden(`${name}.pcapng.hex`, hexOf(packets));
  });
});

it("bench", async () => {
  const report = readRecordedResult("bench.json");
  expectSchema("bench", report);
  await expectGolden("bench.txt", `${benchText(report)}\n`);
  await expectGolden("bench.markdown", benchMarkdown(report));
  await expectGolden("bench.html", benchHtml(report));
  await expectGolden("bench.csv", benchCsv(report));
  const bounds = parseBenchBounds(
    "bounds.json",
    JSON.stringify({ [report.rows[0]!.what]: { atLeast: 0.5 } }),
  );
  await expectJson(
    "bench-bounded",
    "bench",
    applyBenchBounds({ ...report, rows: report.rows.slice(0, 3), cells: [] }, bounds),
  );
});

describe("ports", () => {
  it.each(["ports", "ports-bind"])("%s", async (name) => {
    const observation = readRecordedResult(`${name}.input.json`);
    const print = fingerprint(observation);
    await expectJson(name, "ports", portsReport(observation, print));
    await expectGolden(`${name}.txt`, `${portsText(observation, print)}\n`);
    await expectGolden(`${name}.html`, portsHtml(observation, print));
  });

  it("of the hosts in a capture", async () => {
    const reading = readRecordedResult("ports-read.input.json");
    await expectJson("ports-read", "ports-read", portsReadReport("hosts.pcap", reading));
    await expectGolden("ports-read.txt", `${portsReadText("hosts.pcap", reading)}\n`);
    await expectGolden("ports-read.html", portsReadHtml("hosts.pcap", reading));
  });
});

describe("predict", () => {
  it.each(["predict", "predict-every", "predict-never"])("%s", async (name) => {
    const { peer, algorithm, flags, trials } = readRecordedResult(`${name}.input.json`);
    const facts = { ...ENVIRONMENT, heldPorts: [50_003, 50_006], unseen: ["what an old kernel hides"] };
    const prediction = await predict({
      peer,
      method: flags.method,
      algorithm: portAlgorithm(algorithm),
      facts,
    });
    if (trials) vi.mocked(measureWaits).mockResolvedValue(trials);
    const check = trials
      ? await checkPrediction(prediction, { trials: trials.length, random: () => 0.5 })
      : null;
    const question = { clients: flags.clients, paces: pacesOf(flags), check };
    await expectJson(name, "predict", predictReport(prediction, question));
    await expectGolden(`${name}.txt`, `${predictText(prediction, question)}\n`);
  });
});

describe("audit", () => {
  it.each(["audit", "audit-port", "audit-clean", "audit-unknown"])("%s", async (name) => {
    const found = readRecordedResult(`${name}.input.json`);
    await expectJson(name, "audit", auditReport(found));
    await expectGolden(`${name}.txt`, `${auditText(found)}\n`);
    await expectGolden(`${name}.prom`, auditMetrics(found));
  });

  it("all network namespaces", async () => {
    const host = readRecordedResult("audit-host.input.json");
    await expectJson("audit-host", "audit", hostAuditReport(host));
    await expectGolden("audit-host.txt", `${hostAuditText(host)}\n`);
    await expectGolden("audit-host.prom", hostAuditMetrics(host));
  });

  it("the changes that --watch prints", async () => {
    const [first, second] = ["audit", "audit-port"].map((name) => readRecordedResult(`${name}.input.json`));
    const text = auditChangesText([first], [second], new Date("2026-11-26T12:00:00Z"));
    await expectGolden("audit-watch.txt", `${text}\n`);
  });
});

describe("who, free and reserve", () => {
  it.each(["who", "who-joined", "who-time-wait"])("%s", async (name) => {
    const found = readRecordedResult(`${name}.input.json`);
    await expectJson(name, "who", whoReport(found));
    await expectGolden(`${name}.txt`, `${whoText(found)}\n`);
    await expectGolden(`${name}-line.txt`, `${holderText(found.holders[0])}\n`);
  });

  it.each(["free", "free-refused"])("%s", async (name) => {
    const result = readRecordedResult(`${name}.input.json`);
    await expectJson(name, "free", freeReport(result));
    await expectGolden(`${name}.txt`, `${freeText(result)}\n`);
  });

  it("reserve", async () => {
    const made = readRecordedResult("reserve.input.json");
    await expectJson("reserve", "reserve", reserveReport(made));
    await expectGolden("reserve.txt", `${reserveText(made)}\n`);
  });
});

it("doctor", async () => {
  const found = readRecordedResult("doctor.input.json");
  await expectJson("doctor", "doctor", doctorReport(found));
  await expectGolden("doctor.txt", `${doctorText(found)}\n`);
});

describe("lab and report", () => {
  const labs = () => ["lab.json", "lab-second.json"].map((file) => parseLabResult(recordedText(file)));

  it.each(["lab", "lab-second"])("%s", async (name) => {
    const result = parseLabResult(recordedText(`${name}.json`));
    await expectJson(name, "lab", result);
    await expectGolden(`${name}.txt`, labText(result));
    await expectGolden(`${name}.html`, labHtml(result));
    await expectGolden(`${name}.markdown`, labMarkdown(result));
    await expectGolden(`${name}.csv`, labCsv(result));
  });

  it("the lines while a lab runs", async () => {
    const result = parseLabResult(recordedText("lab.json"));
    const titles = [...result.kernels.map(({ id }) => id), "qemu 6.1"];
    const lines = progressLines(titles, result, new Map([["qemu 6.1", "parity"]]));
    await expectGolden("lab-progress.txt", `${lines.join("\n")}\n`);
  });

  it("several results merged", async () => {
    await expectJson("report", "lab", mergeLabs(labs()));
  });

  it("two results compared", async () => {
    const comparison = compareResults(["lab.json", "lab-second.json"].map(readResult));
    await expectJson("compare", "compare", comparison);
    await expectGolden("compare.txt", `${compareText(comparison)}\n`);
  });

  it("two benchmarks compared, in every format", async () => {
    const withRounds = (factor: number) =>
      JSON.stringify(readRecordedResult("bench.json"), (key, value) =>
        key === "rounds" && Array.isArray(value)
          ? Array.from({ length: 12 }, (_, at) => value[0] * (1 + at / 100) * factor)
          : value,
      );
    const files = ["before.json", "after.json"].map((name, at) => parseResult(name, withRounds(1 - at / 4)));
    const comparison = compareResults(files);
    await expectJson("compare-bench", "compare", comparison);
    await expectSheet("compare-bench", comparisonSheet(comparison));
  });

  it("results of several commands, in every format", async () => {
    const files = ["reconnect-trials", "predict", "ports", "ports-read", "audit", "trace", "bench"];
    const results = files.map((name) => readResult(`${name}.json`));
    await expectJson("results", "report", { schema: "selfconnect.report/1", results });
    await expectSheet("results", resultSheet(results));
  });

  it("the answers beside those that were expected", async () => {
    const result = labs()[0]!;
    const [first, second, ...others] = result.findings;
    const unanswered: Finding = { ...second!, answer: "", note: "no time" };
    Reflect.deleteProperty(unanswered, "answer");
    const changed = [{ ...first!, answer: "another" }, unanswered];
    const judgement = judge({ ...result, findings: [...changed, ...others] }, expectationOf(result));
    await expectGolden("lab-expect.txt", `${judgementText(judgement)}\n`);
  });

  it("the experiments and the machines", async () => {
    const about = { expected: () => null, run: () => Promise.reject(new Error("is only listed")) };
    const experiments = [
      { ...about, name: "parity", question: "which parity does connect(2) pick?" },
      { ...about, name: "order", question: "how long is a walk of the whole range?", isSlow: true as const },
    ];
    const machines = [
      { name: "host" as const, about: "this host's kernel", missing: null },
      { name: "gvisor" as const, about: "gVisor's network stack", missing: "needs runsc" },
    ];
    const report = labListReport(experiments, machines);
    await expectJson("lab-list", "lab-list", report);
    await expectGolden("lab-list.txt", `${labListText(report)}\n`);
  });

  it("what was removed from the cache", async () => {
    const cleaned = readRecordedResult("lab-clean.input.json");
    await expectJson("lab-clean", "lab-clean", labCleanReport(cleaned));
    await expectGolden("lab-clean.txt", `${labCleanText(cleaned)}\n`);
  });

  it("the kernels that are available to a lab", async () => {
    const qemu = { machine: "qemu", isCached: false } as const;
    const kernels = [
      { ...qemu, release: "6.1.0-50-amd64", version: "6.1.176", suite: "bookworm", isCached: true },
      { ...qemu, release: "5.10.0-32-amd64", version: "5.10.257", suite: "bullseye" },
      { ...qemu, machine: "uml" as const, release: "5.10", version: "5.10um3+b1", suite: "bullseye" },
    ];
    const report = labKernelsReport(["bookworm", "bullseye"], kernels);
    await expectJson("lab-kernels", "lab-kernels", report);
    await expectGolden("lab-kernels.txt", `${labKernelsText(report)}\n`);
  });
});

it("a command on several hosts", async () => {
  const on = (command: string) => [
    { host: "host", status: 0, result: JSON.parse(recordedText(`${command}.json`)) },
    { host: "ssh:me@db1", status: null, error: "it has no Node that runs (Linux-aarch64)" },
  ];
  await expectJson("hosts", "hosts", hostsReport(on("who")));
  const commands = ["audit", "who", "ports", "predict", "bench"];
  const texts = commands.map((command) => `${command}\n${hostsText(command, on(command))}\n`);
  await expectGolden("hosts.txt", texts.join("\n"));
});

/** Functions of the door that read a file for a writer, or return the tables that several writers render. */
const READERS = [
  ...["parseBenchBounds", "checkBenchBounds", "parseResult", "measuredResult"],
  ...["comparisonSheet", "resultSheet"],
];

it("every writer of selfconnect/report has a golden", () => {
  const isRecorded = (value: unknown) => {
    if (value instanceof Uint8Array) return compared.includes(hexOf(value));
    const text = typeof value === "string" ? value : jsonOf(value as object);
    return compared.some((golden) => golden.includes(text));
  };
  const isWriter = ([name, value]: [string, unknown]) =>
    typeof value === "function" && !READERS.includes(name);
  const writers = Object.entries(report).filter(isWriter);
  const missing = writers.filter(
    ([, writer]) => !vi.mocked(writer as () => unknown).mock.results.some(({ value }) => isRecorded(value)),
  );
  expect(writers.length).toBeGreaterThan(30);
  expect(missing.map(([name]) => name)).toEqual([]);
});

it("every recorded file is compared, and every compared file was recorded before", () => {
  expect([...used].sort(), "after -u, look at the files, commit them, and run again").toEqual(recorded);
});
