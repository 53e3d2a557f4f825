/** Every end of a socket that may be joined to itself is a reset: its port is free at once. */
import { closeSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { dial } from "../../lib/guard/dial.ts";
import type { GuardOptions } from "../../lib/guard/guard.ts";
import { guardAgent } from "../../lib/guard/http.ts";
import { connect } from "../../lib/guard/net.ts";
import { connectTls } from "../../lib/guard/tls.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, requires } from "../support/harness.ts";

/** A socket whose connect to its own address has succeeded in the kernel, while its state is still "connecting". */
function joinUnseen(family: 4 | 6): { socket: TcpSocket; local: Address } {
  const socket = TcpSocket.open(family);
  const local = deadPeer(family);
  expect(socket.bind(local).connect(local)).toBe("in-progress");
  return { socket, local };
}

/** The kernel has one port to pick, the peer's, and the guard finds out only when the connect has ended. */
function onlyPortOf({ port }: Address, guard: "detect" | "off" = "detect"): GuardOptions {
  return { guard, options: { localPortRange: { low: port, high: port } } };
}

/** Node calls connect(2) in the next tick, and emits 'connect' no sooner than the event loop has polled. */
async function connectCalled(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}

async function waitForClose(socket: net.Socket): Promise<void> {
  socket.on("error", () => undefined);
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

describe.each(FAMILIES)("a TcpSocket over IPv%i that connects to itself unseen", (family) => {
  it("control: a plain close(2) keeps the port", () => {
    const { socket, local } = joinUnseen(family);
    closeSync(socket.release());
    expect(listenRefusal(local)).toBe("EADDRINUSE");
  });

  it("is reset by close() and at the end of its block", () => {
    const { socket, local } = joinUnseen(family);
    socket.close();
    expect(listenRefusal(local)).toBe(null);
    let other: Address;
    {
      const joined = joinUnseen(family);
      using _ = joined.socket;
      other = joined.local;
    }
    expect(listenRefusal(other)).toBe(null);
  });

  it("is reset also when the peer was given as the unspecified address", () => {
    const socket = TcpSocket.open(family);
    const { port } = deadPeer(family);
    const any = { family, host: family === 4 ? "0.0.0.0" : "::", port };
    socket.bind(any).connect(any);
    const local = socket.getsockname();
    socket.close();
    expect(listenRefusal(local)).toBe(null);
  });
});

describe.each(FAMILIES)("a guarded stream over IPv%i that is joined to itself before 'connect'", (family) => {
  const endings: readonly [name: string, end: (socket: net.Socket, abort: AbortController) => void][] = [
    ["destroyed", (socket) => socket.destroy()],
    ["aborted", (_, controller) => controller.abort()],
    ["destroyed with an error", (socket) => socket.destroy(new Error("enough"))],
  ];

  it.each(endings)("control: %s, a plain stream keeps the port", async (_, end) => {
    const peer = deadPeer(family);
    const controller = new AbortController();
    const socket = new net.Socket({ signal: controller.signal }).connect({
      ...peer,
      localAddress: peer.host,
      localPort: peer.port,
    });
    await connectCalled();
    end(socket, controller);
    await waitForClose(socket);
    expect(listenRefusal(peer)).toBe("EADDRINUSE");
  });

  it.each(endings)("%s, it is reset", async (_, end) => {
    const peer = deadPeer(family);
    const controller = new AbortController();
    const options = { ...peer, ...onlyPortOf(peer), signal: controller.signal };
    const socket = connect(options);
    await connectCalled();
    end(socket, controller);
    await waitForClose(socket);
    expect(listenRefusal(peer)).toBe(null);
  });

  it("is reset when a TLS stream or an http request over it is destroyed", async (context) => {
    requires(context, "6.3", "localPortRange");
    const tlsPeer = deadPeer(family);
    const secure = connectTls({ ...tlsPeer, ...onlyPortOf(tlsPeer) });
    await connectCalled();
    secure.destroy();
    await waitForClose(secure);
    expect(listenRefusal(tlsPeer)).toBe(null);
    const peer = deadPeer(family);
    const agent = guardAgent(new http.Agent(), onlyPortOf(peer));
    const request = http.get({ host: peer.host, port: peer.port, agent });
    const [socket] = await new Promise<[net.Socket]>((resolve) =>
      request.once("socket", (s) => resolve([s])),
    );
    request.on("error", () => undefined);
    await connectCalled();
    request.destroy();
    await waitForClose(socket);
    expect(listenRefusal(peer)).toBe(null);
  });
});

describe.each(FAMILIES)("a stream over IPv%i that is joined to itself with the guard off", (family) => {
  const ends: Readonly<Record<string, (socket: net.Socket) => unknown>> = {
    "destroy()": (socket) => socket.destroy(),
    "destroySoon()": (socket) => socket.destroySoon(),
    "end() and reading to the end": async (socket) => {
      socket.end("hello");
      expect(String(await new Promise((resolve) => socket.once("data", resolve)))).toBe("hello");
    },
  };

  it.each(Object.entries(ends))("control: after %s a plain stream keeps the port", async (_, end) => {
    const peer = deadPeer(family);
    const socket = net.connect({ ...peer, localAddress: peer.host, localPort: peer.port });
    await new Promise((resolve) => socket.once("connect", resolve));
    await end(socket);
    await waitForClose(socket);
    expect(listenRefusal(peer)).toBe("EADDRINUSE");
  });

  it.each(Object.entries(ends))("is reset by %s", async (_, end) => {
    const peer = deadPeer(family);
    const socket = connect({ ...peer, localAddress: peer.host, localPort: peer.port, guard: "off" });
    await new Promise((resolve) => socket.once("connect", resolve));
    await end(socket);
    await waitForClose(socket);
    expect(listenRefusal(peer)).toBe(null);
  });
});

it("a stream to a server with the guard off ends in order", async () => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
  const { port } = server.address() as net.AddressInfo;
  const client = connect({ port, host: "127.0.0.1", guard: "off" });
  client.end("hello");
  expect(Buffer.concat(await (await accepted).toArray()).toString()).toBe("hello");
  await waitForClose(client.resume());
  server.close();
});

it("a dial that is aborted at any moment leaves the port free", async (context) => {
  requires(context, "6.3", "localPortRange");
  for (let turns = 0; turns < 12; turns++) {
    const peer = deadPeer();
    const controller = new AbortController();
    const dialing = dial(peer, { ...onlyPortOf(peer), signal: controller.signal, attempts: 50 });
    const settled = dialing.then(
      () => expect.unreachable("nobody listens"),
      (error) => error,
    );
    for (let i = 0; i < turns; i++) await undefined;
    controller.abort();
    await settled;
    expect(listenRefusal(peer)).toBe(null);
  }
});

it("a worker that is terminated leaves the port of its joined socket free", async () => {
  const local = deadPeer();
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)}).then(({ TcpSocket }) => {
      globalThis.socket = TcpSocket.open(4).bind(workerData);
      socket.connect(workerData);
      setInterval(() => socket.isSelfConnected(), 1000);
      parentPort.postMessage(socket.isSelfConnected());
    });`;
  const worker = new Worker(code, { eval: true, workerData: local });
  expect(await new Promise((resolve) => worker.once("message", resolve))).toBe(true);
  expect(listenRefusal(local)).toBe("EADDRINUSE");
  await worker.terminate();
  expect(listenRefusal(local)).toBe(null);
});
