// One kind of race, many times: node race-program.mjs RACE SEED COUNT. Exits with 0, or prints what went wrong.
import assert from "node:assert/strict";
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { connectMany, dial, punch, ReconnectLoop, TcpSocket } from "../../../dist/index.js";
import { exhaustion, findSockets } from "../../../dist/kernel/index.js";
import { seededRandom } from "./random.mjs";

const [race, seed, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const random = seededRandom(seed);
const upTo = (most) => Math.floor(random() * most);
const pick = (from) => from[upTo(from.length)];
const ANY = "127.0.0.1:0";
/** Errors that an ended socket or an aborted wait may have. */
const isKnown = (error) => typeof error?.code === "string" || error?.name === "AbortError";

const deadPeer = () => {
  const socket = TcpSocket.open(4).bind(ANY);
  const peer = socket.getsockname();
  socket.close();
  return peer;
};

/** Every kind of work; each takes a while and may be ended at any moment. */
const WORK = {
  loop: () =>
    new ReconnectLoop({
      peer: deadPeer(),
      durationMs: 200,
      threads: 2,
      strategy: pick(["fresh", "reuse", "autobind"]),
    }).run(),
  ring: () =>
    new ReconnectLoop({ peer: deadPeer(), durationMs: 200, strategy: "fresh", engine: "io_uring" }).run(),
  joined: () =>
    new ReconnectLoop({ peer: deadPeer(), durationMs: 200, strategy: "bind", selfConnects: 1e6 }).run(),
  accepted: () => TcpSocket.open(4).bind(ANY).listen().accepted({ deadlineMs: 200 }),
  pair: () => TcpSocket.pair(4),
  dial: () => dial(deadPeer(), { deadlineMs: 200, attempts: 50 }),
  punch: () => punch(deadPeer(), deadPeer(), { deadlineMs: 200 }),
  many: async () => {
    for await (const one of connectMany([deadPeer(), deadPeer()], { deadlineMs: 200 })) one.socket?.reset();
  },
  table: () => findSockets({}),
  exhaustion: () => exhaustion(deadPeer()),
};

const RACES = {
  terminate,
  exit: exitInBurst,
  waits: endDuringWait,
  aborts: abortWork,
  buffers: changeBuffers,
};

if (race === "work") {
  for (;;) await Promise.resolve(WORK[pick(Object.keys(WORK))]()).then(release, () => {});
}
process.on("unhandledRejection", (error) => {
  if (isKnown(error)) return;
  console.error(error);
  process.exit(3);
});
await RACES[race]();
process.exit(0);

function release(value) {
  for (const one of [value, value?.socket].flat())
    if (one instanceof TcpSocket && one.state !== "closed") one.reset();
}

/** Not the files: Node leaves those open that a worker was just loading. */
function countSockets() {
  const isSocket = (fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
    } catch {
      return false;
    }
  };
  return readdirSync("/proc/self/fd").filter(isSocket).length;
}

async function terminate() {
  const before = countSockets();
  for (let i = 0; i < count; i++) {
    const worker = new Worker(new URL(import.meta.url), { argv: ["work", String(seed + i), "0"] });
    await new Promise((resolve) => worker.once("online", resolve));
    await sleep(upTo(120));
    await worker.terminate();
  }
  await sleep(100);
  assert.ok(countSockets() <= before, `${countSockets() - before} sockets more after ${count} workers`);
}

async function exitInBurst() {
  for (const name of ["loop", "ring", "accepted"]) Promise.resolve(WORK[name]()).catch(() => {});
  await sleep(upTo(60));
  process.exit(0);
}

async function endDuringWait() {
  for (let i = 0; i < count; i++) {
    const listener = TcpSocket.open(4).bind(ANY).listen();
    const [one, other] = await TcpSocket.pair(4);
    const limits = { deadlineMs: 50 };
    const waits = [
      one.readable(limits),
      one.receiveExactly(5, limits),
      one.sendAll(new Uint8Array(3e6), limits),
      listener.accepted(limits),
    ];
    const ended = Promise.allSettled(waits);
    if (upTo(2) === 0) await sleep(upTo(3));
    for (const socket of [one, listener]) end(socket);
    for (const { status, reason, value } of await ended) {
      if (status === "rejected" && !isKnown(reason)) throw reason;
      release(value);
    }
    other.reset();
  }
}

function end(socket) {
  const how = pick(["close", "reset", "release", "transfer", "both"]);
  try {
    if (how === "release") TcpSocket.fromFd(socket.release()).close();
    else if (how === "transfer") TcpSocket.fromTransfer(socket.transfer()).reset();
    else if (how === "both") {
      socket.close();
      socket.reset();
    } else socket[how]();
  } catch (error) {
    if (!isKnown(error)) throw error;
    if (socket.state !== "closed") socket.reset();
  }
}

async function abortWork() {
  for (let i = 0; i < count; i++) {
    const controller = new AbortController();
    const { signal } = controller;
    const listener = TcpSocket.open(4).bind(ANY).listen();
    const work = pick([
      () => listener.accepted({ signal }),
      () => dial(deadPeer(), { signal, attempts: 100 }),
      () => punch(deadPeer(), deadPeer(), { signal, deadlineMs: 500 }),
      () => new ReconnectLoop({ peer: deadPeer(), signal, durationMs: 500 }).run(),
    ]);
    const running = Promise.resolve(work());
    const later = upTo(3);
    if (later > 0) await sleep(later - 1);
    controller.abort(new Error("stop"));
    controller.abort();
    await running.then(release, (error) => {
      if (error.message !== "stop" && !isKnown(error)) throw error;
    });
    listener.reset();
  }
}

async function changeBuffers() {
  const [one, other] = await TcpSocket.pair(4);
  for (let i = 0; i < count; i++) {
    const memory = pick([
      () => new ArrayBuffer(64, { maxByteLength: 4096 }),
      () => new SharedArrayBuffer(64),
      () => new ArrayBuffer(64),
    ])();
    const bytes = new Uint8Array(memory);
    const act = pick([
      () => one.send(bytes),
      () => one.writev([bytes, bytes]),
      () => other.recv(bytes),
      () => other.receiveExactly(bytes, { deadlineMs: 1 }),
      () => one.sendAll(bytes, { deadlineMs: 5 }),
    ]);
    const change = () => {
      if (memory instanceof SharedArrayBuffer) bytes.fill(7);
      else if (memory.resizable) memory.resize(pick([0, 1, 4096]));
      else structuredClone(memory, { transfer: [memory] });
    };
    const isBefore = upTo(2) === 0;
    if (isBefore) change();
    try {
      const done = act();
      if (!isBefore) change();
      await done;
    } catch (error) {
      if (!isKnown(error)) throw error;
    }
    const drain = new Uint8Array(65_536);
    for (let read = 1; read > 0; ) read = other.recv(drain) ?? 0;
  }
  one.reset();
  other.reset();
}
