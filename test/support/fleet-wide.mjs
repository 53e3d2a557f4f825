/**
 * Of the part `fleet` of check:wide what goes by a queue: 60 workers, each in a network namespace of its own and with an ephemeral
 * range of its own, one Redis on a socket of the file system; a third of the workers and Redis are killed in the middle.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HOSTS = 60;
const FIRST_PORT = 20_000;
const PORTS_EACH = 500;
const EXPERIMENTS = ["parity", "bind-first", "range-one"];
const STALLED_MS = 3_000;
const DEADLINE_MS = 900_000;
const MAIN = path.resolve("dist/cli/main.js");
/** The range of the worker's namespace; the guest of a question has one of its own inside. */
const IN_NAMESPACE =
  'ip link set lo up && echo "$1" > /proc/sys/net/ipv4/ip_local_port_range && shift && exec "$@"';

/** `hosts` is a multiple of three. */
export async function testQueue(check, skip, hosts = HOSTS) {
  const { auditFleet, runFleetLab } = await import("selfconnect/fleet");
  if (spawn("redis-server", ["--version"]).on("error", () => {}).pid === undefined)
    return skip("no redis-server here (Debian: apt-get install redis-server)");
  const fleet = new Fleet();
  try {
    await fleet.startRedis();
    for (let at = 0; at < hosts; at += 3)
      await Promise.all([0, 1, 2].map((next) => fleet.startWorker(at + next)));
    const ports = Array.from({ length: hosts }, (_, at) => FIRST_PORT + at * PORTS_EACH + 1);
    const audits = await auditFleet({ queue: fleet.queue, ports, deadlineMs: DEADLINE_MS });
    const own = audits.hosts.map(({ host, audit }) => {
      const risky = audit?.ports.filter(({ risk }) => risk === "at-risk" || risk === "bind-first") ?? [];
      return risky.length === 1 && risky[0].port === ports[atOf(host)];
    });
    check(
      `${hosts} hosts answer an audit, each for its own namespace`,
      own.length === hosts && own.every(Boolean),
    );
    const began = performance.now();
    let saved = 0;
    const ends = runFleetLab({
      queue: fleet.queue,
      experiments: EXPERIMENTS,
      trials: 3,
      deadlineMs: DEADLINE_MS,
      save: ({ findings }) => (saved = findings.length),
    });
    await until(() => saved > hosts / 2);
    for (let at = 0; at < hosts; at += 3) fleet.killWorker(at);
    await until(() => saved > hosts);
    await fleet.killRedis();
    await sleep(1_000);
    await fleet.startRedis();
    await Promise.all(Array.from({ length: hosts / 3 }, (_, at) => fleet.startWorker(3 * at)));
    const { findings } = await ends;
    console.log(`${findings.length} answers in ${((performance.now() - began) / 1000).toFixed(0)} s`);
    const cells = new Set(findings.map(({ kernel, experiment }) => `${kernel} ${experiment}`));
    check("every cell is there", cells.size === hosts * EXPERIMENTS.length, String(cells.size));
    check("none is there twice", findings.length === cells.size);
    const wrong = findings.filter(({ isAsExpected }) => isAsExpected !== true);
    check("every answer is right", wrong.length === 0, JSON.stringify(wrong.slice(0, 3)));
  } finally {
    fleet.end();
  }
}

class Fleet {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-wide-"));
  socket = path.join(this.folder, "redis.sock");
  queue = `unix://${this.socket}`;
  #redis = null;
  #workers = new Map();

  async startRedis() {
    rmSync(this.socket, { force: true });
    const kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
    const where = ["--port", "0", "--unixsocket", this.socket, "--dir", this.folder];
    this.#redis = spawn("redis-server", [...where, ...kept, "--maxclients", "1000"], { stdio: "ignore" });
    await until(() => existsSync(this.socket));
  }

  async killRedis() {
    const ended = new Promise((resolve) => this.#redis.once("exit", resolve));
    this.#redis.kill("SIGKILL");
    await ended;
  }

  /** Resolves when it takes orders. */
  startWorker(at) {
    const low = FIRST_PORT + at * PORTS_EACH;
    const worker = [process.execPath, MAIN, "worker", "--queue", this.queue, "--name", `host-${at}`];
    const args = ["--net", "sh", "-c", IN_NAMESPACE, "sh", `${low} ${low + PORTS_EACH - 1}`, ...worker];
    const child = spawn("unshare", [...args, "--stalled", `${STALLED_MS}ms`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#workers.set(at, child);
    return new Promise((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (text) => {
        said += text;
        if (said.includes("listening")) resolve();
      });
      child.once("exit", () => reject(new Error(`the worker of host-${at} ended: ${said.slice(0, 500)}`)));
    });
  }

  killWorker(at) {
    this.#workers.get(at).kill("SIGKILL");
  }

  end() {
    for (const child of this.#workers.values()) child.kill("SIGKILL");
    this.#redis?.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function atOf(host) {
  return Number(host.slice("host-".length));
}

async function until(isThere) {
  const endsAt = performance.now() + DEADLINE_MS;
  while (!isThere()) {
    if (performance.now() > endsAt) throw new Error("it did not come");
    await sleep(50);
  }
}
