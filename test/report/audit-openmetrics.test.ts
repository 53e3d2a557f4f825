/** The audit's metrics through node_exporter's textfile collector and Prometheus to a query. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "vitest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { cli, deadPeer, deadPort, LOOPBACK } from "../support/harness.ts";

const EXPORTER = "prometheus-node-exporter";
const PROMETHEUS = "prometheus";
const POLLS = 200;

let folder: string;
const started: ChildProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-metrics-"));
});

afterAll(async () => {
  for (const child of started) {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
});

function needs(context: TestContext, program: string): void {
  if (spawnSync(program, ["--version"]).error)
    context.skip(`no ${program} here (Debian: apt-get install ${program})`);
}

function start(program: string, args: readonly string[]): void {
  started.push(spawn(program, args, { stdio: "ignore" }));
}

/** Fetches the URL until the body satisfies, or the time is up. Returns the last body. */
async function poll(url: string, satisfies: (body: string) => boolean): Promise<string> {
  let body = "";
  for (let asked = 0; asked < POLLS && !satisfies(body); asked++) {
    await sleep(100);
    body = await get(url).catch(() => body);
  }
  return body;
}

function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text) => (body += text));
      response.on("end", () => resolve(body));
    });
    request.on("error", reject);
  });
}

test("a planted listener and a planted self-connect arrive in Prometheus", {
  timeout: 60_000,
}, async (context) => {
  needs(context, EXPORTER);
  needs(context, PROMETHEUS);
  const [listening, joined] = [deadPeer(6), deadPeer(4)];
  const listener = TcpSocket.open(6).bind(listening).listen();
  const socket = TcpSocket.open(4).bind(joined);
  socket.connect(joined);
  const { status, stdout } = await cli(["audit", "--openmetrics"]);
  listener.close();
  socket.reset();
  expect(status).toBe(3);
  const textfiles = path.join(folder, "textfiles");
  mkdirSync(textfiles);
  writeFileSync(path.join(textfiles, "selfconnect.prom"), stdout);

  // The other parity, so that a request before the program listens cannot be joined to itself.
  const exporter = `${LOOPBACK[4]}:${deadPort("other")}`;
  const textfile = ["--collector.disable-defaults", "--collector.textfile"];
  start(EXPORTER, [
    ...textfile,
    `--collector.textfile.directory=${textfiles}`,
    `--web.listen-address=${exporter}`,
  ]);
  const scraped = await poll(`http://${exporter}/metrics`, (body) => body.includes("selfconnect_clean"));
  expect(scraped).toContain("node_textfile_scrape_error 0");
  expect(scraped).toContain("selfconnect_clean 0");

  const server = `${LOOPBACK[4]}:${deadPort("other")}`;
  const config = path.join(folder, "prometheus.yml");
  const job = `{ job_name: audit, scrape_interval: 1s, static_configs: [{ targets: ["${exporter}"] }] }`;
  writeFileSync(config, `scrape_configs: [${job}]\n`);
  start(PROMETHEUS, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${path.join(folder, "data")}`,
    `--web.listen-address=${server}`,
  ]);
  const ask = `http://${server}/api/v1/query?query=`;
  const atRisk = `selfconnect_listener_at_risk{port="${listening.port}"} == 1`;
  const answer = await poll(ask + encodeURIComponent(atRisk), (body) => body.includes('"value"'));
  const { metric } = JSON.parse(answer).data.result[0];
  expect(metric).toMatchObject({ family: "ipv6", address: LOOPBACK[6], job: "audit" });
  const joinedNow = JSON.parse(await get(`${ask}selfconnect_joined_sockets`)).data.result[0].value[1];
  expect(Number(joinedNow)).toBeGreaterThanOrEqual(1);
});
