/** Several trials of reconnect: cold and chained ones, their histogram, and the exact distribution beside it. */
import { describe, expect, it } from "vitest";
import type { ReconnectResult } from "../../lib/loop/index.ts";
import { PORT_ALGORITHMS, predict, testWaits } from "../../lib/ports/index.ts";
import { type ReconnectTrials, reconnectReport, reconnectText } from "../../lib/report/reconnect.ts";
import { histogramLines, histogramOf, histogramSvg } from "../../lib/report/reconnect-histogram.ts";
import { trialsSection } from "../../lib/report/story-trials.ts";
import { MAIN, needsNamespaces, runInNamespace } from "../support/harness.ts";

const SITUATION = { ephemeralRange: { low: 40_000, high: 40_199 }, reservedPorts: [] };
const ATTEMPTS = [30, 9, 51, 160, 12, 44, 71, 5, 100, 2000];

const results = ATTEMPTS.map((attempts, at) => ({
  ...{ verdict: "self-connect", strategy: "fresh", threads: 1, engine: "plain", engineRefusal: null },
  ...{
    attempts,
    elapsedMs: attempts / 50,
    attemptsPerSecond: 50_000,
    outcomes: { ECONNREFUSED: attempts - 1 },
  },
  peer: { family: 4, host: "127.0.0.1", port: 40_000 + 2 * at },
  local: { family: 4, host: "127.0.0.1", port: 40_000 + 2 * at },
  socket: null,
})) as unknown as ReconnectResult[];

const algorithm = PORT_ALGORITHMS.find(({ name }) => name === "linux-5.18")!;
const prediction = await predict({ peer: results[0]!.peer, algorithm, facts: SITUATION });
const waits = results.map(({ peer, attempts, elapsedMs }) => ({ port: peer.port, attempts, elapsedMs }));
const law = { ...testWaits(prediction, waits, () => 0.5), algorithm: algorithm.name };
const cold: ReconnectTrials = { starts: "cold", warmUp: 2, law };

describe("the histogram", () => {
  it("has every trial once, and expects as many as there are, up to the last bar", () => {
    const bars = histogramOf(ATTEMPTS, law.wait);
    expect(bars.reduce((sum, { trials }) => sum + trials, 0)).toBe(ATTEMPTS.length);
    expect(bars.reduce((sum, { expected }) => sum + expected!, 0)).toBeCloseTo(ATTEMPTS.length, 6);
    expect(bars.map(({ from }) => from).slice(1)).toEqual(bars.map(({ to }) => to + 1).slice(0, -1));
    expect(bars[0]).toMatchObject({ from: 1, to: 200, trials: 9 });
    expect(histogramLines(bars)[0]).toMatch(/^ +1 to 200 ┤█+ 9 \(\d\.\d expected\)$/);
    expect(histogramSvg(bars).match(/class="expected"/g)).toHaveLength(bars.length);
  });

  it("of trials without a law has no expectation, of one attempt each one bar, and of none nothing", () => {
    expect(histogramOf([7, 3], null).every(({ expected }) => expected === null)).toBe(true);
    expect(histogramOf([1, 1, 1], null)[0]).toMatchObject({ from: 1, trials: 3 });
    expect(histogramOf([], null)).toEqual([]);
    expect(histogramSvg([])).toBe("");
  });
});

describe("trials", () => {
  it("say how they began, what is not counted, which are far out, and whether they follow the law", () => {
    const text = reconnectText(results, { trials: cold });
    expect(text).toContain("10 of 10 trials self-connected, after 2 that are not counted");
    expect(text).toContain("far from the others: trial 10 (2,000)");
    expect(text).toMatch(
      /cold starts: .*\nthe exact distribution \(linux-5\.18\) has the mean \d+\n.* p = 0\.\d+: they/,
    );
    const report = reconnectReport(results, null, cold);
    expect(report).toMatchObject({
      starts: "cold",
      warmUp: 2,
      law: { algorithm: "linux-5.18", mean: law.wait.mean },
    });
    expect(report.trials.map(({ port }) => port)).toEqual(results.map(({ peer }) => peer.port));
    expect(report.histogram[0]!.expected).toBeGreaterThan(0);
  });

  it("that are chained have no law", () => {
    expect(reconnectText(results)).toContain("chained: where the kernel walks");
    expect(reconnectReport(results, null)).toMatchObject({ starts: "chained", warmUp: 0, law: null });
    expect(reconnectReport(results, null).histogram[0]!.expected).toBeNull();
  });

  it("have a section of the page of a run, of several trials alone", () => {
    expect(trialsSection(null)).toBe("");
    const page = trialsSection({ ...cold, results });
    expect(page).toContain("This run made 10 trials");
    expect(page).toContain("a port of its own");
    expect(page).toMatch(/p = 0\.\d+/);
    expect(trialsSection({ starts: "chained", warmUp: 0, law: null, results })).toContain(
      "no independent samples",
    );
  });
});

it("reconnect --cold connects to another port in each trial, and its rows name the starts", async (context) => {
  needsNamespaces(context);
  const asked = ["reconnect", "127.0.0.1:40100", "--trials", "12", "--warm-up", "1", "--cold"];
  const { status, stdout } = await runInNamespace("40000 40199", process.execPath, [
    MAIN,
    ...asked,
    "--json",
  ]);
  expect(status).toBe(0);
  const { trials, starts, warmUp, law: found } = JSON.parse(stdout);
  expect({ starts, warmUp, ports: new Set(trials.map(({ port }: { port: number }) => port)).size }).toEqual({
    starts: "cold",
    warmUp: 1,
    ports: 12,
  });
  expect(
    trials.map(({ port }: { port: number }) => port),
    "the peer's own port warmed up",
  ).not.toContain(40_100);
  expect(found.p).toBeGreaterThan(1e-6);
});
