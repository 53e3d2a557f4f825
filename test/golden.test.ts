/**
 * Goldens: recorded results of every command, and what each writer makes of them, byte for byte. A move keeps them;
 * a change of wording shows in them: `npx vitest run test/golden.test.ts -u`, then look at the difference.
 *
 * In test/golden/, `x.input.json` is what the library returned in a real run; `x.json` is the object of --json.
 */
import { readdirSync, readFileSync } from "node:fs";
import { format } from "node:util";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, vi } from "vitest";
import { report as auditObject, tell as printAudit, printChanges } from "../lib/cli/audit.ts";
import { tell as printBench } from "../lib/cli/bench.ts";
import { report as dialObject, tell as printDial } from "../lib/cli/dial.ts";
import { listKernels } from "../lib/cli/lab.ts";
import { facts as portsFacts, report as portsObject, tell as printPorts } from "../lib/cli/ports.ts";
import { report as predictObject, tell as printPredict, held as runCheck } from "../lib/cli/predict.ts";
import { progressLines } from "../lib/cli/progress.ts";
import {
  announce,
  liveText,
  tell as printReconnect,
  report as reconnectObject,
} from "../lib/cli/reconnect.ts";
import { pcapngOf, tell as printTrace, report as traceObject } from "../lib/cli/trace.ts";
import { environment, portFacts } from "../lib/kernel/host.ts";
import { rowsOf, socketOwner, socketTable } from "../lib/kernel/tables.ts";
import { KernelShelf } from "../lib/lab/kernels.ts";
import { portAlgorithm } from "../lib/ports/algorithms.ts";
import { fingerprint } from "../lib/ports/fingerprint.ts";
import { predict } from "../lib/ports/predict.ts";
import { waitTrials } from "../lib/ports/trials.ts";
import { auditMetrics } from "../lib/report/audit-openmetrics.ts";
import { benchHtml } from "../lib/report/bench-html.ts";
import { benchMarkdown } from "../lib/report/bench-markdown.ts";
import { compareLabs, compareText } from "../lib/report/lab-compare.ts";
import { labCsv } from "../lib/report/lab-csv.ts";
import { labHtml } from "../lib/report/lab-html.ts";
import { labMarkdown } from "../lib/report/lab-markdown.ts";
import { mergeLabs } from "../lib/report/lab-merge.ts";
import { parseLabResult } from "../lib/report/lab-schema.ts";
import { labText } from "../lib/report/lab-text.ts";
import { ladderSvg } from "../lib/report/ladder-svg.ts";
import { portsHtml } from "../lib/report/ports-html.ts";
import { traceHtml } from "../lib/report/trace-html.ts";
import { listenRefusal } from "../lib/socket/listen-refusal.ts";

// The census has loaded lib/ before this file could replace anything in it.
vi.hoisted(() => vi.resetModules());
// Writers that ask this host a question get the recorded answer.
vi.mock("../lib/kernel/host.ts", { spy: true });
vi.mock("../lib/kernel/tables.ts", { spy: true });
vi.mock("../lib/socket/listen-refusal.ts", { spy: true });
vi.mock("../lib/ports/trials.ts", { spy: true });

const FOLDER = new URL("golden/", import.meta.url);
const ENVIRONMENT = JSON.parse(readFileSync(new URL("environment.json", FOLDER), "utf8"));
const recorded = readdirSync(FOLDER).sort();
const used = new Set(["environment.json"]);

vi.mocked(environment).mockReturnValue(ENVIRONMENT);
vi.mocked(portFacts).mockReturnValue(ENVIRONMENT);
// Recorded without colours, whatever terminal the tests run in.
process.stdout.hasColors = () => false;

function recordedText(file: string): string {
  used.add(file);
  return readFileSync(new URL(file, FOLDER), "utf8");
}

/** A recorded result. What JSON has no form for is written as an object of one key. */
function recordedResult(file: string) {
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
  await expect(text).toMatchFileSnapshot(new URL(file, FOLDER).pathname);
}

/** The object as --json prints it, and that it is of its published schema. */
async function expectJson(name: string, schema: string, object: object): Promise<void> {
  const text = `${JSON.stringify(object, null, 2)}\n`;
  expectSchema(schema, JSON.parse(text));
  await expectGolden(`${name}.json`, text);
}

function expectSchema(schema: string, object: unknown): void {
  const url = new URL(`../docs/schema/${schema}-1.json`, import.meta.url);
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  const validate = ajv.compile(JSON.parse(readFileSync(url, "utf8")));
  validate(object);
  expect(validate.errors).toBeNull();
}

/** What a command prints on stdout. */
async function printed(print: () => void | Promise<void>): Promise<string> {
  let text = "";
  const log = vi.spyOn(console, "log").mockImplementation((...parts) => {
    text += `${format(...parts)}\n`;
  });
  try {
    await print();
  } finally {
    log.mockRestore();
  }
  return text;
}

/** Receives what was sent, as a socket joined to itself does. */
function echoingSocket() {
  let sent = new Uint8Array();
  return {
    send(bytes: Uint8Array) {
      sent = Uint8Array.from(bytes);
      return bytes.length;
    },
    recv(into: Uint8Array) {
      into.set(sent);
      return sent.length;
    },
  };
}

describe("reconnect", () => {
  const flags = { strategy: "fresh", attempts: 5_000_000, duration: 60_000, trials: 1, threads: 1 } as const;
  const signal = new AbortController().signal;

  it("joined to itself, with the harm", async () => {
    const { never, results, row } = recordedResult("reconnect.input.json");
    await expectJson("reconnect", "reconnect", reconnectObject(results, never));
    vi.mocked(rowsOf).mockReturnValue([row]);
    vi.mocked(socketOwner).mockReturnValue({ pid: 4242, command: "node" });
    vi.mocked(listenRefusal).mockReturnValueOnce("EADDRINUSE").mockReturnValueOnce(null);
    const socket = { ...echoingSocket(), getpeername: () => results[0].peer, reset: () => {} };
    await expectGolden(
      "reconnect.txt",
      await printed(() => printReconnect([{ ...results[0], socket }], flags, signal)),
    );
  });

  it("three trials", async () => {
    const { never, results } = recordedResult("reconnect-trials.input.json");
    await expectJson("reconnect-trials", "reconnect", reconnectObject(results, never));
    const text = await printed(() => printReconnect(results, { ...flags, trials: 3 }, signal));
    await expectGolden("reconnect-trials.txt", text);
  });

  it("never", async () => {
    const { never, results } = recordedResult("reconnect-never.input.json");
    await expectJson("reconnect-never", "reconnect", reconnectObject(results, never));
    await expectGolden("reconnect-never.txt", await printed(() => printReconnect(results, flags, signal)));
  });

  it("a listener answers", async () => {
    const { never, results } = recordedResult("reconnect-listener.input.json");
    const { row } = recordedResult("reconnect.input.json");
    await expectJson("reconnect-listener", "reconnect", reconnectObject(results, never));
    vi.mocked(socketTable).mockReturnValue([{ ...row, local: results[0].peer, state: "LISTEN" }]);
    vi.mocked(socketOwner).mockReturnValue({ pid: 4242, command: "node" });
    await expectGolden("reconnect-listener.txt", await printed(() => printReconnect(results, flags, signal)));
  });

  it("the lines before and while it runs", async () => {
    const { results } = recordedResult("reconnect.input.json");
    const loop = results[0];
    const text = await printed(() => {
      announce(loop);
      console.log(liveText(loop, loop, "trial 1/3 · "));
    });
    await expectGolden("reconnect-live.txt", text);
  });
});

describe("dial", () => {
  it.each(["dial", "dial-failed", "dial-self-connect"])("%s", async (name) => {
    const { asked, ...outcome } = recordedResult(`${name}.input.json`);
    await expectJson(name, "dial", dialObject(asked, outcome));
    await expectGolden(`${name}.txt`, await printed(() => printDial(asked, outcome)));
  });
});

describe("trace", () => {
  it.each(["trace", "trace-pair", "trace-without-packets"])("%s", async (name) => {
    const { peer, traced, table, flags } = recordedResult(`${name}.input.json`);
    const hasPackets = traced.capture !== null;
    await expectJson(name, "trace", traceObject(peer, traced, table, flags));
    await expectGolden(
      `${name}.txt`,
      await printed(() => printTrace(traced, table, hasPackets ? ["x.svg (SVG)"] : [], flags)),
    );
    if (hasPackets) await expectGolden(`${name}.svg`, ladderSvg(traced.ladder));
    const packets = hasPackets ? pcapngOf(traced) : null;
    const page = { packets, leavings: table, sent: flags.data ?? null, environment: ENVIRONMENT };
    await expectGolden(`${name}.html`, traceHtml(traced, page));
  });
});

it("bench", async () => {
  const report = recordedResult("bench.json");
  expectSchema("bench", report);
  await expectGolden("bench.txt", await printed(() => printBench(report)));
  await expectGolden("bench.markdown", benchMarkdown(report));
  await expectGolden("bench.html", benchHtml(report));
});

describe("ports", () => {
  it.each(["ports", "ports-bind"])("%s", async (name) => {
    const observation = recordedResult(`${name}.input.json`);
    const print = fingerprint(observation);
    await expectJson(name, "ports", portsObject(observation, print));
    await expectGolden(`${name}.txt`, await printed(() => printPorts(observation, print)));
    await expectGolden(`${name}.html`, portsHtml(observation, print, portsFacts(print)));
  });
});

describe("predict", () => {
  it.each(["predict", "predict-every", "predict-never"])("%s", async (name) => {
    const { peer, algorithm, flags, trials } = recordedResult(`${name}.input.json`);
    const prediction = await predict({ peer, method: flags.method, algorithm: portAlgorithm(algorithm) });
    if (trials) vi.mocked(waitTrials).mockResolvedValue(trials);
    const check = trials ? await runCheck(prediction, flags, new AbortController().signal) : null;
    await expectJson(name, "predict", predictObject(prediction, flags, check));
    await expectGolden(`${name}.txt`, await printed(() => printPredict(prediction, flags, check)));
  });
});

describe("audit", () => {
  const flags = { duration: 3_600_000 };

  it.each(["audit", "audit-port", "audit-clean"])("%s", async (name) => {
    const found = recordedResult(`${name}.input.json`);
    const port = name === "audit-port" && { port: found.listeners[0].local.port };
    await expectJson(name, "audit", auditObject(found));
    await expectGolden(`${name}.txt`, await printed(() => printAudit(found, { ...flags, ...port })));
    await expectGolden(`${name}.prom`, auditMetrics(found));
  });

  it("the changes that --watch prints", async () => {
    const [first, second] = ["audit", "audit-port"].map((name) => recordedResult(`${name}.input.json`));
    vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-11-26T12:00:00Z") });
    try {
      await expectGolden("audit-watch.txt", await printed(() => printChanges(first, second, flags)));
    } finally {
      vi.useRealTimers();
    }
  });
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
    const lines = progressLines(titles, result, { kernel: "qemu 6.1", experiment: "parity" });
    await expectGolden("lab-progress.txt", `${lines.join("\n")}\n`);
  });

  it("several results in one", async () => {
    await expectJson("report", "lab", mergeLabs(labs()));
  });

  it("two results compared", async () => {
    const [first, second] = labs();
    const comparison = compareLabs(first!, second!);
    await expectJson("compare", "compare", comparison);
    await expectGolden("compare.txt", compareText(comparison));
  });

  it("the kernels that a lab can have", async () => {
    const kernel = { release: "6.1.0-50-amd64", version: "6.1.176", suite: "bookworm", isCached: true };
    const kernels = [
      kernel,
      { release: "5.10.0-32-amd64", version: "5.10.257", suite: "bullseye", isCached: false },
    ];
    vi.spyOn(KernelShelf.prototype, "offered").mockReturnValue(kernels);
    const flags = { suites: ["bookworm", "bullseye"], cache: "cache" };
    await expectGolden("lab-kernels.txt", await printed(() => listKernels(flags)));
    const json = await printed(() => listKernels({ ...flags, json: true }));
    await expectJson("lab-kernels", "lab-kernels", JSON.parse(json));
  });
});

it("every recorded file is compared, and every compared file was recorded before", () => {
  expect([...used].sort(), "after -u, look at the files, commit them, and run again").toEqual(recorded);
});
