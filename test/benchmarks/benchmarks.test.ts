/** The benchmark: its statistics, when it prints no ratio, and that one command runs every kind of driver. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DIALERS, dialerRows } from "../../benchmarks/dialers.ts";
import { Workshop } from "../../benchmarks/drivers.ts";
import type { Door, GuardPlace } from "../../benchmarks/guard.ts";
import { BUSY_PLACES, DOORS, GUARD_PLACES, guardCell, guardRows, MOMENTS } from "../../benchmarks/guard.ts";
import { Ledger } from "../../benchmarks/ledger.ts";
import { agrees, pairedRatio } from "../../benchmarks/ratio.ts";
import { computeBenchRows } from "../../benchmarks/rows.ts";
import { mostSockets, ROUND } from "../../benchmarks/trials.ts";
import { benchFigure } from "../../lib/report/bench.ts";
import type { BenchReport } from "../../lib/report/index.ts";
import { benchHtml, benchMarkdown } from "../../lib/report/index.ts";
import { cli, command, interruptAfter, MAIN, needsNamespaces, random } from "../support/harness.ts";

const schema = JSON.parse(readFileSync(new URL("../../docs/schema/bench-1.json", import.meta.url), "utf8"));
const validate = new Ajv2020({ strict: true, allErrors: true }).compile(schema);

function parseValid(stdout: string): BenchReport {
  const report = JSON.parse(stdout);
  validate(report);
  expect(validate.errors).toBeNull();
  return report;
}

describe("the ratio of paired rounds", () => {
  it("is the median of the ratios within rounds, not the ratio of medians", () => {
    // The machine slows down tenfold half-way, which cancels out within each round.
    const ours = [100, 102, 98, 10, 10.2, 9.8, 10];
    const peer = [50, 51, 49, 5, 5.1, 4.9, 5];
    const ratio = pairedRatio(ours, peer)!;
    expect([ratio.median, ratio.low, ratio.high].map((value) => value.toFixed(6))).toEqual(
      Array(3).fill("2.000000"),
    );
    expect(agrees(ratio)).toBe(true);
  });

  it.each([
    // The chance that the true median is outside of all n rounds is 2 / 2^n. From 9 on one round may be left out.
    [1, 0, 0],
    [5, 0, 1 - 2 / 2 ** 5],
    [6, 0, 1 - 2 / 2 ** 6],
    [9, 1, 1 - (2 * (1 + 9)) / 2 ** 9],
    [10, 1, 1 - (2 * (1 + 10)) / 2 ** 10],
    [12, 2, 1 - (2 * (1 + 12 + 66)) / 2 ** 12],
  ])("of %i rounds leaves out %i at each end, with confidence %f", (count, outside, confidence) => {
    const rounds = Array.from({ length: count }, (_, i) => i + 1);
    const ratio = pairedRatio(rounds, Array(count).fill(1))!;
    expect(ratio).toMatchObject({ low: 1 + outside, high: count - outside, rounds: count });
    expect(ratio.confidence).toBeCloseTo(confidence, 12);
  });

  it("covers the true median as often as its confidence, whatever the noise", () => {
    const { next, seed } = random();
    const trials = 2000;
    let covered = 0;
    let confidence = 0;
    for (let trial = 0; trial < trials; trial++) {
      // Skewed on purpose: a ratio of two waiting times has no mean at all; its median is 1.
      const noise = () => Array.from({ length: 10 }, () => -Math.log(1 - next()));
      const ratio = pairedRatio(noise(), noise())!;
      if (ratio.low <= 1 && 1 <= ratio.high) covered++;
      confidence = ratio.confidence;
    }
    // Five standard deviations of a binomial: one run in two million strays further.
    const stray = 5 * Math.sqrt((confidence * (1 - confidence)) / trials);
    expect(Math.abs(covered / trials - confidence), `SEED=${seed}`).toBeLessThan(stray);
  });

  it("uses only the rounds that both have, and is null without any", () => {
    expect(pairedRatio([2, 4, 6], [1, 2])).toMatchObject({ median: 2, rounds: 2 });
    expect(pairedRatio([], [1])).toBeNull();
  });
});

describe("a row", () => {
  const plan = (name: string) => ROUND.find((one) => one.name === name)!;
  const measured = (rate: number) => ({ count: rate, elapsedNs: 1e9, cost: null });

  function reuseRow(ours: number[], limit: number[]) {
    const ledger = new Ledger();
    for (const rate of ours) ledger.add(plan("selfconnect reuse"), measured(rate));
    for (const rate of limit) ledger.add(plan("C, one socket again"), measured(rate));
    const sockets = { few: "few", many: "many", because: null };
    return computeBenchRows(ledger.results(), { bytes: null, text: "" }, sockets)[0]!;
  }

  it.each([
    ["reached", [98, 99, 100, 97, 98, 99]],
    ["missed", [90, 91, 90, 92, 90, 91]],
  ])("is %s by its median", (verdict, ours) => {
    expect(reuseRow(ours, Array(6).fill(100))).toMatchObject({ verdict, because: null });
  });

  it("has no figure where rounds disagree, and reports that", () => {
    const row = reuseRow([100, 100, 60, 100, 130, 100], Array(6).fill(100));
    expect(row).toMatchObject({ verdict: "disagree", value: null, low: null, high: null });
    expect(benchFigure(row)).toBe("rounds disagree: 0.600 to 1.30");
  });

  it("is skipped, with the reason, where a driver is missing", () => {
    const ledger = new Ledger();
    ledger.add(plan("selfconnect reuse"), measured(100));
    ledger.miss(plan("Go net.Dial"), "go is not installed (Debian: golang)");
    const sockets = { few: "few", many: "many", because: null };
    const rows = computeBenchRows(ledger.results(), { bytes: null, text: "" }, sockets);
    expect(rows.find((row) => row.what.includes("Go"))).toMatchObject({
      verdict: "skipped",
      because: "Go net.Dial: go is not installed (Debian: golang)",
    });
  });
});

describe("the rows of connectMany()", () => {
  const plan = (name: string) => ROUND.find((one) => one.name === name)!;
  const START_US = 5000;

  /** Six rounds of 100 connects a second, with this CPU time per connect and that of the start. */
  function cpuRows(microseconds: Readonly<Record<string, number>>) {
    const ledger = new Ledger();
    for (const [name, us] of Object.entries(microseconds)) {
      const measured = (cpuUs: number) => ({
        count: 100,
        elapsedNs: 1e9,
        cost: { cpuUs, peakMemoryBytes: 1 },
      });
      ledger.addStart(plan(name), measured(START_US));
      for (let round = 0; round < 6; round++) ledger.add(plan(name), measured(START_US + 100 * us));
    }
    return rowsOfMany(ledger);
  }

  function rowsOfMany(ledger: Ledger) {
    const sockets = { few: "few", many: "many", because: null };
    const rows = computeBenchRows(ledger.results(), { bytes: null, text: "" }, sockets);
    return rows.filter(({ what }) => what.startsWith("CPU time to connect and reset, connectMany()"));
  }

  it("compare the CPU time of a connect, whatever the rates are", () => {
    const live = { "connectMany() connect": 45, "node:net connect": 90 };
    const rows = cpuRows({ ...live, "C connect": 36, "node:net connect, 32 in flight": 72 });
    expect(rows.map(({ value }) => value)).toEqual([1.25, 0.5, 0.625]);
    expect(rows.map(({ verdict }) => verdict)).toEqual(["missed", "reached", "missed"]);
    expect(rows[1]!.bound).toEqual({ kind: "at most", value: 0.55 });
    expect(rows[2]!.because).toBe(
      "the limit in this run: C connect, 0.500 times node:net connect, 32 in flight",
    );
  });

  it("take the CPU time that a driver has measured itself, however much its start took", () => {
    const ledger = new Ledger();
    for (const [name, us] of Object.entries({ "connectMany() connect": 22, "C connect": 20 })) {
      const cost = { cpuUs: 10 * START_US, peakMemoryBytes: 1 };
      const measured = { count: 100, elapsedNs: 1e9, cpuNs: 100 * us * 1000, cost };
      ledger.addStart(plan(name), measured);
      for (let round = 0; round < 6; round++) ledger.add(plan(name), measured);
    }
    expect(rowsOfMany(ledger)[0]).toMatchObject({ value: 1.1, verdict: "reached" });
  });

  it("have no figure where the start of the driver took most of its CPU time", () => {
    const live = { "connectMany() connect": 10, "node:net connect": 50 };
    expect(cpuRows(live)[1]).toMatchObject({ value: null });
  });

  it("are skipped where the CPU time was not measured", () => {
    expect(cpuRows({ "node:net connect": 50 })).toMatchObject([
      { verdict: "skipped", value: null },
      { verdict: "skipped", value: null },
      { verdict: "skipped", value: null },
    ]);
  });
});

describe("the guard's rows", () => {
  const [outside, , inside] = GUARD_PLACES;

  /** Medians in microseconds until 'connect' and until 'close', the same in every round. */
  function guardLedger(place: GuardPlace, microseconds: Readonly<Record<string, number>>): Ledger {
    const ledger = new Ledger();
    for (const [door, us] of Object.entries(microseconds)) {
      for (const moment of MOMENTS) {
        const elapsedNs = us * 1000 * (moment === "close" ? 2 : 1);
        for (let round = 0; round < 6; round++)
          ledger.add(guardCell(place, door as Door, moment), { count: 1, elapsedNs, cost: null });
      }
    }
    return ledger;
  }

  it("are ratios of times with a bound", () => {
    const ledger = guardLedger(outside!, {
      "node:net": 20,
      "least guard": 20.5,
      "selfconnect connect()": 20.8,
    });
    const rows = guardRows(ledger.results());
    expect(rows.map(({ value }) => value!.toFixed(3))).toEqual(["1.040", "1.025", "1.040"]);
    expect(rows.map(({ verdict }) => verdict)).toEqual(["reached", "reported", "reported"]);
    expect(rows[0]!.bound).toEqual({ kind: "at most", value: 1.05 });
  });

  it("name the least guard of the run where the bound is missed", () => {
    const ledger = guardLedger(inside!, {
      "node:net": 20,
      "least guard": 21.2,
      "selfconnect connect()": 21.4,
    });
    expect(guardRows(ledger.results())[0]).toMatchObject({
      verdict: "missed",
      because: "the least guard in this run: 1.060",
    });
  });

  it("have no bound where many ports are in use", () => {
    const busy = BUSY_PLACES.at(-1)!;
    const rows = guardRows(guardLedger(busy, { "node:net": 20, "selfconnect connect()": 40 }).results());
    expect(rows[0]).toMatchObject({ verdict: "reported", bound: null, value: 2 });
    expect(rows[0]!.what).toContain(`${busy.heldPorts} ports in use`);
  });

  it("are skipped, with the reason, without the least guard, and absent where not selected", () => {
    const ledger = guardLedger(inside!, { "node:net": 20, "selfconnect connect()": 22 });
    ledger.miss(guardCell(inside!, "least guard", "connect"), "no koffi");
    const [guarded, least] = guardRows(ledger.results());
    expect(guarded).toMatchObject({ verdict: "missed", because: null });
    expect(least).toMatchObject({ verdict: "skipped", because: expect.stringContaining("no koffi") });
    expect(guardRows(new Ledger().results())).toEqual([]);
  });
});

describe("the dialers' rows", () => {
  const [go, ours] = DIALERS;
  const makeCounted = (counts: Record<string, number>) => ({
    count: 1000,
    elapsedNs: 1e9,
    cost: null,
    counts,
  });

  it.each([
    [0, 0, ["reached", "reached"]],
    [1, 0, ["missed", "reached"]],
    [0, 7, ["reached", "missed"]],
  ])("of dial() with %i returned and %i ports not free", (handedOut, portNotFree, verdicts) => {
    const ledger = new Ledger();
    ledger.add(ours!, makeCounted({ handedOut, portNotFree, rejected: 3 }));
    const rows = dialerRows(ledger.results());
    expect(rows.map(({ verdict }) => verdict)).toEqual(verdicts);
    expect(rows.map(benchFigure)).toEqual([String(handedOut), String(portNotFree)]);
    expect(rows[0]!.because).toBe("3 attempts rejected");
  });

  it("have no bound for other dialers", () => {
    const ledger = new Ledger();
    ledger.add(go!, makeCounted({ handedOut: 1000, portNotFree: 0 }));
    const [row] = dialerRows(ledger.results());
    expect(row).toMatchObject({ value: 1000, verdict: "reported", bound: null });
    expect(benchFigure(row!)).toBe("1,000");
    expect(dialerRows(new Ledger().results())).toEqual([]);
  });
});

it("a driver whose compiler is missing says which, and its package", () => {
  vi.stubEnv("PATH", "/nowhere");
  using workshop = new Workshop();
  expect(() => workshop.command("reuse.c")).toThrow("cc is not installed (Debian: gcc)");
  vi.unstubAllEnvs();
});

it("uses no more sockets than the limit of open files allows", () => {
  expect(mostSockets(20_000)).toBe(19_000);
  expect(mostSockets(1024)).toBe(1000);
  expect(mostSockets(10 ** 7)).toBe(100_000);
});

// Dozens of processes start, each a program of its own: on a busy machine that takes its time.
describe("selfconnect bench", { timeout: 120_000 }, () => {
  const briefly = ["--rounds", "1", "--cell", "20ms"];
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Writes a tool that prints a driver's answer, except in the calls with these numbers: those fail. */
  function writeTool(name: string, failing: string): void {
    const answer = '{ "count": 100, "elapsedNs": 20000000 }';
    writeFileSync(
      path.join(folder, name),
      `#!/bin/sh
echo call >> ${folder}/${name}.calls
count=0; while read -r _; do count=$((count + 1)); done < ${folder}/${name}.calls
case $count in ${failing}) echo "the port was taken" >&2; exit 1;; esac
echo '${answer}'
`,
      { mode: 0o755 },
    );
  }

  it("measures every driver or names it as skipped: again one that fails, never one that fails in every try", async () => {
    // A PATH with a C compiler and two interpreters of our own. Of these the first call is the driver's start; the
    // second, and the third where that failed, are the round's. bash has two drivers, whose starts come first: its
    // third call is the first of the round.
    writeTool("bash", "3");
    writeTool("python3", "[23]");
    for (const tool of ["cc", "as", "ld"]) {
      const { stdout } = await command("/bin/sh", ["-c", `command -v ${tool}`]);
      if (stdout) symlinkSync(stdout.trim(), path.join(folder, tool));
    }
    const args = [process.execPath, MAIN, "bench", ...briefly, "--only", "attempts,connects", "--json"];
    const run = ["-c", `PATH=${folder} exec "$@"`, "sh", ...args];
    const { stdout, stderr } = await command("/bin/sh", run);
    expect(stderr, "progress, and nothing else").toMatch(/^(.* · \d+ s\n)*$/);
    const report = parseValid(stdout);
    const planned = ROUND.filter(({ trial }) => trial === "attempts" || trial === "connects");
    const named = [...report.cells, ...report.skipped].map(({ name }) => name);
    expect(named.sort()).toEqual(planned.map(({ name }) => name).sort());
    const reasons = new Map(report.skipped.map(({ name, because }) => [name, because]));
    // Drivers that need no other tool must run wherever the tests run.
    const needed = ["fresh", "reuse", "fresh, plain", "reuse, plain"].map((name) => `selfconnect ${name}`);
    needed.push("C, one socket again", "TcpSocket", "connectMany()", "connectMany() connect", "node:net");
    needed.push("bash /dev/tcp");
    expect(needed.filter((name) => reasons.has(name))).toEqual([]);
    expect(reasons.get("Python")).toBe("the port was taken");
    expect(reasons.get("Go net.Dial")).toBe("go is not installed (Debian: golang)");
  });

  it("prints tables, and writes Markdown and a page that loads nothing", async () => {
    const [markdown, html] = [path.join(folder, "bench.md"), path.join(folder, "bench.html")];
    const csv = path.join(folder, "bench.csv");
    const files = ["--markdown", markdown, "--html", html, "--csv", csv];
    const { status, stdout } = await cli(["bench", ...briefly, "--only", "self-connects,time", ...files]);
    expect(status === 0 || status === 1).toBe(true);
    for (const text of [stdout, readFileSync(markdown, "utf8"), readFileSync(html, "utf8")]) {
      expect(text).toContain("self-connects by range, to C");
      expect(text).toContain("selfconnect fresh until joined");
    }
    const [header, ...lines] = readFileSync(csv, "utf8").split("\r\n");
    expect(header).toBe("trial,name,round,figure");
    expect(lines.find((line) => line.startsWith("self-connects,selfconnect range,1,"))).toMatch(
      /,\d+(\.\d+)?$/,
    );
    const page = readFileSync(html, "utf8");
    expect(page).toContain("<svg");
    expect(page).not.toMatch(/\b(https?|wss?|ftp):|url\(|@import|(src|href)="(?!data:,")/);
  });

  it("measures the guard, and the dialers in new namespaces", async (context) => {
    needsNamespaces(context);
    const { stdout } = await cli(["bench", ...briefly, "--only", "guard,dials", "--json"]);
    const { cells, rows, skipped } = parseValid(stdout);
    expect(skipped.filter(({ name }) => !name.startsWith("Go"))).toEqual([]);
    for (const place of GUARD_PLACES)
      for (const door of DOORS)
        expect(cells.map(({ name }) => name)).toContain(guardCell(place, door, "close").name);
    const dials = rows.filter(({ what }) => what.startsWith("dial()"));
    expect(dials.map(({ verdict }) => verdict)).toEqual(new Array(8).fill("reached"));
    // The control: in these ranges self-connects happen.
    expect(cells.find(({ name }) => name === "dial(), one port")!.counts!.rejected).toBe(3000);
  }, 180_000);

  it("prints the rounds so far when it is interrupted, and exits with 130", async () => {
    const args = ["bench", "--rounds", "1000", "--only", "self-connects", "--cell", "20ms", "--json"];
    const { status, stdout } = await cli(args, interruptAfter(2500));
    expect(status).toBe(130);
    expect(parseValid(stdout).isInterrupted).toBe(true);
  });

  it.for([
    100, 400, 700,
  ])("exits with 130 when it is interrupted after %i ms, whatever it does then", async (afterMs) => {
    const args = ["bench", "--rounds", "1000", "--only", "self-connects", "--cell", "20ms", "--json"];
    expect(await cli(args, interruptAfter(afterMs))).toMatchObject({ status: 130, stderr: "" });
  });

  it("rejects an unknown trial", async () => {
    const { status, stderr } = await cli(["bench", "--only", "speed"]);
    expect(status).toBe(2);
    expect(stderr).toContain('"speed" is not a trial. Use attempts,self-connects,');
  });
});

it("Markdown and HTML escape the text of a driver", () => {
  const report = {
    environment: {},
    elapsedMs: 0,
    rows: [],
    cells: [],
    skipped: [{ name: "<script>", because: "a | b" }],
  } as unknown as BenchReport;
  expect(benchHtml(report)).not.toContain("<script>");
  expect(benchMarkdown(report)).toContain("\\<script\\>: a \\| b");
});
