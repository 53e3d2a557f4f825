/** The addon in workers: several environments in one process, terminated at any moment. */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, LOOPBACK } from "../support/harness.ts";

const LIBRARY = new URL("../../dist/index.js", import.meta.url).href;
const ROUNDS = process.env.DEEP ? 200 : 8;

function worker(script: string, workerData: unknown): Worker {
  return new Worker(`const { workerData, parentPort } = require("node:worker_threads"); ${script}`, {
    eval: true,
    workerData,
  });
}

/** The exit code of a worker that terminate() stopped; a worker that ends by itself has another. */
const TERMINATED = 1;

/**
 * Terminates `ROUNDS` workers, each a little later in its life than the one before. Expects that each was still
 * working, without an error. The workers count their work in shared memory; each but the first has done some.
 */
async function terminateAtAnyMoment(script: string, workerData: object): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const work = new Int32Array(new SharedArrayBuffer(4));
    const one = worker(script, { ...workerData, work });
    const errors: unknown[] = [];
    one.on("error", (error) => errors.push(error));
    await new Promise((resolve) => one.once(round === 0 ? "online" : "message", resolve));
    await sleep(round / 4);
    const code = await one.terminate();
    expect({ round, code, errors }).toEqual({ round, code: TERMINATED, errors: [] });
    if (round > 0) expect(work[0], `work of round ${round}`).toBeGreaterThan(0);
    const doneAtTheEnd = work[0];
    await sleep(1);
    expect(work[0], "no work after the end").toBe(doneAtTheEnd);
  }
}

describe("worker.terminate() at any moment", () => {
  it("while hundreds of sockets wait in the reactor", { timeout: 120_000 }, async () => {
    using listener = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`).listen(0);
    const script = `
      import(workerData.library).then(async ({ TcpSocket }) => {
        for (let round = 0; ; round++) {
          const sockets = Array.from({ length: 200 }, (_, i) => {
            const socket = TcpSocket.open(4);
            socket.connect(i % 2 ? workerData.full : workerData.dead);
            Atomics.add(workerData.work, 0, 1);
            return socket;
          });
          const waits = sockets.map((socket) => socket.connected({ deadlineMs: 20 }).catch(() => {}));
          if (round === 0) parentPort.postMessage("waiting");
          await Promise.all(waits);
          for (const socket of sockets) socket.reset();
        }
      });`;
    const full = { family: 4, host: LOOPBACK[4], port: listener.getsockname().port };
    await terminateAtAnyMoment(script, { library: LIBRARY, full, dead: deadPeer() });
  });

  it("while sockets are opened and closed", { timeout: 120_000 }, async () => {
    const script = `
      import(workerData.library).then(({ TcpSocket }) => {
        const work = () => {
          for (let i = 0; i < 10; i++) TcpSocket.open(4).close();
          Atomics.add(workerData.work, 0, 10);
        };
        work();
        setInterval(work);
        parentPort.postMessage("running");
      });`;
    await terminateAtAnyMoment(script, { library: LIBRARY });
  });

  it("while two bursts run", { timeout: 120_000 }, async () => {
    const script = `
      import(workerData.library).then(({ ReconnectLoop }) => {
        const loop = new ReconnectLoop({ peer: workerData.dead, threads: 2, durationMs: 30_000 });
        loop.run();
        const look = setInterval(() => {
          Atomics.store(workerData.work, 0, loop.progress().attempts);
          if (workerData.work[0] === 0) return;
          clearInterval(look);
          parentPort.postMessage("running");
        }, 1);
      });`;
    await terminateAtAnyMoment(script, { library: LIBRARY, dead: deadPeer(4, "other") });
  });
});

it("a process exits by itself when nothing is pending, and at once on process.exit()", async () => {
  const script = (end: string) => `
    const { TcpSocket, ReconnectLoop } = await import(${JSON.stringify(LIBRARY)});
    const peer = ${JSON.stringify(deadPeer(4, "other"))};
    const socket = TcpSocket.open(4);
    socket.connect(peer);
    await socket.connected().catch(() => {});
    socket.close();
    ${end}`;
  const run = (end: string) => command(process.execPath, ["--input-type=module", "-e", script(end)]);
  expect(await run("")).toMatchObject({ status: 0, stderr: "" });
  const running = "new ReconnectLoop({ peer, durationMs: 30_000 }).run(); process.exit(7);";
  expect(await run(running)).toMatchObject({ status: 7, stderr: "" });
});
