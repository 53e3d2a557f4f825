/** What commands do with a result beside printing it: files, a baseline, the exit code of what changed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { comparisonExitCode, finishResult, parseFailOn, readBaseline } from "../../lib/cli/result-files.ts";
import { compareResults, type MeasuredResult, parseResult } from "../../lib/report/index.ts";
import { readCommands } from "../support/cli-help.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-result-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recorded = readFileSync(new URL("../golden/bench.json", import.meta.url), "utf8");

/** A benchmark of twelve rounds whose rates are `factor` times the recorded ones, and no bounds. */
function benchJson(factor: number): string {
  return JSON.stringify({ ...JSON.parse(recorded), rows: [] }, (key, value) =>
    key === "rounds" && Array.isArray(value)
      ? Array.from({ length: 12 }, (_, at) => value[0] * (1 + at / 100) * factor)
      : value,
  );
}

/** Of rates alone: a slower benchmark has a shorter time, too. */
function onlyRates(from: string, json: string): MeasuredResult {
  const result = parseResult(from, json);
  return { ...result, rows: result.rows.filter(({ unit }) => unit === "per second") };
}

const file = (name: string) => path.join(folder, name);

describe("--fail-on", () => {
  it.each([
    ["change", { what: "change", least: 0 }],
    ["worse", { what: "worse", least: 0 }],
    ["worse=5%", { what: "worse", least: 0.05 }],
    ["worse=2.5%", { what: "worse", least: 0.025 }],
  ])("takes %s", (text, failOn) => expect(parseFailOn(text)).toEqual(failOn));

  it.each(["", "better", "worse=", "worse=5", "change=5%", "worse=-5%"])("refuses %j", (text) => {
    expect(() => parseFailOn(text)).toThrow('Use "change"');
  });

  it.each([
    [1, "change", 0],
    [1, "worse", 0],
    [0.9, "change", 3],
    [0.9, "worse", 3],
    [0.9, "worse=10%", 0], // The interval reaches to less than ten percent.
    [0.7, "worse=5%", 3],
    [1.4, "worse", 0],
    [1.4, "change", 3],
    [0.7, undefined, 0],
  ])("rates that are %d times the first ones, with %s, exit with %d", (factor, text, code) => {
    const results = [1, factor].map((one, at) => onlyRates(`${at}.json`, benchJson(one)));
    const failOn = text === undefined ? {} : { failOn: parseFailOn(text) };
    expect(comparisonExitCode(compareResults(results), failOn)).toBe(code);
  });

  it("with nothing to compare the exit code is 1", () => {
    const [result] = [onlyRates("a.json", benchJson(1))];
    const comparison = compareResults([result!, { ...result!, rows: [] }]);
    expect(comparisonExitCode(comparison, {})).toBe(1);
  });
});

describe("--baseline", () => {
  it("refuses what cannot be compared, before anything is measured", () => {
    writeFileSync(file("bench.json"), benchJson(1));
    const code = "ERR_INVALID_ARGUMENT";
    const refuses = (...given: Parameters<typeof readBaseline>) =>
      expect(() => readBaseline(...given)).toThrow(expect.objectContaining({ code }));
    refuses("ports", { baseline: file("bench.json") });
    refuses("ports", { failOn: parseFailOn("worse") });
    // The recorded processor is not this one.
    refuses("bench", { baseline: file("bench.json") });
    expect(readBaseline("bench", { baseline: file("bench.json"), baselineAnyHost: true })).not.toBeNull();
    expect(() => readBaseline("bench", { baseline: file("none.json") })).toThrow("none.json: ENOENT");
    expect(readBaseline("bench", {})).toBeNull();
  });

  it("is compared after the result is printed, and in its object; files have the result alone", () => {
    const print = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const baseline = parseResult("before.json", benchJson(1));
    const report = JSON.parse(benchJson(0.7));
    const finish = (flags: Parameters<typeof finishResult>[1], code = 0) => {
      print.mockClear();
      const status = finishResult({ report, text: () => "the result" }, flags, baseline, code);
      return { status, printed: print.mock.calls.map(([text]) => text).join("") };
    };
    try {
      const failOn = parseFailOn("worse");
      const { status, printed } = finish({ failOn });
      expect(status).toBe(3);
      expect(printed).toMatch(/^the result\n\nbench: this run against before\.json\n[\s\S]*, worse/);
      const { printed: json } = finish({ json: true, output: file("after.json"), csv: file("after.csv") });
      expect(JSON.parse(json)).toMatchObject({
        schema: report.schema,
        comparison: { schema: "selfconnect.compare/1" },
      });
      expect(JSON.parse(readFileSync(file("after.json"), "utf8"))).toEqual(report);
      expect(readFileSync(file("after.csv"), "utf8").split("\r\n")[1]).toMatch(/^this run,/);
      expect(finish({ failOn }, 130).status, "an interrupted run is no verdict").toBe(130);
      expect(finish({}, 1).status).toBe(1);
    } finally {
      print.mockRestore();
    }
  });
});

describe("the table of docs/README.md", async () => {
  const page = readFileSync("docs/README.md", "utf8");
  const [, table = ""] = /\n(\| command \| `--json`[\s\S]*?)\n\n/.exec(page)!;
  const [head = [], , ...rows] = table.split("\n").map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const columns = head.slice(1).map((cell) => /--[\w-]+/.exec(cell)![0]);
  const commands = await readCommands();
  const has = (command: Command, flag: string) => command.options.some(({ long }) => long === flag);

  it("has every command with --csv, and those that measure", () => {
    const named = rows.map(([name]) => name!.replaceAll("`", ""));
    const found = [...commands].filter(([, command]) => has(command, "--csv")).map(([name]) => name);
    expect(named.toSorted()).toEqual(found.toSorted());
    for (const name of ["reconnect", "ports", "predict", "lab", "bench", "audit", "trace"])
      expect(named).toContain(name);
  });

  it.each(rows)("%s: a yes is an option, anything else a reason", (name, ...cells) => {
    const command = commands.get(name!.replaceAll("`", ""))!;
    for (const [at, cell] of cells.entries()) {
      expect([columns[at], has(command, columns[at]!)]).toEqual([columns[at], cell === "yes"]);
      if (cell !== "yes") expect(cell.length, `${name} ${columns[at]}`).toBeGreaterThan(3);
    }
  });
});
