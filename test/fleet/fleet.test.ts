/** The fleet against a real redis-server: cells of killed workers, hostile jobs, hostile answers. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "vitest";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Connection } from "../../lib/fleet/connection.ts";
import { openConnection } from "../../lib/fleet/connection.ts";
import { auditFleet, watchFleet } from "../../lib/fleet/fleet-audit.ts";
import { runFleetLab } from "../../lib/fleet/fleet-lab.ts";
import { announce, listHosts, ownAnnouncement } from "../../lib/fleet/hosts.ts";
import { hostQueue, jobId, runQueue } from "../../lib/fleet/order.ts";
import { askingKey, HostWorker } from "../../lib/fleet/worker.ts";
import { packageVersion } from "../../lib/kernel/version.ts";
import type { LabResult } from "../../lib/lab/lab.ts";
import { answerWith, FakeHosts, FleetRedis } from "../support/fleet.ts";

let redis: FleetRedis;

beforeAll(async () => {
  redis = await new FleetRedis().start().catch(() => redis);
});
afterAll(() => redis?.[Symbol.asyncDispose]());
beforeEach(async (context: TestContext) => {
  FleetRedis.skipWithout(context);
  await using connection = await openConnection(redis.url);
  await connection.redis.flushall();
});

const EXPERIMENTS = ["parity", "bind-first"];
const cellsOf = ({ findings }: LabResult) =>
  findings
    .map(({ kernel, experiment, answer, note }) => [kernel, experiment, answer ?? note].join(" "))
    .sort();

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((one) => {
    resolve = one;
  });
  return { promise, resolve };
}

/** A worker that begins its first order and ends there: its connections break, and it never answers. */
async function killInTheMiddle(name: string): Promise<AsyncDisposable> {
  const connection = await openConnection(redis.url);
  const begun = deferred();
  const worker = new HostWorker(
    connection,
    { queue: redis.url, name, stalledMs: 300, report: () => {} },
    () => {
      begun.resolve();
      return new Promise(() => {});
    },
  );
  await worker.begin();
  return {
    async [Symbol.asyncDispose]() {
      await begun.promise;
      connection.redis.disconnect();
      await worker.kill();
    },
  };
}

describe("the lab of a fleet", () => {
  it("has every answer once, of a host too whose worker is killed in the middle of a cell", async () => {
    await using hosts = new FakeHosts(redis.url);
    await hosts.add("web-1", answerWith("one"));
    const dying = await killInTheMiddle("web-2");
    const saved: number[] = [];
    const result = runFleetLab({
      queue: redis.url,
      experiments: EXPERIMENTS,
      hosts: ["web-?"],
      deadlineMs: 20_000,
      save: ({ findings }) => saved.push(findings.length),
    });
    await dying[Symbol.asyncDispose]();
    await hosts.add("web-2", answerWith("two"));
    expect(cellsOf(await result)).toEqual([
      "web-1 bind-first one",
      "web-1 parity one",
      "web-2 bind-first two",
      "web-2 parity two",
    ]);
    expect(hosts.asked.filter((asked) => asked === "web-2 parity")).toHaveLength(1);
    expect(saved[0]).toBe(0);
    expect(saved.at(-1)).toBe(4);
  });

  it("asks nobody of another version, nobody who is silent, and says so; and goes on with --resume", async () => {
    await using hosts = new FakeHosts(redis.url);
    await hosts.add("db-1");
    await using connection = await openConnection(redis.url);
    await announce(connection.redis, "old-1", { ...ownAnnouncement("old"), version: "0.0.9" });
    await announce(connection.redis, "gone-1", ownAnnouncement("gone"));
    const begin = ownAnnouncement("begin");
    await connection.redis.set("selfconnect:worker:gone-1", JSON.stringify(begin), "PX", 6 * 24 * 3_600_000);
    const options = { queue: redis.url, deadlineMs: 15_000 };
    const first = await runFleetLab({ ...options, experiments: ["parity"] });
    const missing = Object.fromEntries(first.kernels.map((kernel) => [kernel.id, kernel.missing]));
    expect(missing).toEqual({
      "db-1": null,
      "gone-1": expect.stringMatching(/^no sign of its worker for \d+ s$/),
      "old-1": `its worker is selfconnect 0.0.9, this one is ${packageVersion()}: install the same version`,
    });
    const asked = hosts.asked.length;
    const second = await runFleetLab({ ...options, experiments: EXPERIMENTS, resume: first });
    // On a busy machine a queue may ask again: it has not heard of its worker in time.
    expect([...new Set(hosts.asked.slice(asked))]).toEqual(["db-1 bind-first"]);
    expect(second.run).toBe(first.run);
    expect(cellsOf(second)).toEqual(["db-1 bind-first none", "db-1 parity none"]);
    expect(await keysOf(connection, "run.*")).toEqual([]);
  });

  it("says at the deadline which cell nobody took, and leaves no order behind", async () => {
    await using connection = await openConnection(redis.url);
    await announce(connection.redis, "deaf-1", ownAnnouncement("deaf"));
    const result = await runFleetLab({ queue: redis.url, experiments: ["parity"], deadlineMs: 300 });
    expect(cellsOf(result)).toEqual(["deaf-1 parity no worker took it within 0.3 s"]);
    expect(await connection.redis.llen("selfconnect:host.deaf-1:wait")).toBe(0);
  });

  it("keeps what is an answer to an open cell, and drops what is none", async () => {
    await using hosts = new FakeHosts(redis.url);
    await using connection = await openConnection(redis.url);
    const { bullmq, base, redis: client } = connection;
    const lies: unknown[] = [];
    await hosts.add("web-1", async (order, signal) => {
      const answers = new bullmq.Queue(runQueue(order.run), base);
      const good = await answerWith("true")(order, signal);
      lies.push(
        null,
        { host: "web-2", cell: "parity", reply: good },
        { host: "web-1", cell: "bind-first", reply: good },
        { host: "web-1", cell: "parity", reply: { ...good, finding: { experiment: "bind-first" } } },
        { host: "web-1", cell: "parity", reply: { ...good, environment: { kernel: "x".repeat(10_000) } } },
        JSON.parse(`{"__proto__":{"host":"web-1"},"cell":"parity"}`),
      );
      await answers.addBulk(lies.map((data) => ({ name: "answer", data })));
      // A second one of the same id is no second answer.
      const opts = { jobId: jobId(order.run, "web-1", "parity") };
      await answers.add("answer", { host: "web-1", cell: "parity", reply: good }, opts);
      await answers.close();
      return good;
    });
    const result = await runFleetLab({ queue: redis.url, experiments: ["parity"], deadlineMs: 15_000 });
    expect(cellsOf(result)).toEqual(["web-1 parity true"]);
    expect(lies).toHaveLength(6);
    expect(await client.exists("selfconnect:hosts")).toBe(1);
  });
});

describe("a worker", () => {
  it("does nothing for a hostile job, and answers the next", async () => {
    await using hosts = new FakeHosts(redis.url);
    await hosts.add("web-1");
    await using connection = await openConnection(redis.url);
    const { bullmq, base, redis: client } = connection;
    const run = randomBytes(8).toString("hex");
    await client.set(askingKey(run), "1", "PX", 60_000);
    const order = { version: packageVersion(), run, kind: "experiment", experiment: "parity", trials: 3 };
    const hostile = [
      { ...order, kind: "shell", command: "id" },
      { ...order, experiment: "__proto__" },
      { ...order, trials: 1e12 },
      { ...order, version: "x".repeat(2_000_000) },
      JSON.parse(`{"__proto__":{"kind":"audit"},"run":"${run}"}`),
      [order],
      "text",
      null,
    ];
    const queue = new bullmq.Queue(hostQueue("web-1"), base);
    await queue.addBulk(hostile.map((data) => ({ name: "experiment", data, opts: { attempts: 1_000 } })));
    await queue.add("experiment", { ...order, version: "9.9.9" }, { jobId: "other" });
    await queue.add("experiment", order, { jobId: "good" });
    const answers = new bullmq.Queue(runQueue(run), base);
    while ((await answers.getWaitingCount()) < 1 || hosts.asked.length < 1) await sleep(20);
    expect(hosts.asked).toEqual(["web-1 parity"]);
    const [refused] = await answers.getWaiting();
    expect(refused!.data.reply).toEqual({
      kind: "refused",
      why: `its worker is selfconnect ${packageVersion()}, the lab is 9.9.9`,
    });
    await queue.close();
    await answers.close();
  });

  it("gives up a cell in which it ended twice, and drops the order of a run that has ended", async () => {
    await using connection = await openConnection(redis.url);
    const { bullmq, base, redis: client } = connection;
    const run = randomBytes(8).toString("hex");
    const order = { version: packageVersion(), run, kind: "experiment", experiment: "parity", trials: 3 };
    const queue = new bullmq.Queue(hostQueue("web-1"), base);
    await client.set(askingKey(run), "1", "PX", 60_000);
    await queue.add("experiment", order);
    await (await killInTheMiddle("web-1"))[Symbol.asyncDispose]();
    await (await killInTheMiddle("web-1"))[Symbol.asyncDispose]();
    await using hosts = new FakeHosts(redis.url);
    await hosts.add("web-1");
    const answers = new bullmq.Queue(runQueue(run), base);
    while ((await answers.getWaitingCount()) < 1) await sleep(20);
    const [refused] = await answers.getWaiting();
    expect(refused!.data.reply).toEqual({
      kind: "refused",
      why: "its worker ended 2 times in this question",
    });
    await client.del(askingKey(run));
    await queue.add("experiment", order, { jobId: "late" });
    while ((await queue.getJobCountByTypes("waiting", "active")) > 0) await sleep(20);
    expect(hosts.asked).toEqual([]);
    await queue.close();
    await answers.close();
  });

  it("does not take the name of another host", async () => {
    await using connection = await openConnection(redis.url);
    await announce(connection.redis, "web-1", { ...ownAnnouncement("other"), boot: "another" });
    await using hosts = new FakeHosts(redis.url);
    await expect(hosts.add("web-1")).rejects.toThrow("another host has the name web-1");
  });
});

describe("the audits of a fleet", () => {
  it("come from every host, once and by a scheduler, and leave nothing in Redis", async () => {
    await using hosts = new FakeHosts(redis.url);
    for (const name of ["web-1", "web-2"]) await hosts.add(name);
    const found = await auditFleet({ queue: redis.url, hosts: ["web-*"], deadlineMs: 15_000 });
    expect(found.hosts.map(({ host, audit }) => [host, audit?.verdict])).toEqual([
      ["web-1", "clean"],
      ["web-2", "clean"],
    ]);
    const rounds: number[] = [];
    const ending = new AbortController();
    const every = { everyMs: 1_000, durationMs: 20_000, signal: ending.signal };
    const count = await watchFleet({ queue: redis.url, ...every }, ({ round, hosts: all }) => {
      rounds.push(round);
      if (round === 0) expect(all).toHaveLength(2);
      if (round === 1) ending.abort();
    });
    expect([count, rounds]).toEqual([2, [0, 1]]);
    await using connection = await openConnection(redis.url);
    expect(await keysOf(connection, "r*.*")).toEqual([]);
    expect((await listHosts(connection.redis)).map(({ name }) => name)).toEqual(["web-1", "web-2"]);
  });
});

it("a queue that cannot be reached is an error without the password", async () => {
  const url = "redis://lab:s3cret@127.0.0.1:1";
  const ends = auditFleet({ queue: url });
  await expect(ends).rejects.toThrow(/redis:\/\/lab:\*\*\*@127\.0\.0\.1:1: connect ECONNREFUSED/);
});

function keysOf({ redis: client }: Connection, pattern: string): Promise<string[]> {
  return client.keys(`selfconnect:${pattern}`);
}
