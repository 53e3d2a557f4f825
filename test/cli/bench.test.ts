/** The options of `selfconnect bench` that add drivers, scans and bounds. */
import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { benchExitCode, parseDriver, parseScan } from "../../lib/cli/bench.ts";
import type { BenchRow, BenchVerdict } from "../../lib/report/index.ts";
import { command, MAIN } from "../support/harness.ts";
import { temporaryFile } from "../support/temporary.ts";

describe("--driver", () => {
  it("takes a name and a command, which may contain =", () => {
    const drivers = parseDriver("other = node x.js", parseDriver("mine=./mine --engine=fast"));
    expect(drivers).toEqual([
      { name: "mine", command: "./mine --engine=fast" },
      { name: "other", command: "node x.js" },
    ]);
  });

  it.each(["mine", "=./mine", "mine=", "mine= "])("refuses %j, and names it", (text) => {
    expect(() => parseDriver(text)).toThrow(`"${text}" is no driver`);
  });

  it("refuses a name that is taken", () => {
    expect(() => parseDriver("mine=b", parseDriver("mine=a"))).toThrow('two drivers "mine"');
  });
});

describe("--scan", () => {
  it("takes threads and ranges, in one run", () => {
    const scan = parseScan("range=40000-40127,1-65535", parseScan("threads=1,2,4"));
    const ranges = [
      { low: 40_000, high: 40_127 },
      { low: 1, high: 65_535 },
    ];
    expect(scan).toEqual({ threads: [1, 2, 4], ranges });
  });

  it.each([
    ["thread=1", '"thread=1" is no scan'],
    ["threads=", '"threads=" is no scan'],
    ["threads=1,x", '"x" is no number of threads'],
    ["threads=0", '"0" is no number of threads'],
    ["threads=65", '"65" is no number of threads, 1 to 64'],
    ["range=5", '"5" is no ephemeral range'],
    ["range=9-8", '"9-8" is no ephemeral range'],
    ["range=1-65536", '"1-65536" is no ephemeral range'],
    ["range=0-9", '"0-9" is no ephemeral range'],
  ])("refuses %s, and names the value", (text, message) => {
    expect(() => parseScan(text)).toThrow(message);
  });
});

describe("the exit code", () => {
  const rows = (...verdicts: BenchVerdict[]) =>
    verdicts.map(
      (verdict, i) => ({ what: String(i), verdict, value: verdict === "disagree" ? null : 1 }) as BenchRow,
    );
  const bounds = new Map([["0", { kind: "at least", value: 1 } as const]]);

  it.each([
    [["reached", "skipped"], 0],
    [["reached", "missed"], 1],
    [["reached", "disagree"], 1],
  ] as const)("of %j is %i", (verdicts, code) => {
    expect(benchExitCode(rows(...verdicts), null)).toBe(code);
  });

  it.each([
    [["reached", "disagree"], 0],
    [["missed", "reached"], 3],
    [["disagree", "missed"], 3],
    [["disagree", "reached"], 1],
    [[], 1],
  ] as const)("of %j with bounds of one's own is %i", (verdicts, code) => {
    expect(benchExitCode(rows(...verdicts), bounds)).toBe(code);
  });
});

it("the seconds of a cell that takes long are counted on a terminal", { timeout: 120_000 }, async () => {
  const driver = temporaryFile("slow.sh");
  writeFileSync(driver, `sleep 3; echo '{"count":1,"elapsedNs":1}'\n`);
  const run = `${process.execPath} ${MAIN} bench --only attempts --rounds 1 --cell 1ms --driver "slow=sh ${driver}"`;
  const { stdout } = await command("script", ["-qec", run, "/dev/null"]);
  const seconds = [...stdout.matchAll(/starting · slow · (\d+) s/g)].map(([, second]) => second);
  expect(new Set(seconds).size, stdout).toBeGreaterThan(2);
});
