/**
 * The story for each client of docs/clients.md, with the page's code. `npm run check:wide` runs it in a network namespace
 * for each client (CLIENT), with the packages in CLIENT_PACKAGES: its ephemeral range is small, so that every few connects
 * the kernel picks the server's port.
 */
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { GuardStatistics } from "../../lib/guard/statistics.ts";
import { findFourTuple } from "../../lib/kernel/tables.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { readClients, writeClient } from "../support/clients.mjs";
import { deadPeer, LOOPBACK } from "../support/harness.ts";
import { Service } from "../support/servers.ts";
import { REGISTER } from "../support/story.ts";

const folder = process.env.CLIENT_PACKAGES!;
const client = readClients().find(({ name }) => name === process.env.CLIENT)!;
const DOORS = new URL("../support/client-doors.mjs", import.meta.url).pathname;
const PROGRAM = new URL("../support/client-program.mjs", import.meta.url).pathname;
const PATIENCE_MS = 60_000;
/** A test waits for several things in turn. */
const TIMEOUT_MS = 3 * PATIENCE_MS;
/** Connects before the server starts; the range has three ports of the parity that connect(2) picks. */
const CONNECTS = 7;
const TRIES = 5;
const LOOK_MS = 50;

interface Report extends GuardStatistics {
  /** Sockets joined to themselves that the client got. */
  readonly selfConnects: number;
  /** How many clients it took until one was answered. */
  readonly made?: number;
  readonly answered?: true;
}

/** A client that connects until it is answered. */
class Client implements Disposable {
  report: Report | null = null;
  readonly #child: ChildProcess;
  readonly #module: string;

  constructor(port: number, guard: "off" | "prevent" | "detect") {
    this.#module = writeClient(folder, client.name, { host: LOOPBACK[4], port, doors: DOORS });
    const execArgv = client.isPreload && guard !== "off" ? REGISTER : [];
    const env = { ...process.env, SELFCONNECT_GUARD: guard };
    const url = `http://${LOOPBACK[4]}:${port}/`;
    this.#child = fork(PROGRAM, [client.name, this.#module, url], {
      execArgv,
      env,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child.on("message", (report: Report) => {
      this.report = report;
    });
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
    rmSync(path.dirname(this.#module), { recursive: true });
  }
}

async function until(isSo: () => boolean): Promise<void> {
  const endsAt = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    if (performance.now() > endsAt) throw new Error(`not within ${PATIENCE_MS} ms: ${isSo}`);
    await sleep(1);
  }
}

/** Asks without a pause, which a busy machine makes long. */
function isSoWithin(milliseconds: number, isSo: () => boolean): boolean {
  const endsAt = performance.now() + milliseconds;
  while (performance.now() < endsAt) if (isSo()) return true;
  return false;
}

/** In how many tries the server starts. */
function triesOf(guard: "prevent" | "detect"): number {
  // A socket is joined until the client's event loop turns, and a server may meet it.
  if (guard === "detect") return TRIES;
  // Its Erlang first connects to its port mapper, from a port of the small range: it may be the server's own.
  return client.service === "rabbitmq" ? TRIES : 1;
}

async function start(service: Service, tries: number): Promise<void> {
  try {
    await service.start();
  } catch (error) {
    if (tries === 1) throw error;
    await start(service, tries - 1);
  }
}

describe(client.name, () => {
  const timeout = TIMEOUT_MS;

  it("control: unguarded, the client is joined to itself and its server cannot start", {
    timeout,
  }, async () => {
    const peer = deadPeer();
    using plain = new Client(peer.port, "off");
    // A client whose connection is joined to itself may notice within a millisecond, and connect again. Nobody else is
    // here who could have the port.
    await until(() => isSoWithin(LOOK_MS, () => listenRefusal(peer) === "EADDRINUSE"));
    await until(() => (plain.report?.selfConnects ?? 0) > 0);
  });

  it.for(["prevent", "detect"] as const)(
    "%s: never, and its server starts and answers",
    { timeout },
    async (guard, context) => {
      await using service = new Service(client.service, context, folder);
      const peer = { family: 4, host: LOOPBACK[4], port: service.port } as const;
      using guarded = new Client(service.port, guard);
      let joined = 0;
      await until(() => {
        joined += findFourTuple(peer, peer).length;
        const { failed = 0, reset = 0 } = guarded.report ?? {};
        return failed + reset >= CONNECTS;
      });
      await start(service, triesOf(guard));
      await until(() => guarded.report?.answered === true);
      const { selfConnects, reset, made } = guarded.report!;
      expect(selfConnects).toBe(0);
      if (guard === "detect") expect(reset).toBeGreaterThan(0);
      else expect({ joined, reset }).toEqual({ joined: 0, reset: 0 });
      if (client.retries) expect(made).toBe(1);
    },
  );
});
