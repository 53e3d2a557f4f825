import { closeSync } from "node:fs";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { findFourTuple } from "../../lib/kernel/index.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, echo, FAMILIES, LOOPBACK, withListener } from "../support/harness.ts";

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const encode = (text: string) => new TextEncoder().encode(text);

/** Waits for the next connection of a nonblocking listener. */
async function acceptNext(listener: TcpSocket): Promise<TcpSocket> {
  for (;;) {
    const socket = listener.accept();
    if (socket) return socket;
    await sleep(1);
  }
}

async function receive(socket: TcpSocket, length: number): Promise<string> {
  const into = new Uint8Array(length);
  for (let count = 0; count < length; ) {
    const read = socket.recv(into.subarray(count));
    if (read === null) await sleep(1);
    else count += read;
  }
  return decode(into);
}

describe.each(FAMILIES)("TcpSocket over IPv%i", (family) => {
  const host = LOOPBACK[family];

  it("listens, connects, accepts, sends and receives", async () => {
    using listener = TcpSocket.open(family).bind({ family, host, port: 0 }).listen();
    using client = TcpSocket.open(family, { noDelay: true });
    const peer = listener.getsockname();
    client.connect(peer);
    await client.connected();
    using server = await acceptNext(listener);
    expect(client.getpeername()).toEqual(peer);
    expect(server.getpeername()).toEqual(client.getsockname());
    expect(client.isSelfConnected()).toBe(false);
    expect(client.recv(new Uint8Array(1))).toBeNull();
    expect(client.send(encode("ping"))).toBe(4);
    expect(await receive(server, 4)).toBe("ping");
    server.shutdown("write");
    await sleep(5);
    expect(client.recv(new Uint8Array(1))).toBe(0);
    expect(client.getsockopt("information").state).toBe("CLOSE-WAIT");
  });

  it("connects to itself when bound to its peer, and reset() frees the port", async () => {
    const self = deadPeer(family);
    using socket = TcpSocket.open(family);
    expect(listenRefusal(self), "control: the port is free before").toBeNull();
    socket.bind(self).connect(self);
    await socket.connected();
    expect(socket.getsockname()).toEqual(self);
    expect(socket.getpeername()).toEqual(self);
    expect(socket.isSelfConnected()).toBe(true);
    expect(decode(await echo(socket, encode("to myself")))).toBe("to myself");
    expect(findFourTuple(self, self).map((row) => row.state)).toEqual(["ESTABLISHED"]);
    expect(listenRefusal(self)).toBe("EADDRINUSE");
    socket.reset();
    expect(listenRefusal(self)).toBeNull();
    expect(findFourTuple(self, self)).toEqual([]);
  });

  it("leaves TIME-WAIT and EADDRINUSE after close(2), which is why the guard resets", async () => {
    const self = deadPeer(family);
    const socket = TcpSocket.open(family).bind(self);
    socket.connect(self);
    await socket.connected();
    expect(socket.isSelfConnected()).toBe(true);
    closeSync(socket.release());
    expect(findFourTuple(self, self).map((row) => row.state)).toEqual(["TIME-WAIT"]);
    expect(listenRefusal(self)).toBe("EADDRINUSE");
  });

  it("opens simultaneously with another socket of the program, without a listener", async () => {
    const local = { family, host, port: 0 } as const;
    // The first socket drops the RST, whose time to live is below 255, but not the other socket's SYN.
    const dropsReset = family === 4 ? { minTimeToLive: 255 } : { minHopCount: 255 };
    const passes = family === 4 ? { timeToLive: 255 } : { unicastHops: 255 };
    using one = TcpSocket.open(family, dropsReset).bind(local);
    using other = TcpSocket.open(family, passes).bind(local);
    one.connect(other.getsockname());
    expect(one.getsockopt("information").state).toBe("SYN-SENT");
    other.connect(one.getsockname());
    await Promise.all([one.connected(), other.connected()]);
    expect(one.getpeername()).toEqual(other.getsockname());
    expect(other.getpeername()).toEqual(one.getsockname());
    expect(one.isSelfConnected()).toBe(false);
    one.send(encode("through the hole"));
    expect(await receive(other, 16)).toBe("through the hole");
    one.reset();
  });

  it("control: a socket that accepts the RST is refused at the first SYN of a simultaneous open", async () => {
    using one = TcpSocket.open(family).bind({ family, host, port: 0 });
    using other = TcpSocket.open(family).bind({ family, host, port: 0 });
    one.connect(other.getsockname());
    await expect(one.connected()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("toStream() returns a working net.Socket", async () => {
    await withListener(
      family,
      (socket) => socket.pipe(socket),
      async (peer) => {
        const socket = TcpSocket.open(family);
        socket.connect(peer);
        const stream = (await socket.connected()).toStream();
        expect(stream).toBeInstanceOf(net.Socket);
        expect(socket.closed).toBe(true);
        expect([stream.remoteAddress, stream.remotePort]).toEqual([peer.host, peer.port]);
        stream.end("there and back");
        const chunks: Buffer[] = await stream.toArray();
        expect(Buffer.concat(chunks).toString()).toBe("there and back");
      },
    );
  });

  it("release() returns an fd that server.listen({ fd }) accepts", async () => {
    const listener = TcpSocket.open(family).bind({ family, host, port: 0 }).listen();
    const { port } = listener.getsockname();
    const server = net.createServer((socket) => socket.end("served"));
    await new Promise<void>((resolve) => server.listen({ fd: listener.release() }, resolve));
    const client = net.connect(port, host);
    expect(Buffer.concat(await client.toArray()).toString()).toBe("served");
    await new Promise((resolve) => server.close(resolve));
    expect(() => listener.release()).toThrow(expect.objectContaining({ code: "ERR_SOCKET_CLOSED" }));
  });
});

describe("addresses on a socket", () => {
  it("v4-mapped: an IPv6 socket connects to itself over IPv4, and isSelfConnected() detects it", async () => {
    const { port } = deadPeer(4);
    const mapped = { family: 6, host: "::ffff:127.0.0.1", port } as const;
    using socket = TcpSocket.open(6).bind(mapped);
    socket.connect(mapped);
    await socket.connected();
    expect(socket.getpeername()).toEqual(mapped);
    expect(socket.isSelfConnected()).toBe(true);
    socket.reset();
  });

  it("0.0.0.0 becomes loopback", async () => {
    await withListener(
      4,
      () => {},
      async ({ port }) => {
        using socket = TcpSocket.open(4);
        socket.connect({ family: 4, host: "0.0.0.0", port });
        await socket.connected();
        expect(socket.getpeername().host).toBe(LOOPBACK[4]);
      },
    );
  });

  it("a scope is looked up by name and by index, and the error names an unknown one", () => {
    using socket = TcpSocket.open(6);
    const index = loadNative().ifNameToIndex("lo");
    expect(() => socket.bind("[fe80::1%nowhere0]:0")).toThrow('"nowhere0" is not an interface');
    // The kernel reports that this host does not have the address; it accepts the scope.
    for (const scope of ["lo", String(index)]) {
      expect(() => socket.bind(`[fe80::1%${scope}]:0`)).toThrow(
        expect.objectContaining({ code: "EADDRNOTAVAIL" }),
      );
    }
  });

  it("a second bind to one local address fails, and leaves the second socket unbound", () => {
    const local = deadPeer();
    using one = TcpSocket.open(4).bind(local);
    using other = TcpSocket.open(4);
    expect(() => other.bind(local)).toThrow(SocketError);
    expect(one.getsockname()).toEqual(local);
    expect(other.getsockname().port).toBe(0);
  });
});

describe("after a refused connect on Linux", () => {
  it("getsockname() still returns the port that was used, and the same socket may connect again", async () => {
    using socket = TcpSocket.open(4);
    const peer = deadPeer();
    const ports = new Set<number>();
    for (let attempt = 0; attempt < 20; attempt++) {
      socket.connect(peer);
      await expect(socket.connected()).rejects.toMatchObject({ code: "ECONNREFUSED" });
      ports.add(socket.getsockname().port);
    }
    expect(ports.size).toBeGreaterThan(15);
    expect(ports.has(0)).toBe(false);
  });
});

describe("the state of a socket", () => {
  it("is in logs and in JSON, with the descriptor and both addresses", () => {
    const self = deadPeer();
    const socket = TcpSocket.open(4).bind(self);
    expect(JSON.parse(JSON.stringify(socket))).toEqual({ fd: socket.fd, state: "unconnected", local: self });
    socket.connect(self);
    expect(socket.toJSON()).toMatchObject({ state: "connecting", local: self, peer: self });
    expect(inspect(socket)).toMatch(/^TcpSocket \{\s+fd: \d+,\s+state: 'connecting',\s+local:/);
    socket.reset();
    expect(inspect(socket)).toBe("TcpSocket { fd: -1, state: 'closed' }");
  });

  it("has the peer also before the kernel reports one, and after it has refused", () => {
    using socket = TcpSocket.open(4);
    const peer = deadPeer();
    socket.connect(peer);
    expect(socket.toJSON()).toMatchObject({ state: "connecting", peer });
    expect(socket.takeError()).toMatchObject({ code: "ECONNREFUSED" });
    expect(socket.toJSON()).toMatchObject({ state: "failed", peer });
  });

  it.each([
    ["unconnected", () => {}],
    ["listening", (socket: TcpSocket) => void socket.bind("127.0.0.1:0").listen()],
    ["closed", (socket: TcpSocket) => socket.close()],
  ])("makes toStream() throw when it is %s", (state, prepare) => {
    using socket = TcpSocket.open(4);
    prepare(socket);
    expect(socket.state).toBe(state);
    const code = state === "closed" ? "ERR_SOCKET_CLOSED" : "ERR_NOT_CONNECTED";
    expect(() => socket.toStream()).toThrow(expect.objectContaining({ code }));
  });

  it("is not created by new", () => {
    const Constructor = TcpSocket as unknown as new () => TcpSocket;
    expect(() => new Constructor()).toThrow(expect.objectContaining({ code: "ERR_ILLEGAL_CONSTRUCTOR" }));
  });
});
