import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { SocketError } from "../../lib/socket/errors.ts";
import { createServer, listen } from "../../lib/socket/server.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { socketOptions } from "../../lib/socket/stream-options.ts";
import { command, FAMILIES, LOOPBACK } from "../support/harness.ts";

const CLUSTER = new URL("../support/programs/cluster-server.mjs", import.meta.url).pathname;

async function end(server: net.Server): Promise<void> {
  server.close();
  await once(server, "close");
}

async function read(port: number, host: string): Promise<string> {
  return Buffer.concat(await net.connect(port, host).toArray()).toString();
}

describe.each(FAMILIES)("a listener with options over IPv%i", (family) => {
  const host = LOOPBACK[family];

  it("listen() sets them before bind(2): two listeners share a port only with reusePort", () => {
    using one = listen({ family, host, port: 0 }, { reusePort: true });
    const local = one.getsockname();
    using two = listen(local, { reusePort: true });
    expect(two.state).toBe("listening");
    expect(two.getsockopt("reuseAddress"), "as Node").toBe(true);
    expect(() => listen(local)).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
  });

  it("toServer() hands it to a server of Node, with its backlog", async () => {
    const listener = listen({ family, host, port: 0 }, { backlog: 7 });
    const { port } = listener.getsockname();
    const server = listener.toServer(http.createServer((_, response) => response.end("served")));
    expect(listener.state).toBe("closed");
    await once(server, "listening");
    expect(socketOptions(server).information().sackedPackets).toBe(7);
    const [response] = await once(http.get({ host, port, agent: false }), "response");
    expect(Buffer.concat(await response.toArray()).toString()).toBe("served");
    await end(server);
  });

  it("createServer() sets its own on the listener, and others on each accepted socket", async () => {
    const server = createServer(
      {
        options: { synRetries: 3, ...(family === 6 && { ipv6Only: true }) },
        acceptedOptions: { priority: 5 },
      },
      (socket) => socket.end(`${socketOptions(socket).get("priority")}`),
    );
    server.listen(0, host, 9);
    await once(server, "listening");
    const options = socketOptions(server);
    expect([options.get("synRetries"), options.get("priority")]).toEqual([3, 0]);
    expect(options.information().sackedPackets).toBe(9);
    const { port } = server.address() as AddressInfo;
    expect(await read(port, host)).toBe("5");
    expect(await read(port, host)).toBe("5");
    await end(server);
  });
});

describe("createServer()", () => {
  it("takes Node's forms of listen()", async () => {
    const forms: unknown[][] = [
      [],
      [0],
      ["0"],
      [0, "localhost"],
      [{ port: 0 }],
      [{ port: 0, host: "127.0.0.1", backlog: 5, exclusive: true }],
      [{ port: 0, host: "::1", ipv6Only: true }],
    ];
    for (const form of forms) {
      const server = createServer({});
      await new Promise<void>((resolve) =>
        (server.listen as (...given: unknown[]) => unknown)(...form, resolve),
      );
      expect((server.address() as AddressInfo).port).toBeGreaterThan(0);
      await end(server);
    }
  });

  it("ends with the signal, as Node's", async () => {
    const controller = new AbortController();
    const server = createServer({}).listen({ port: 0, host: "127.0.0.1", signal: controller.signal });
    await once(server, "listening");
    controller.abort();
    await once(server, "close");
  });

  it("reports what the kernel answers as an 'error' event", async () => {
    using taken = listen("127.0.0.1:0");
    const server = createServer({}).listen(taken.getsockname().port, "127.0.0.1");
    const [error] = await once(server, "error");
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRINUSE" });
    const [unknown] = await once(createServer({}).listen(0, "no-such-host.invalid"), "error");
    expect(unknown).toMatchObject({ syscall: "getaddrinfo" });
  });

  it("destroys an accepted socket on which an option cannot be set", async () => {
    const server = createServer({ acceptedOptions: { congestion: "no-such-algorithm" } });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const failed = new Promise<unknown>((resolve) =>
      server.on("connection", (socket) => socket.on("error", resolve)),
    );
    const client = net.connect((server.address() as AddressInfo).port, "127.0.0.1");
    client.on("error", () => {});
    expect(await failed).toMatchObject({ syscall: "setsockopt" });
    client.destroy();
    await end(server);
  });

  it("accept() and accepted() of listen() set its acceptedOptions", async () => {
    using listener = listen("127.0.0.1:0", { priority: 3, acceptedOptions: { priority: 5, noDelay: true } });
    for (const accept of [() => listener.accept()!, () => listener.accepted()]) {
      using client = TcpSocket.open(4);
      client.connect(listener.getsockname());
      await client.connected();
      await listener.readable();
      using accepted = await accept();
      expect([accepted.getsockopt("priority"), accepted.getsockopt("noDelay")]).toEqual([5, true]);
    }
    expect(listener.getsockopt("priority")).toBe(3);
  });

  it("toServer() takes acceptedOptions along, before the server's own listeners", async () => {
    const server = net.createServer();
    const seen = new Promise<number>((resolve) =>
      server.on("connection", (socket) => resolve(socketOptions(socket).get("priority"))),
    );
    listen("127.0.0.1:0", { acceptedOptions: { priority: 5 } }).toServer(server);
    await once(server, "listening");
    const client = net.connect((server.address() as AddressInfo).port, "127.0.0.1").on("error", () => {});
    expect(await seen).toBe(5);
    client.destroy();
    await end(server);
  });

  it("an accepted socket on which an option cannot be set is reset, and accept() throws", async () => {
    using listener = listen("127.0.0.1:0", { acceptedOptions: { congestion: "no-such-algorithm" } });
    using client = TcpSocket.open(4);
    client.connect(listener.getsockname());
    await client.connected();
    await listener.readable();
    expect(() => listener.accept()).toThrow(/TCP_CONGESTION "no-such-algorithm"/);
    await client.readable();
    expect(() => client.recv(new Uint8Array(1))).toThrow(/ECONNRESET/);
    expect(listener.state).toBe("listening");
  });

  it("throws programmer errors at once, and leaves nothing open", () => {
    const listenTo = (...given: unknown[]) =>
      (createServer({}).listen as (...all: unknown[]) => void)(...given);
    const wrong: [() => unknown, string, string?][] = [
      [() => createServer({ options: { noDelai: true } as never }), "ERR_UNKNOWN_OPTION", '"noDelay"'],
      [() => createServer({ options: { namspace: "x" } as never }), "ERR_UNKNOWN_OPTION", '"namespace"'],
      [() => createServer({ opions: {} } as never), "ERR_UNKNOWN_OPTION", '"options"'],
      [() => createServer({ reusePort: true } as never), "ERR_UNKNOWN_OPTION", "options: { reusePort }"],
      [() => createServer({ acceptedOptions: { priority: "5" as never } }), "ERR_OPTION_VALUE"],
      [() => listenTo("/run/x.sock"), "ERR_INVALID_LISTEN"],
      [() => listenTo({ fd: 3 }), "ERR_INVALID_LISTEN"],
      [() => listenTo({ prot: 3 }), "ERR_INVALID_LISTEN", '"port"'],
      [() => listenTo(70_000), "ERR_INVALID_PORT"],
      [() => listen("127.0.0.1:0", { baklog: 3 } as never), "ERR_UNKNOWN_OPTION", '"backlog"'],
      [() => listen("127.0.0.1:0", { backlog: -1 }), "ERR_INVALID_BACKLOG"],
    ];
    for (const [act, code, text = ""] of wrong) {
      expect(act).toThrow(expect.objectContaining({ code, message: expect.stringContaining(text) }));
    }
  });
});

describe("toServer()", () => {
  it("of a socket that does not listen, or to a server that does, throws; the socket is still there", async () => {
    using unconnected = TcpSocket.open(4);
    expect(() => unconnected.toServer()).toThrow(expect.objectContaining({ code: "ERR_NOT_LISTENING" }));
    using listener = listen("127.0.0.1:0");
    expect(() => listener.toStream()).toThrow("use toServer()");
    const busy = net.createServer().listen(0, "127.0.0.1");
    await once(busy, "listening");
    expect(() => listener.toServer(busy)).toThrow(expect.objectContaining({ code: "ERR_SERVER_LISTENING" }));
    expect(listener.state).toBe("listening");
    await end(busy);
  });

  it("in a worker of node:cluster throws, where Node would listen on a descriptor of the primary", async () => {
    const { stdout, stderr } = await command(process.execPath, [CLUSTER]);
    expect({ stdout, stderr }).toEqual({ stdout: "ERR_CLUSTER_WORKER listening\n", stderr: "" });
  });
});

it("takes a handler alone, as net.createServer() does", async () => {
  const handled = new Promise<net.Socket>((resolve) => {
    const server = createServer(resolve).listen(0, LOOPBACK[4], () => {
      const { port } = server.address() as net.AddressInfo;
      const client = net.connect(port, LOOPBACK[4]).on("error", () => {});
      client.once("close", () => server.close());
    });
  });
  (await handled).destroy();
});

it("does not listen after close(), nor twice, when a name is looked up meanwhile", async () => {
  const closed = createServer().listen(0, "localhost");
  closed.close();
  const server = createServer().listen(0, "localhost");
  server.listen(0, "localhost");
  await once(server, "listening");
  await sleep(50);
  expect(closed.listening).toBe(false);
  server.close();
  await once(server, "close");
});
