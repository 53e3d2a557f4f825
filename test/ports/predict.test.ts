/** The model against known figures, the simulator against the closed form, and both against real self-connects. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { chiSquared, goodnessOfFit, seededRandom, summarize } from "../../lib/loop/statistics.ts";
import {
  PORT_ALGORITHMS,
  PortWalk,
  portAlgorithm,
  predict,
  simulateWait,
  waitFor,
} from "../../lib/ports/index.ts";
import { cli, command, MAIN, needsNamespaces, random, runInNamespace } from "../support/harness.ts";

const FACTS = { ephemeralRange: { low: 32_768, high: 60_999 }, unusable: [] };
const FAST = 50_000;

describe("the distribution of the wait", () => {
  // Mean, median and p99, measured on these kernels before this code was written.
  test.each([
    ["linux-5.18", FAST, [12_548, 8_722, 57_570]],
    ["linux-5.18", 1, [14_116, 9_784, 65_004]],
    ["linux-6.8-range", FAST, [25_095, 17_445, 115_140]],
    ["linux-5.12", FAST, [7_473, 7_058, 25_002]],
    ["linux-4.6", FAST, [7_058, 7_058, 13_975]],
    ["linux-bind", FAST, [14_116, 9_784, 65_004]],
  ])("%s at %i attempts a second", (name, rate, [mean, median, p99]) => {
    const wait = waitFor(portAlgorithm(name), FACTS, name === "linux-bind" ? 50_001 : 50_000, rate);
    const ratios = [wait.mean / mean!, wait.quantile(0.5) / median!, wait.quantile(0.99) / p99!];
    for (const ratio of ratios) expect(ratio).toBeCloseTo(1, 2.5);
  });

  test("lies between 8n/9 and n at every rate, and grows as salts come more often", () => {
    const means = [100_000, 2000, 500, 100, 10, 1, 0.01].map(
      (rate) => waitFor(portAlgorithm("linux-5.18"), FACTS, 50_000, rate).mean / 14_116,
    );
    expect(means).toEqual([...means].sort((a, b) => a - b));
    expect(means[0]).toBeCloseTo(8 / 9, 2);
    expect(means.at(-1)).toBeCloseTo(1, 2);
  });

  test.each(PORT_ALGORITHMS.map(({ name }) => name))("%s agrees with the simulator", (name) => {
    const algorithm = portAlgorithm(name);
    const facts = { ephemeralRange: { low: 32_768, high: 34_815 }, unusable: [] };
    const port = algorithm.parity === "other" ? 33_001 : 33_000;
    for (const rate of [FAST, 20]) {
      const wait = waitFor(algorithm, facts, port, rate);
      const random = seededRandom(20);
      const waits = Array.from({ length: 1000 }, () => simulateWait(algorithm, facts, port, rate, random)!);
      expect(goodnessOfFit(waits, wait.cdf).p).toBeGreaterThan(0.001);
      expect(summarize(waits)!.mean / wait.mean).toBeGreaterThan(0.9);
      expect(summarize(waits)!.mean / wait.mean).toBeLessThan(1.1);
    }
  });

  test("seven listeners just below the port: 55 attempts, where a count of the ports says 444", () => {
    const held = [1, 2, 3, 4, 5, 6, 7].map((index) => ({
      low: 33_000 - 2 * index,
      high: 33_000 - 2 * index,
    }));
    const facts = { ephemeralRange: { low: 32_768, high: 33_767 }, unusable: held };
    expect(waitFor(portAlgorithm("linux-5.18"), facts, 33_000, FAST).mean).toBeCloseTo(55.4, 0);
  });

  test("takes less than a second for the widest range, at any pace, with any block of reserved ports", () => {
    const ephemeralRange = { low: 1024, high: 65_535 };
    for (const unusable of [[], [{ low: 30_000, high: 49_999 }]]) {
      for (const rate of [FAST, 300, 1]) {
        const wait = waitFor(portAlgorithm("linux-5.18"), { ephemeralRange, unusable }, 50_000, rate);
        const began = process.cpuUsage();
        expect(wait.quantile(0.5)).toBeLessThan(wait.mean);
        const { user, system } = process.cpuUsage(began);
        expect((user + system) / 1e6).toBeLessThan(2); // Twice the promise: other tests share the machine.
      }
    }
  });

  test("random small worlds: holders, blocks, odd ends, step widths, every algorithm and pace, as the simulator has it", () => {
    const { seed, next } = random();
    const int = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
    const suspects: string[] = [];
    for (let world = 0; world < 120; world++) {
      const size = next() < 0.6 ? int(1, 12) : int(13, 100);
      const ephemeralRange = { low: int(1024, 1027), high: 0 };
      ephemeralRange.high = ephemeralRange.low + size - 1;
      const port = int(ephemeralRange.low, ephemeralRange.high);
      const density = [0, 0.1, 0.5, 0.9][int(0, 3)]!;
      const all = Array.from({ length: size }, (_, index) => ephemeralRange.low + index);
      const unusable = all
        .filter((one) => one !== port && next() < density)
        .map((one) => ({ low: one, high: one }));
      const facts = {
        ephemeralRange,
        unusable,
        stepWidth: next() < 0.2 ? int(1, 60) : 0,
        reuseAddress: next() < 0.5,
      };
      const algorithm = PORT_ALGORITHMS[next() < 0.5 ? 0 : int(0, PORT_ALGORITHMS.length - 1)]!;
      const rate = [0.01, 0.15, 0.33, 1, 3.7, FAST][int(0, 5)]!;
      const wait = waitFor(algorithm, facts, port, rate);
      const isNever = wait.chancePerAttempt === 0;
      const waits = Array.from({ length: isNever ? 3 : 200 }, () =>
        simulateWait(algorithm, facts, port, rate, next, 2000),
      );
      const most = Math.max(
        ...[1, 2, 3, 5, 10, 30, 100, 300, 1000, 2000].map((at) => {
          return Math.abs(
            waits.filter((one) => one !== null && one <= at).length / waits.length - wait.cdf(at),
          );
        }),
      );
      // By chance one of ten figures is so far off in less than one of 10,000 worlds.
      if (most > (isNever ? 0 : 0.16))
        suspects.push(`${algorithm.name} ${port} ${rate} ${JSON.stringify(facts)}: ${most}`);
    }
    expect(suspects, `SEED=${seed}`).toEqual([]);
  });

  test("the port after reserved ones is picked whenever one of them would be", () => {
    const unusable = [{ low: 33_000, high: 33_006 }];
    const facts = { ephemeralRange: { low: 32_768, high: 34_815 }, unusable };
    const random = seededRandom(6);
    for (const [name, port] of [
      ["linux-5.18", 33_008],
      ["linux-bind", 33_007],
    ] as const) {
      const algorithm = portAlgorithm(name);
      const wait = waitFor(algorithm, facts, port, 1);
      expect(wait.chancePerAttempt * 1024).toBe(name === "linux-bind" ? 4 : 5);
      const waits = Array.from({ length: 2000 }, () => simulateWait(algorithm, facts, port, 1, random)!);
      expect(goodnessOfFit(waits, wait.cdf).p).toBeGreaterThan(0.001);
    }
  });
});

describe("the simulator", () => {
  test("picks the other parity when all of the first is in use, and returns null when all ports are", () => {
    const even = Array.from({ length: 8 }, (_, i) => ({ low: 1000 + 2 * i, high: 1000 + 2 * i }));
    const range = { low: 1000, high: 1015 };
    const algorithm = portAlgorithm("linux-5.18");
    const walk = new PortWalk(algorithm, { ephemeralRange: range, unusable: even }, seededRandom(1));
    for (let i = 0; i < 50; i++) expect(walk.next()! % 2).toBe(1);
    const full = { ephemeralRange: range, unusable: [range] };
    expect(new PortWalk(algorithm, full, seededRandom(1)).next()).toBeNull();
  });

  test("never picks a reserved port, keeps to an odd low end's parity, and leaves out the last port of an odd-sized range", () => {
    const facts = { ephemeralRange: { low: 1001, high: 1101 }, unusable: [{ low: 1011, high: 1020 }] };
    const walk = new PortWalk(portAlgorithm("linux-5.18"), facts, seededRandom(2));
    const ports = Array.from({ length: 5000 }, () => walk.next()!);
    expect(new Set(ports.map((port) => port % 2))).toEqual(new Set([1]));
    expect(ports.some((port) => port >= 1011 && port <= 1020)).toBe(false);
    expect(Math.max(...ports)).toBe(1099);
  });
});

describe("the statistical tests can fail", () => {
  test("Kolmogorov-Smirnov: uniform samples against their own and another distribution", () => {
    const random = seededRandom(9);
    const samples = Array.from({ length: 300 }, random);
    expect(goodnessOfFit(samples, (x) => x).p).toBeGreaterThan(0.01);
    expect(goodnessOfFit(samples, (x) => x ** 2).p).toBeLessThan(1e-4);
    // 1.358 / (sqrt n + 0.12 + 0.11 / sqrt n) is the known 5 % point.
    const few = Array.from({ length: 250 }, (_, i) => (i + 0.5) / 250);
    expect(goodnessOfFit(few, (x) => Math.min(1, Math.max(0, x - 0.0834))).p).toBeCloseTo(0.05, 1.5);
  });

  test("chi-squared: 3.841 with one degree of freedom is the 5 % point", () => {
    const lean = Math.sqrt((3.841 * 100) / 4);
    expect(chiSquared([50 + lean, 50 - lean], [50, 50]).p).toBeCloseTo(0.05, 2);
  });
});

describe("never", () => {
  test("in gVisor, with the reason", async (context) => {
    const sandboxed = ["--rootless", "--network=none", "do"];
    const { status, error } = spawnSync("runsc", [...sandboxed, "true"], { timeout: 20_000 });
    if (error) context.skip(`no runsc here (Debian: apt-get install runsc): ${error.message}`);
    if (status !== 0) context.skip("runsc cannot make a sandbox here");
    const predicted = await command("runsc", [...sandboxed, process.execPath, MAIN, "predict", "--json"]);
    const { never, predictions } = JSON.parse(predicted.stdout);
    expect([never.reason, predictions]).toEqual(["gvisor", []]);
  });

  const facts = {
    ephemeralRange: { low: 32_768, high: 60_999 },
    reservedPorts: [{ low: 50_010, high: 50_010 }],
  };
  const algorithm = portAlgorithm("linux-5.18");
  test.each([
    ["127.0.0.1", 8080, "outside-range"],
    ["127.0.0.1", 50_010, "reserved"],
    ["127.0.0.1", 50_001, "parity"],
    ["127.0.0.2", 50_000, "address"],
    ["192.0.2.1", 50_000, "other-host"],
  ])("%s:%i, because of %s", async (host, port, reason) => {
    const prediction = await predict({ peer: { family: 4, host, port }, facts, algorithm });
    expect(prediction.never?.reason).toBe(reason);
    expect(prediction.wait(1)).toBeNull();
  });
});

describe("against real self-connects", () => {
  // 100 ports of each parity for 120 trials: a port has two. "late-bind" and "connect", and all namespaces, share their
  // walks: the trials of "late-bind" find the walks just past the ports, where "connect" has left them.
  const RANGE = "32900 33099";
  test.for([
    "connect",
    "bind",
    "late-bind",
    "range",
  ])("120 by %s: the prediction holds", async (method, context) => {
    needsNamespaces(context);
    const { report, status } = await checkIn(RANGE, method);
    expect(report.check.trials).toHaveLength(120);
    expect(new Set(report.check.trials.map((trial: { port: number }) => trial.port)).size).toBeGreaterThan(
      98,
    );
    expect(report.check.p).toBeGreaterThan(0.001);
    expect(status).toBe(report.check.p >= 0.01 ? 0 : 1);
  });

  test("a wrong model does not hold", async (context) => {
    needsNamespaces(context);
    const { report, status } = await checkIn(RANGE, "connect", "--algorithm", "linux-4.6");
    expect(report.check.p).toBeLessThan(0.01);
    expect(status).toBe(1);
  });

  async function checkIn(range: string, method: string, ...more: string[]) {
    const peer = `127.0.0.1:${method === "bind" ? 33_001 : 33_000}`;
    const args = ["predict", peer, "--method", method, "--check", "120", "--json", ...more];
    const { stdout, stderr, status } = await runInNamespace(range, process.execPath, [MAIN, ...args]);
    // On a busy machine it takes long enough for a line of progress.
    expect(stderr.replace(/^\d+ of 120 self-connects\n/gm, "")).toBe("");
    return { report: JSON.parse(stdout), status };
  }
});

describe("selfconnect predict", () => {
  test("prints an object of its schema, whether a self-connect is possible or not", async () => {
    const schema = JSON.parse(
      readFileSync(new URL("../../docs/schema/predict-1.json", import.meta.url), "utf8"),
    );
    const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
    const asked = async (...args: string[]) => {
      const { stdout, status } = await cli(["predict", ...args, "--json"]);
      expect(status).toBe(0);
      expect(validate(JSON.parse(stdout)), JSON.stringify(validate.errors)).toBe(true);
      return JSON.parse(stdout).predictions[0];
    };
    await asked("127.0.0.1:50001");
    await asked("192.0.2.1:50000");
    const [one, three] = [await asked("--rate", "50000"), await asked("--rate", "50000", "--clients", "3")];
    expect(one.elapsedMs.mean / three.elapsedMs.mean, "three clients take a third of the time").toBeCloseTo(
      3,
      1,
    );
  });

  test("prints never, and why, as text; and exits 2 on misuse", async () => {
    const { stdout, status } = await cli(["predict", "127.0.0.1:50001"]);
    expect(status).toBe(0);
    expect(stdout).toContain("never, because connect(2) picks even ports here");
    expect((await cli(["predict", "--every", "1s", "--rate", "5"])).status).toBe(2);
  });
});
