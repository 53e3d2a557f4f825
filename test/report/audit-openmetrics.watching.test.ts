/** docs/watching: promtool reads the rules and the dashboard's queries, and fires the alerts on metrics of real audits. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { audit } from "../../lib/audit/audit.ts";
import { auditAnswer } from "../../lib/fleet/audit-answer.ts";
import { auditMetrics, fleetAuditMetrics } from "../../lib/report/audit-openmetrics.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { CLEAN_AUDIT } from "../support/audits.ts";
import { deadPeer } from "../support/harness.ts";

const RULES = path.resolve("docs/watching/alerts.yml");
const ALERTS = [...readFileSync(RULES, "utf8").matchAll(/alert: (\w+)/g)].map((match) => match[1]!);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-watching-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach((context) => {
  if (spawnSync("promtool", ["--version"]).error)
    context.skip("no promtool here (Debian: apt-get install prometheus)");
});

function promtool(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
  return status === 0 ? "" : stdout + stderr;
}

/** Metrics that stay for half an hour, and which alerts fire then. */
interface HalfHour {
  readonly metrics: string;
  readonly firing: readonly string[];
  readonly quiet: readonly string[];
}

/** What promtool says about all of them; "" when everything is so. */
function checkAlerts(all: readonly HalfHour[]): string {
  const tests = all.map(({ metrics, firing, quiet }) => {
    const samples = metrics.split("\n").filter((line) => /^selfconnect_/.test(line));
    const input_series = samples.map((line) => {
      const at = line.lastIndexOf(" ");
      return { series: line.slice(0, at), values: `${line.slice(at + 1)}+0x30` };
    });
    const expecting = (value: number) => (alert: string) => {
      const expr = `count(ALERTS{alertname="${alert}",alertstate="firing"}) > bool 0 or vector(0)`;
      return { expr, eval_time: "30m", exp_samples: [{ labels: "{}", value }] };
    };
    const promql_expr_test = [...firing.map(expecting(1)), ...quiet.map(expecting(0))];
    return { interval: "1m", input_series, promql_expr_test };
  });
  const file = path.join(folder, "test.yml");
  writeFileSync(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: "1m", tests }));
  return promtool("test", "rules", file);
}

it("the rules are valid, and each has a line on what to do", () => {
  expect(promtool("check", "rules", RULES)).toBe("");
  const rules = readFileSync(RULES, "utf8");
  expect(rules.match(/^ {10}action: "/gm)).toHaveLength(ALERTS.length);
});

it("each alert fires for what it is about, on the metrics of real audits, and none for a clean host", {
  timeout: 120_000,
}, async () => {
  const [listening, joined] = [deadPeer(), deadPeer()];
  const listener = TcpSocket.open(4).bind(listening).listen();
  const socket = TcpSocket.open(4).bind(joined);
  socket.connect(joined);
  const found = await audit();
  listener.close();
  socket.reset();
  // Ports that run out, leftovers and clients that knock would take a host of their own: this one is recorded.
  const recorded = JSON.parse(readFileSync("test/golden/audit.input.json", "utf8"));
  const [destination] = recorded.destinations;
  const scarce = { ...recorded, destinations: [{ ...destination, portsInUse: destination.ports * 0.9 }] };
  const host = { kernel: "6.1.0", missing: null };
  const silent = { ...host, host: "silent-1", audit: null, missing: "no worker took it" };
  const hosts = [{ ...host, host: "web-1", audit: auditAnswer(scarce) }, silent];
  const about = { round: 0, startedAt: "", endedAt: "", verdict: "found" } as const;
  const fleet = fleetAuditMetrics({ ...about, hosts });
  expect(
    checkAlerts([
      {
        metrics: auditMetrics(found),
        firing: ["SelfConnectJoinedSocket", "SelfConnectListenerAtRisk"],
        quiet: [],
      },
      { metrics: fleet, firing: ALERTS, quiet: [] },
      { metrics: auditMetrics(CLEAN_AUDIT), firing: [], quiet: ALERTS },
    ]),
  ).toBe("");
  // The check can fail.
  expect(checkAlerts([{ metrics: fleet, firing: [], quiet: ALERTS.slice(0, 1) }])).toContain("FAILED");
});

it("the dashboard asks only for metrics that an audit has, in queries that promtool reads", () => {
  const dashboard = JSON.parse(readFileSync("docs/watching/dashboard.json", "utf8"));
  const queries: string[] = dashboard.panels.flatMap(({ targets }: { targets: { expr: string }[] }) =>
    targets.map(({ expr }) => expr.replaceAll("$host", ".*")),
  );
  const rules = queries.map((expr, at) => ({ record: `query:${at}`, expr }));
  const file = path.join(folder, "queries.yml");
  writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
  expect(promtool("check", "rules", file)).toBe("");
  const source = readFileSync("lib/report/audit-openmetrics.ts", "utf8");
  const names = new Set([...queries, readFileSync(RULES, "utf8")].join(" ").match(/\bselfconnect_\w+/g));
  expect(names.size).toBeGreaterThan(5);
  expect([...names].filter((name) => !source.includes(`"${name}"`))).toEqual([]);
});
