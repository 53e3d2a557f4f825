/** The engines of a loop: what makes the attempts. Both count the same attempts, and leave the port free. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it, type TestContext, vi } from "vitest";
import { findSockets } from "../../lib/kernel/tables.ts";
import type { ReconnectOptions } from "../../lib/loop/options.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { Strategy } from "../../lib/socket/strategy.ts";
import { command, deadPeer, echo, FAMILIES, requires } from "../support/harness.ts";

const LIBRARY = new URL("../../dist/index.js", import.meta.url).href;
const ENGINES = ["plain", "io_uring"] as const;
/** io_uring makes so many attempts at once where each has a socket. */
const SLOTS = 8;

/** Skips, with the reason, where io_uring cannot make the attempts of a strategy. */
async function needsRing(context: TestContext, strategy: Strategy): Promise<void> {
  if (strategy === "range") requires(context, "6.3", "localPortRange");
  const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), strategy, attempts: 1 });
  const { engineRefusal, socket } = await loop.run();
  socket?.reset();
  if (engineRefusal) context.skip(`${strategy} by ${engineRefusal}`);
}

/** A listener that answers no SYN, because its backlog is full. */
function silentPeer(): Disposable & { readonly peer: Address } {
  const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen(0);
  const peer = listener.getsockname();
  const clients = Array.from({ length: 4 }, () => TcpSocket.open(4));
  for (const client of clients) client.connect(peer);
  return {
    peer,
    [Symbol.dispose]: () => {
      for (const socket of [...clients, listener]) socket.reset();
    },
  };
}

const run = (options: ReconnectOptions) => new ReconnectLoop({ durationMs: 20_000, ...options }).run();

describe.each(FAMILIES)("io_uring, over IPv%i", (family) => {
  it.for([
    ["fresh", "connect"],
    ["reuse", "connect"],
    ["autobind", "other"],
    ["bind", "connect"],
    ["range", "connect"],
  ] as const)("%s hands over a socket that is joined to itself, whose reset frees the port at once", async ([
    strategy,
    parity,
  ], context) => {
    await needsRing(context, strategy);
    const peer = deadPeer(family, parity);
    const { verdict, engine, socket, local, outcomes } = await run({ peer, strategy, engine: "io_uring" });
    try {
      expect({ verdict, engine, local }).toEqual({
        verdict: "self-connect",
        engine: "io_uring",
        local: peer,
      });
      expect(Object.keys(outcomes).sort()).toEqual(
        strategy === "bind" || strategy === "range" ? ["self-connect"] : ["ECONNREFUSED", "self-connect"],
      );
      expect(socket!.isSelfConnected()).toBe(true);
      expect(await echo(socket!, Buffer.from("hello"))).toEqual(new Uint8Array(Buffer.from("hello")));
      expect(listenRefusal(peer), "the control: the port is held").not.toBeNull();
    } finally {
      socket?.reset();
    }
    expect(listenRefusal(peer)).toBeNull();
    expect(findSockets({ localPorts: { low: peer.port, high: peer.port } }).rows).toEqual([]);
  });
});

it.for([
  "bind",
  "range",
  "reuse",
  "fresh",
] as const)("%s by io_uring resets all self-connects but the last", async (strategy, context) => {
  await needsRing(context, strategy);
  const peer = deadPeer();
  const selfConnects = strategy === "bind" || strategy === "range" ? 1000 : 2;
  const { verdict, outcomes, socket } = await run({ peer, strategy, selfConnects, engine: "io_uring" });
  const isSelf = socket?.isSelfConnected();
  socket?.reset();
  expect({ verdict, isSelf }).toEqual({ verdict: "self-connect", isSelf: true });
  expect(outcomes["self-connect"]).toBe(selfConnects);
  expect(listenRefusal(peer)).toBeNull();
  expect(findSockets({ localPorts: { low: peer.port, high: peer.port } }).rows).toEqual([]);
});

it.for(
  ENGINES,
)("process.exit() in the middle of a loop by %s leaves its port free", async (engine, context) => {
  if (engine === "io_uring") await needsRing(context, "bind");
  const peer = deadPeer();
  const options = { peer, strategy: "bind", engine, selfConnects: 2 ** 31, durationMs: 20_000 };
  const script = `import(process.argv[1]).then(({ ReconnectLoop }) => {
    const loop = new ReconnectLoop(${JSON.stringify(options)});
    loop.run();
    setInterval(() => loop.progress().attempts > 1000 && process.exit(), 1);
  });`;
  expect(await command(process.execPath, ["-e", script, LIBRARY])).toEqual({
    status: 0,
    stdout: "",
    stderr: "",
  });
  expect(findSockets({ localPorts: { low: peer.port, high: peer.port } }).rows).toEqual([]);
  expect(listenRefusal(peer)).toBeNull();
});

it("loops of both engines at one port take it from each other, and count no connection to a listener", async (context) => {
  await needsRing(context, "range");
  const peer = deadPeer();
  const options = { peer, strategy: "range", durationMs: 200, selfConnects: 2 ** 31 } as const;
  const ends = await Promise.all(ENGINES.map((engine) => run({ ...options, engine })));
  for (const { socket } of ends) socket?.reset();
  for (const { verdict, outcomes } of ends) {
    expect(verdict).toBe("deadline");
    expect(outcomes).not.toHaveProperty("connected");
  }
});

it("io_uring connects at most eight times to a listener that starts meanwhile, and resets all sockets but one", async (context) => {
  await needsRing(context, "fresh");
  const peer = deadPeer(4, "other");
  const loop = new ReconnectLoop({ peer, engine: "io_uring", durationMs: 20_000 });
  const end = loop.run();
  while (loop.progress().attempts < 1000) await sleep(1);
  using listener = TcpSocket.open(4, { reuseAddress: true }).bind(peer).listen();
  const { verdict, outcomes, socket } = await end;
  expect(verdict).toBe("connected");
  expect(socket!.getpeername()).toEqual(listener.getsockname());
  expect(outcomes.connected).toBeLessThanOrEqual(SLOTS);
  socket!.reset();
  const { rows } = findSockets({ states: ["TIME-WAIT"] });
  expect(rows.filter((row) => row.peer.port === peer.port)).toEqual([]);
});

it.for(
  ENGINES.flatMap((engine) =>
    (["fresh", "reuse", "autobind"] as const).map((strategy) => [strategy, engine] as const),
  ),
)("%s by %s stops when no SYN is answered, and counts the attempt that it began", async ([
  strategy,
  engine,
], context) => {
  if (engine === "io_uring") await needsRing(context, strategy);
  using silent = silentPeer();
  const { peer } = silent;
  const controller = new AbortController();
  const countWaiting = () =>
    findSockets({ states: ["SYN-SENT"] }).rows.filter((row) => row.peer.port === peer.port).length;
  // Those that filled the queue.
  const before = countWaiting();
  const loop = new ReconnectLoop({ peer, strategy, engine, attempts: 100 });
  const end = loop.run(controller.signal);
  await vi.waitFor(() => expect(countWaiting()).toBe(before + 1), { timeout: 20_000 });
  controller.abort();
  const { verdict, outcomes } = await end;
  expect(verdict).toBe("interrupted");
  expect(outcomes).toEqual({ deadline: 1 });
});

it("a worker ends while its loop waits for an answer", async () => {
  using silent = silentPeer();
  const script = `const { parentPort, workerData } = require("node:worker_threads");
  import(workerData.library).then(({ ReconnectLoop }) => {
    new ReconnectLoop({ peer: workerData.peer, strategy: "fresh", engine: "plain", attempts: 1 }).run();
    setTimeout(() => parentPort.postMessage("waiting"), 20);
  });`;
  const worker = new Worker(script, { eval: true, workerData: { library: LIBRARY, peer: silent.peer } });
  await once(worker, "message");
  expect(await worker.terminate()).toBe(1);
});

describe("the engine of a loop", () => {
  it("is chosen by attempts that count: none is lost, and none is made twice", async () => {
    for (const strategy of ["fresh", "reuse"] as const) {
      const result = await run({ peer: deadPeer(4, "other"), strategy, attempts: 2001 });
      expect(result).toMatchObject({ attempts: 2001, outcomes: { ECONNREFUSED: 2001 } });
      expect(ENGINES).toContain(result.engine);
    }
  });

  it("is the plain one where ports are recorded or attempts are paced", async () => {
    const ports: number[] = [];
    const onPorts = (batch: Uint16Array) => ports.push(...batch);
    for (const options of [{ onPorts }, { attemptsPerSecond: 1e6 }]) {
      const result = await run({ peer: deadPeer(4, "other"), strategy: "reuse", attempts: 2000, ...options });
      expect(result).toMatchObject({ engine: "plain", engineRefusal: null, attempts: 2000 });
    }
    expect(ports).toHaveLength(2000);
  });
});
