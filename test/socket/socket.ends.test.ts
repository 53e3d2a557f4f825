/** Each way to end a socket that is joined to itself gives its port back at once; another socket is closed in order. */
import { closeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { findFourTuple } from "../../lib/kernel/tables.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, FAMILIES, withNative } from "../support/harness.ts";

const EXITS = new URL("../support/programs/exits.mjs", import.meta.url).pathname;

/** Loopback over IPv4, over IPv6, and of an IPv6 socket as IPv4. */
const HOSTS = ["127.0.0.1", ...(FAMILIES.includes(6) ? ["::1", "::ffff:127.0.0.1"] : [])];

function deadAddress(host: string): Address {
  return { ...deadPeer(host === "127.0.0.1" ? 4 : 6), host };
}

/** The kernel has joined it to itself; its state is "connecting". */
function join(self: Address): TcpSocket {
  const socket = TcpSocket.open(self.family).bind(self);
  socket.connect(self);
  return socket;
}

function joinAndWait(self: Address): Promise<TcpSocket> {
  return join(self).connected();
}

/** Sends until the socket takes no more: its receive queue is full, and the rest waits. Returns how many bytes. */
function fill(socket: TcpSocket): number {
  const part = new Uint8Array(1 << 16);
  let sent = 0;
  for (let last = 1; last > 0; sent += last) last = socket.send(part);
  return sent;
}

/** Writes to the stream of a joined socket and ends it; the reader gets all, then the end of the stream. */
async function endStream(self: Address, options: { readonly allowHalfOpen?: boolean }): Promise<void> {
  const stream = (await joinAndWait(self)).toStream(options);
  const text = "hello, myself ".repeat(10);
  stream.end(text);
  expect(Buffer.concat(await stream.toArray()).toString()).toBe(text);
  if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
}

const ENDS: Readonly<Record<string, (self: Address) => unknown>> = {
  "close() right after connect()": (self) => join(self).close(),
  "close() after connected()": async (self) => (await joinAndWait(self)).close(),
  "close() after isSelfConnected()": async (self) => {
    const socket = await joinAndWait(self);
    expect(socket.isSelfConnected()).toBe(true);
    socket.close();
  },
  "close() after it has received what it sent": async (self) => {
    const socket = await joinAndWait(self);
    await socket.sendAll(new Uint8Array(10));
    await socket.receiveExactly(10);
    socket.close();
  },
  "the end of a block": async (self) => {
    using _ = await joinAndWait(self);
  },
  "reset()": async (self) => (await joinAndWait(self)).reset(),
  "close() of a socket of fromFd()": (self) => TcpSocket.fromFd(join(self).release()).close(),
  "close() of a socket of fromTransfer()": (self) => TcpSocket.fromTransfer(join(self).transfer()).close(),
  "destroy() of its stream": async (self) => {
    const stream = (await joinAndWait(self)).toStream();
    await new Promise((resolve) => stream.destroy().once("close", resolve));
  },
  "end() of its stream": (self) => endStream(self, {}),
  "end() of a stream that may be half open": (self) => endStream(self, { allowHalfOpen: true }),
  "close() after shutdown() while its FIN waits for room": async (self) => {
    const socket = await joinAndWait(self);
    fill(socket);
    socket.shutdown("write").close();
  },
  "close() of the loop's socket": async (self) => {
    const { socket } = await new ReconnectLoop({ peer: self, strategy: "bind", attempts: 1 }).run();
    socket!.close();
  },
};

describe.each(HOSTS)("a socket that is joined to itself at %s", (host) => {
  it("control: after a plain close(2) it is in TIME-WAIT, and nobody can listen on its port", async () => {
    const self = deadAddress(host);
    closeSync((await joinAndWait(self)).release());
    expect(findFourTuple(self, self)).toMatchObject([{ state: "TIME-WAIT" }]);
    expect(listenRefusal(self)).toBe("EADDRINUSE");
  });

  it.each(Object.entries(ENDS))("leaves nothing after %s", async (_, end) => {
    const self = deadAddress(host);
    await end(self);
    expect(findFourTuple(self, self)).toEqual([]);
    expect(listenRefusal(self)).toBe(null);
  });
});

it("a stream that is joined to itself ends after the last byte, also after more than its receive queue holds", async () => {
  const self = deadAddress("127.0.0.1");
  const socket = await joinAndWait(self);
  const before = fill(socket);
  const stream = socket.toStream();
  const written = Buffer.alloc(1 << 20, "written");
  stream.end(written);
  const received = Buffer.concat(await stream.toArray());
  expect(received).toHaveLength(before + written.length);
  expect(received.subarray(before).equals(written)).toBe(true);
  expect(stream).toMatchObject({ errored: null, writableFinished: true });
  if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
  expect(findFourTuple(self, self)).toEqual([]);
});

it("shutdown() of a socket that is joined to itself keeps its port: the kernel is in TIME-WAIT when it returns", async () => {
  const self = deadAddress("127.0.0.1");
  const socket = (await joinAndWait(self)).shutdown("write");
  expect(findFourTuple(self, self)).toMatchObject([{ state: "TIME-WAIT" }]);
  socket.reset();
  expect(listenRefusal(self)).toBe("EADDRINUSE");
});

it("process.exit() leaves nothing of sockets that are joined to themselves, nor of one that nobody took", async () => {
  const selves: Address[] = [];
  for (const host of HOSTS) {
    for (let way = 0; way < 3; way++) {
      let self = deadAddress(host);
      while (selves.some(({ port }) => port === self.port)) self = deadAddress(host);
      selves.push(self);
    }
  }
  expect(await command(process.execPath, [EXITS, JSON.stringify(selves)])).toMatchObject({
    status: 0,
    stderr: "",
  });
  for (const self of selves) {
    expect(findFourTuple(self, self)).toEqual([]);
    expect(listenRefusal(self)).toBe(null);
  }
});

describe.each(FAMILIES)("a connection to another socket, over IPv%i", (family) => {
  /** Counts the calls of close() that ask the kernel, and those that do not. */
  async function countCloses(use: () => Promise<void>): Promise<Record<"plain" | "checked", number>> {
    const { close, closeChecked } = loadNative();
    const count = { plain: 0, checked: 0 };
    const native: Partial<Native> = {
      close: (handle) => {
        count.plain++;
        return close(handle);
      },
      closeChecked: (handle) => {
        count.checked++;
        return closeChecked(handle);
      },
    };
    await withNative(native, use);
    return count;
  }

  it("is closed by one system call at either end, and the peer reads the end of the stream", async () => {
    const counted = await countCloses(async () => {
      const [client, server] = await TcpSocket.pair(family);
      client.close();
      await server.readable();
      expect(server.recv(new Uint8Array(1))).toBe(0);
      server.close();
    });
    // One of the three is the listener.
    expect(counted).toEqual({ plain: 3, checked: 0 });
  });

  it("is closed in order, not reset, also where the kernel has to be asked", async () => {
    const [client, server] = await TcpSocket.pair(family);
    const taken = TcpSocket.fromFd(client.release());
    await taken.sendAll(new Uint8Array(3));
    taken.close();
    expect(await server.receiveExactly(3)).toHaveLength(3);
    await server.readable();
    expect(server.recv(new Uint8Array(1))).toBe(0);
    server.close();
  });

  it("is closed in order by its stream", async () => {
    const [client, server] = await TcpSocket.pair(family);
    const stream = client.toStream();
    stream.write("abc");
    await server.receiveExactly(3);
    stream.destroy();
    await server.readable();
    expect(server.recv(new Uint8Array(1))).toBe(0);
    server.close();
  });
});
