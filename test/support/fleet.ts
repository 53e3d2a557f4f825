/** A real redis-server on a socket of the file system, and workers that only answer. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "vitest";
import type { AnswerOrder } from "../../lib/fleet/answers.ts";
import type { Order, Reply } from "../../lib/fleet/order.ts";
import { workWith } from "../../lib/fleet/worker.ts";

const START_MS = 20_000;

/** A redis-server that a test can kill and start again. Needs no port. */
export class FleetRedis implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-fleet-"));
  readonly url = `unix://${this.folder}/redis.sock`;
  readonly #options: readonly string[];
  #child: ChildProcess | null = null;

  constructor(...options: readonly string[]) {
    this.#options = options;
  }

  static skipWithout(context: TestContext): void {
    if (spawnSync("redis-server", ["--version"]).error)
      context.skip("no redis-server here. On Debian: apt-get install redis-server");
  }

  async start(): Promise<this> {
    const socket = path.join(this.folder, "redis.sock");
    rmSync(socket, { force: true });
    const ours = ["--port", "0", "--unixsocket", socket, "--dir", this.folder, "--save", ""];
    this.#child = spawn("redis-server", [...ours, ...this.#options], { stdio: "ignore" });
    const endsAt = performance.now() + START_MS;
    while (!existsSync(socket)) {
      if (performance.now() > endsAt || this.#child.exitCode !== null)
        throw new Error("redis-server did not start");
      await sleep(10);
    }
    return this;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Workers of several hosts in this process. */
export class FakeHosts implements AsyncDisposable {
  readonly #url: string;
  readonly #ending = new AbortController();
  readonly #ends: Promise<void>[] = [];
  /** What each host was asked: "host cell". */
  readonly asked: string[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves when the worker takes orders. */
  async add(name: string, answer: AnswerOrder = answerWith("none"), stalledMs = 300): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const signal = this.#ending.signal;
      const report = ({ kind }: { kind: string }) => kind === "listening" && resolve();
      const ask: AnswerOrder = (order, stop) => {
        this.asked.push(`${name} ${order.kind === "experiment" ? order.experiment : order.kind}`);
        return answer(order, stop);
      };
      const end = workWith({ queue: this.#url, name, stalledMs, report, signal }, ask);
      end.catch(reject);
      this.#ends.push(end);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.allSettled(this.#ends);
  }
}

/** Answers every experiment with these words, and every audit with nothing found. */
export function answerWith(words: string, kernel = "6.1.0"): AnswerOrder {
  return (order) => Promise.resolve(replyOf(order, words, kernel));
}

export function replyOf(order: Order, words: string, kernel = "6.1.0"): Reply {
  if (order.kind === "audit") return { kind: "audit", audit: CLEAN_AUDIT };
  const { experiment } = order;
  return {
    kind: "finding",
    environment: {
      kernel,
      upstream: kernel,
      architecture: "x64",
      cpus: 2,
      hasIpv6: true,
      node: "v20.0.0",
      version: "0.1.0",
      ephemeralRange: "32768-60999",
      sysctls: {},
    },
    finding: { experiment, status: "answered", answer: words, counts: { tries: 1 }, elapsedMs: 1 },
  };
}

export const CLEAN_AUDIT = {
  verdict: "clean",
  unseen: [],
  seesAllProcesses: true,
  listeners: [],
  ports: [],
  joined: [],
  leftovers: [],
  knocking: [],
  destinations: [],
  omitted: 0,
} as const;
