/** The addon under workers: several environments in one process, and their end at any moment. */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, LOOPBACK } from "../support/harness.ts";

const LIBRARY = new URL("../../dist/index.js", import.meta.url).href;
const ROUNDS = 40;

function worker(script: string, workerData: unknown): Worker {
  return new Worker(`const { workerData, parentPort } = require("node:worker_threads"); ${script}`, {
    eval: true,
    workerData,
  });
}

/** Ends `ROUNDS` workers, each a little later in its life than the one before. */
async function endedAtAnyMoment(script: string, workerData: unknown): Promise<number[]> {
  const codes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const one = worker(script, workerData);
    await new Promise((resolve) => one.once(round === 0 ? "online" : "message", resolve));
    await sleep(round / 4);
    codes.push(await one.terminate());
  }
  return codes;
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
            return socket;
          });
          const waits = sockets.map((socket) => socket.connected({ deadlineMs: 20 }).catch(() => {}));
          if (round === 0) parentPort.postMessage("waiting");
          await Promise.all(waits);
          for (const socket of sockets) socket.reset();
        }
      });`;
    const full = { family: 4, host: LOOPBACK[4], port: listener.getsockname().port };
    const codes = await endedAtAnyMoment(script, { library: LIBRARY, full, dead: deadPeer() });
    expect(codes).toHaveLength(ROUNDS);
  });

  it("while sockets are opened and closed", { timeout: 120_000 }, async () => {
    const script = `
      import(workerData.library).then(({ TcpSocket }) => {
        setInterval(() => { for (let i = 0; i < 10; i++) TcpSocket.open(4).close(); });
        parentPort.postMessage("running");
      });`;
    const codes = await endedAtAnyMoment(script, { library: LIBRARY });
    expect(codes).toHaveLength(ROUNDS);
  });

  it("while two bursts run", { timeout: 120_000 }, async () => {
    const script = `
      import(workerData.library).then(({ ReconnectLoop }) => {
        new ReconnectLoop({ peer: workerData.dead, threads: 2, durationMs: 30_000 }).run();
        parentPort.postMessage("running");
      });`;
    const codes = await endedAtAnyMoment(script, { library: LIBRARY, dead: deadPeer(4, "other") });
    expect(codes).toHaveLength(ROUNDS);
  });
});

it("a process exits by itself when nothing is under way, and at once on process.exit()", async () => {
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
