import { once } from "node:events";
import { closeSync } from "node:fs";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { SocketError } from "../../lib/socket/errors.ts";
import type { WaitLimits } from "../../lib/socket/limits.ts";
import { WaitError } from "../../lib/socket/limits.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { catchError, deadPeer, FAMILIES, LOOPBACK, needsFiles, withNative } from "../support/harness.ts";

const bytes = (word: string) => new TextEncoder().encode(word);
const text = (received: Uint8Array) => new TextDecoder().decode(received);

/** Runs with two sockets that are connected to each other, and resets both. */
async function withPair<T>(
  family: 4 | 6,
  use: (one: TcpSocket, other: TcpSocket) => Promise<T> | T,
): Promise<T> {
  const [one, other] = await TcpSocket.pair(family);
  try {
    return await use(one, other);
  } finally {
    one.reset();
    other.reset();
  }
}

function listen(family: 4 | 6 = 4): TcpSocket {
  return TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 }).listen();
}

/** The peer's delayed acknowledgement (40 ms) and the first window probe (200 ms) empty the buffer a little. */
const SETTLE_MS = 300;

/** Sends until the send buffer stays full. Returns the number of bytes. */
async function fill(socket: TcpSocket): Promise<number> {
  socket.setsockopt("sendBufferBytes", 65536); // A buffer of the kernel's own size grows.
  const chunk = new Uint8Array(65536);
  const endsAt = performance.now() + SETTLE_MS;
  let sent = 0;
  while (performance.now() < endsAt) {
    for (let count = socket.send(chunk); count > 0; count = socket.send(chunk)) sent += count;
    await sleep(1);
  }
  return sent;
}

/** The value of a promise, or the code of the error with which it rejected. */
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    (value) => value,
    (error: { code?: string }) => error.code ?? error,
  );

describe.each(FAMILIES)("waits over IPv%i", (family) => {
  it("pair() is two sockets connected to each other", async () => {
    await withPair(family, (one, other) => {
      expect(one.getpeername()).toEqual(other.getsockname());
      expect(other.getpeername()).toEqual(one.getsockname());
      expect([one.state, other.state, one.isSelfConnected()]).toEqual(["connected", "connected", false]);
    });
  });

  it("accepted() waits for each connection, and callers get them in their order", async () => {
    using listener = listen(family);
    const waits = [1, 2, 3].map(() => listener.accepted());
    const clients = [1, 2, 3].map(() => TcpSocket.open(family));
    for (const client of clients) client.connect(listener.getsockname());
    const accepted = await Promise.all(waits);
    expect(accepted.map((socket) => socket.getpeername())).toEqual(
      clients.map((client) => client.getsockname()),
    );
    for (const socket of [...accepted, ...clients]) socket.reset();
  });

  it("receiveExactly() waits for all bytes, sendAll() until the kernel has accepted them", async () => {
    await withPair(family, async (one, other) => {
      const sent = crypto.getRandomValues(new Uint8Array(65536));
      const large = new Uint8Array(8 * 2 ** 20).map((_, i) => sent[i % sent.length]!);
      const sending = one.sendAll(large);
      expect(await outcome(Promise.race([sending, sleep(50, "waits")]))).toBe("waits");
      const received = await other.receiveExactly(large.length);
      await sending;
      expect(Buffer.compare(received, large)).toBe(0);
    });
  });

  it("writes several buffers in order with one call, and the peer reads them as one stream", async () => {
    await withPair(family, async (one, other) => {
      expect(one.writev([bytes("one"), new Uint8Array(0), bytes(" by "), bytes("one")])).toBe(10);
      expect(text(await other.receiveExactly(10))).toBe("one by one");
      const many = Array.from({ length: 1500 }, () => new Uint8Array([7]));
      expect(one.writev(many), "the kernel's limit").toBe(1024);
      expect((await other.receiveExactly(1024)).every((byte) => byte === 7)).toBe(true);
      expect(one.writev([])).toBe(0);
    });
  });

  it("reads bytes twice with peek, and urgent data apart from the stream", async () => {
    await withPair(family, async (one, other) => {
      const into = new Uint8Array(8);
      one.send(bytes("abc"));
      await other.readable();
      expect(other.recv(into, { peek: true })).toBe(3);
      expect(other.recv(into)).toBe(3);
      expect(() => other.recv(into, { urgent: true })).toThrow(expect.objectContaining({ code: "EINVAL" }));
      one.send(bytes("x!"), { urgent: true });
      await other.readable();
      expect(other.recv(into, { urgent: true })).toBe(1);
      expect(text(into.subarray(0, 1))).toBe("!");
      expect(other.recv(into)).toBe(1);
    });
  });

  it("toStream({ allowHalfOpen }) can send after the peer's end; without it the stream ends too", async () => {
    for (const allowHalfOpen of [true, false]) {
      const [one, other] = await TcpSocket.pair(family);
      const stream = one.toStream({ allowHalfOpen });
      stream.on("error", () => {});
      other.shutdown("write");
      stream.resume();
      await once(stream, "end");
      await sleep(1);
      expect(stream.writable).toBe(allowHalfOpen);
      if (allowHalfOpen) {
        stream.end("late");
        expect(text(await other.receiveExactly(4))).toBe("late");
      }
      stream.destroy();
      if (!stream.closed) await once(stream, "close");
      other.reset();
    }
  });
});

describe("iteration over a listener", () => {
  it("leaving the loop leaves it open, and closing it ends the loop", async () => {
    const listener = listen();
    const peer = listener.getsockname();
    const clients = [1, 2, 3].map(() => net.connect(peer.port, peer.host));
    for (const client of clients) client.on("error", () => {});
    for await (const socket of listener) {
      socket.reset();
      break;
    }
    expect(listener.state).toBe("listening");
    let count = 0;
    for await (const socket of listener) {
      socket.reset();
      if (++count === 2) setImmediate(() => listener.close());
    }
    expect(count).toBe(2);
    expect(listener.closed).toBe(true);
    for (const client of clients) client.destroy();
  });

  it("return() ends a wait, and the next caller gets a connection that arrives later", async () => {
    using listener = listen();
    const connections = listener[Symbol.asyncIterator]();
    const next = connections.next();
    await connections.return!();
    expect(await next).toEqual({ value: undefined, done: true });
    expect(await connections.next()).toEqual({ value: undefined, done: true });
    using client = TcpSocket.open(4);
    client.connect(listener.getsockname());
    using accepted = await listener.accepted();
    expect(accepted.getpeername()).toEqual(client.getsockname());
  });

  it("connections() ends at a deadline of each connection and at an abort, and the listener stays open", async () => {
    using listener = listen();
    const abort = new AbortController();
    let count = 0;
    const loop = async (limits: WaitLimits) => {
      for await (const socket of listener.connections(limits)) {
        socket.reset();
        count++;
        if (limits.signal) setImmediate(() => abort.abort(new Error("enough")));
      }
    };
    const clients = [1, 2].map(() => TcpSocket.open(4));
    for (const client of clients) client.connect(listener.getsockname());
    await expect(loop({ deadlineMs: 20 })).rejects.toMatchObject({ code: "ERR_DEADLINE", syscall: "accept" });
    expect(count).toBe(2);
    using late = TcpSocket.open(4);
    setImmediate(() => late.connect(listener.getsockname()));
    await expect(loop({ signal: abort.signal, deadlineMs: 10_000 })).rejects.toThrow("enough");
    expect(count).toBe(3);
    await expect(loop({ signal: abort.signal }), "aborted before").rejects.toThrow("enough");
    expect(listener.state).toBe("listening");
    expect(catchError(() => listener.connections({ deadline: 1 } as never))).toMatchObject({
      code: "ERR_UNKNOWN_OPTION",
    });
    for (const client of clients) client.reset();
  });

  it("an error of accept(2) ends the loop, and the listener stays open", async () => {
    const accept: Native["accept"] = () => -24; // EMFILE
    await withNative({ accept }, async () => {
      using listener = listen();
      const loop = async () => {
        for await (const socket of listener) socket.reset();
      };
      await expect(loop()).rejects.toMatchObject({ code: "EMFILE", syscall: "accept" });
      expect(listener.state).toBe("listening");
    });
  });

  it("a connection that the peer has aborted is skipped", async () => {
    const results = [-103]; // ECONNABORTED, as BSD kernels report it
    const real = loadNative();
    await withNative({ accept: (...handles) => results.pop() ?? real.accept(...handles) }, async () => {
      using listener = listen();
      using client = TcpSocket.open(4);
      client.connect(listener.getsockname());
      using accepted = await listener.accepted();
      expect(accepted.getpeername()).toEqual(client.getsockname());
      expect(results).toEqual([]);
    });
  });

  it("a queue that never empties does not block timers", async (context) => {
    needsFiles(context, 700);
    using listener = listen();
    const peer = listener.getsockname();
    const clients = Array.from({ length: 300 }, () => TcpSocket.open(4));
    for (const client of clients) client.connect(peer);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const accepted: TcpSocket[] = [];
    for await (const socket of listener) {
      accepted.push(socket);
      const endsAt = performance.now() + 0.2;
      while (performance.now() < endsAt); // A server that works.
      if (accepted.length === clients.length) break;
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
    for (const socket of [...accepted, ...clients]) socket.reset();
  });
});

describe("what ends a wait", () => {
  const WAITS = {
    accepted: (socket: TcpSocket, limits = {}) => socket.accepted(limits),
    readable: (socket: TcpSocket, limits = {}) => socket.readable(limits),
    writable: (socket: TcpSocket, limits = {}) => socket.writable(limits),
    sendAll: (socket: TcpSocket, limits = {}) => socket.sendAll(new Uint8Array(10), limits),
    receiveExactly: (socket: TcpSocket, limits = {}) => socket.receiveExactly(10, limits),
  };
  const NAMES = Object.keys(WAITS) as (keyof typeof WAITS)[];

  /** Runs with a socket on which the wait blocks. */
  async function withBlocked<T>(
    name: keyof typeof WAITS,
    use: (socket: TcpSocket) => Promise<T>,
  ): Promise<T> {
    if (name === "accepted") {
      using listener = listen();
      return await use(listener);
    }
    return withPair(4, async (one) => {
      await fill(one);
      return await use(one);
    });
  }

  describe.each(NAMES)("%s()", (name) => {
    it.each(["close", "reset", "release"] as const)("%s() rejects it with ERR_SOCKET_CLOSED", async (end) => {
      await withBlocked(name, async (socket) => {
        const waits = [WAITS[name](socket), WAITS[name](socket, { deadlineMs: 10_000 })].map(outcome);
        await sleep(2);
        const fd = socket[end]();
        expect(await Promise.all(waits)).toEqual(["ERR_SOCKET_CLOSED", "ERR_SOCKET_CLOSED"]);
        expect(await outcome(WAITS[name](socket))).toBe("ERR_SOCKET_CLOSED");
        if (typeof fd === "number") closeSync(fd);
      });
    });

    it("transfer() rejects it with ERR_SOCKET_CLOSED, and the socket can wait in its new place", async () => {
      await withBlocked(name, async (socket) => {
        const wait = outcome(WAITS[name](socket));
        await sleep(1);
        const transfer = socket.transfer();
        expect(await wait).toBe("ERR_SOCKET_CLOSED");
        const taken = TcpSocket.fromTransfer(transfer);
        expect(await outcome(WAITS[name](taken, { deadlineMs: 5 }))).toBe("ERR_DEADLINE");
        taken.reset();
      });
    });

    it("a deadline rejects it alone, and the socket is unchanged", async () => {
      await withBlocked(name, async (socket) => {
        const state = socket.state;
        const patient = WAITS[name](socket);
        const error: WaitError = await WAITS[name](socket, { deadlineMs: 10 }).then(
          () => expect.unreachable(),
          (reason) => reason,
        );
        expect(error).toBeInstanceOf(WaitError);
        expect(error).toMatchObject({ code: "ERR_DEADLINE", transferred: 0, local: socket.getsockname() });
        expect(error.message).toContain(`${name}()`);
        expect(error.elapsedMs).toBeGreaterThan(5);
        expect(await outcome(WAITS[name](socket, { deadlineMs: 0 }))).toBe("ERR_DEADLINE");
        expect(socket.state).toBe(state);
        expect(await outcome(Promise.race([patient, sleep(5, "waits")]))).toBe("waits");
        socket.reset();
        expect(await outcome(patient)).toBe("ERR_SOCKET_CLOSED");
      });
    });

    it("a signal rejects it with its reason, also one that has aborted before", async () => {
      await withBlocked(name, async (socket) => {
        const reason = new Error("enough");
        const controller = new AbortController();
        const wait = outcome(WAITS[name](socket, { signal: controller.signal }));
        setImmediate(() => controller.abort(reason));
        expect(await wait).toBe(reason);
        expect(await outcome(WAITS[name](socket, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      });
    });

    it("wrong limits are a programmer error, and name the near miss", async () => {
      await withBlocked(name, async (socket) => {
        await expect(WAITS[name](socket, { deadlineMS: 5 })).rejects.toThrow('did you mean "deadlineMs"');
        expect(await outcome(WAITS[name](socket, { deadlineMs: -1 }))).toBe("ERR_INVALID_DEADLINE");
      });
    });
  });

  it.each([
    "readable",
    "writable",
    "sendAll",
    "receiveExactly",
  ] as const)("%s() waits for a connect in progress, and rejects with its error", async (name) => {
    using socket = TcpSocket.open(4);
    expect(await outcome(WAITS[name](socket))).toBe("ERR_NOT_CONNECTED");
    socket.connect(deadPeer(4, "other"));
    expect(await outcome(WAITS[name](socket))).toBe("ECONNREFUSED");
    expect(await outcome(WAITS[name](socket)), "until the next connect()").toBe("ECONNREFUSED");
    using listener = listen();
    socket.connect(listener.getsockname());
    const wait = WAITS[name](socket);
    using accepted = await listener.accepted();
    accepted.send(new Uint8Array(10));
    await wait;
    expect(socket.state).toBe("connected");
  });

  it("a reset by the peer ends all waits: polls resolve, transfers reject", async () => {
    await withPair(4, async (one, other) => {
      await fill(one);
      const waits = [one.readable(), one.writable(), one.receiveExactly(1), one.sendAll(bytes("x"))].map(
        outcome,
      );
      other.reset();
      expect(await Promise.all(waits)).toEqual([undefined, undefined, "ECONNRESET", "EPIPE"]);
    });
  });

  it("shutdown() of a listener rejects accepted() with EINVAL", async () => {
    using listener = listen();
    const wait = outcome(listener.accepted());
    await sleep(1);
    listener.shutdown("read");
    expect(await wait).toBe("EINVAL");
  });

  it("toServer() rejects accepted() with ERR_SOCKET_CLOSED, and the server gets the connections", async () => {
    const listener = listen();
    const peer = listener.getsockname();
    const wait = outcome(listener.accepted());
    await sleep(1);
    const server = listener.toServer();
    expect(await wait).toBe("ERR_SOCKET_CLOSED");
    const client = net.connect(peer.port, peer.host);
    const [stream] = (await once(server, "connection")) as [net.Socket];
    client.destroy();
    stream.destroy();
    server.close();
    await once(server, "close");
  });

  it("a socket of fromFd() waits as any other", async () => {
    const [one, other] = await TcpSocket.pair(4);
    using taken = TcpSocket.fromFd(other.release());
    const wait = taken.receiveExactly(5);
    await one.sendAll(bytes("hello"));
    expect(text(await wait)).toBe("hello");
    one.reset();
  });

  it("only a listener is readable before it is connected, and only a connected socket is writable", async () => {
    using listener = listen();
    expect(await outcome(listener.writable())).toBe("ERR_NOT_CONNECTED");
    expect(await outcome(listener.receiveExactly(1))).toBe("ERR_NOT_CONNECTED");
    const wait = listener.readable();
    using client = TcpSocket.open(4);
    client.connect(listener.getsockname());
    await wait;
    listener.accept()!.reset();
  });
});

describe("bytes are not lost", () => {
  it("receiveExactly() returns the bytes before the deadline, and those before the end of the stream", async () => {
    await withPair(4, async (one, other) => {
      one.send(bytes("half"));
      const late: WaitError = await other.receiveExactly(8, { deadlineMs: 20 }).catch((reason) => reason);
      expect(late).toMatchObject({ code: "ERR_DEADLINE", syscall: "recv", transferred: 4 });
      expect(text(late.bytes!)).toBe("half");
      one.send(bytes("rest"));
      one.shutdown("write");
      const into = new Uint8Array(8);
      const ended: WaitError = await other.receiveExactly(into).catch((reason) => reason);
      expect(ended).toMatchObject({ code: "ERR_END_OF_STREAM", transferred: 4 });
      expect(text(ended.bytes!)).toBe("rest");
      expect(ended.bytes!.buffer).toBe(into.buffer);
    });
  });

  it("sendAll() reports how many bytes were sent before the deadline, so that the caller can send the rest", async () => {
    await withPair(4, async (one, other) => {
      const large = new Uint8Array(8 * 2 ** 20).map((_, i) => i % 251);
      const error: WaitError = await one.sendAll(large, { deadlineMs: 20 }).catch((reason) => reason);
      expect(error).toMatchObject({ code: "ERR_DEADLINE", syscall: "send" });
      expect(error.transferred).toBeGreaterThan(0);
      const rest = one.sendAll(large.subarray(error.transferred));
      const received = await other.receiveExactly(large.length);
      await rest;
      expect(Buffer.compare(received, large)).toBe(0);
    });
  });

  it("a SocketError reports how many bytes were sent before it", async () => {
    await withPair(4, async (one, other) => {
      const sending = one.sendAll(new Uint8Array(64 * 2 ** 20)).catch((reason: unknown) => reason);
      await sleep(5);
      other.reset();
      const error = (await sending) as SocketError & { transferred: number };
      expect(error).toBeInstanceOf(SocketError);
      expect(error.transferred).toBeGreaterThan(0);
    });
  });

  it("calls on one socket do not mix their bytes, and after an abandoned one the next one continues", async () => {
    await withPair(4, async (one, other) => {
      const parts = [1, 2, 3, 4].map((value) => new Uint8Array(3 * 2 ** 20).fill(value));
      const controller = new AbortController();
      const [first, abandoned, second] = [
        other.receiveExactly(3 * 2 ** 20),
        outcome(other.receiveExactly(1000, { signal: controller.signal })),
        other.receiveExactly(9 * 2 ** 20),
      ];
      await sleep(1);
      controller.abort("no more");
      const sends = parts.map((part) => one.sendAll(part));
      expect(await abandoned).toBe("no more");
      const received = Buffer.concat([await first, await second]);
      await Promise.all(sends);
      expect(Buffer.compare(received, Buffer.concat(parts))).toBe(0);
    });
  });

  it("both directions wait at once, and each caller gets its own result", async () => {
    await withPair(4, async (one, other) => {
      const filled = await fill(one);
      const reading = one.receiveExactly(5);
      const writing = one.sendAll(bytes("after"));
      const polls = [one.readable(), one.writable()];
      await sleep(2);
      other.send(bytes("hello"));
      expect(text(await reading)).toBe("hello");
      await polls[0];
      expect(await outcome(Promise.race([writing, sleep(5, "waits")]))).toBe("waits");
      await other.receiveExactly(filled);
      await Promise.all([writing, polls[1]]);
      expect(text(await other.receiveExactly(5))).toBe("after");
    });
  });

  it("10,000 sockets wait at once, and each gets its own bytes", { timeout: 30_000 }, async (context) => {
    const PAIRS = 5_000;
    needsFiles(context, 2 * PAIRS + 100);
    using listener = listen();
    const clients: TcpSocket[] = [];
    const servers: TcpSocket[] = [];
    for (let i = 0; i < PAIRS; i++) {
      const client = TcpSocket.open(4);
      client.connect(listener.getsockname());
      clients.push(client);
      servers.push(await listener.accepted());
    }
    const controller = new AbortController();
    const limits = { deadlineMs: 60_000, signal: controller.signal };
    const requests = servers.map(async (server) => server.sendAll(await server.receiveExactly(4, limits)));
    const replies = clients.map((client) => client.receiveExactly(4, limits));
    for (const [i, client] of clients.entries()) client.send(new Uint8Array(new Uint32Array([i]).buffer));
    const received = await Promise.all(replies);
    expect(received.map((reply) => new Uint32Array(reply.buffer)[0])).toEqual(clients.map((_, i) => i));
    await Promise.all(requests);
    const waits = [...clients, ...servers].map((socket) => outcome(socket.receiveExactly(1, limits)));
    controller.abort("over");
    expect(new Set(await Promise.all(waits))).toEqual(new Set(["over"]));
    for (const socket of [...clients, ...servers]) socket.reset();
  });
});

describe("misuse", () => {
  it.each([
    ["abc", "new TextEncoder().encode(text)"],
    [new ArrayBuffer(3), "new Uint8Array(buffer)"],
    [new Float64Array(1), "instead of the Float64Array"],
    [[1, 2], "Uint8Array.from(numbers)"],
    [undefined, "undefined is not one"],
    [null, "null is not one"],
    [detachedBytes(), "detached"],
  ])("%o instead of bytes is ERR_INVALID_BYTES, with the fix", async (wrong, fix) => {
    await withPair(4, async (one) => {
      const given = wrong as Uint8Array;
      const expected = expect.objectContaining({
        code: "ERR_INVALID_BYTES",
        message: expect.stringContaining(fix),
      });
      expect(() => one.send(given)).toThrow(expected);
      expect(() => one.writev([given])).toThrow(expected);
      expect(() => one.recv(given)).toThrow(expected);
      expect(() => one.recvmsg(given)).toThrow(expected);
      await expect(one.sendAll(given)).rejects.toEqual(expected);
      await expect(one.receiveExactly(given)).rejects.toEqual(expected);
    });
  });

  it("an empty array is not a detached one", async () => {
    await withPair(4, async (one) => {
      expect(one.send(new Uint8Array(0))).toBe(0);
      await one.sendAll(new Uint8Array(0));
      expect(await one.receiveExactly(0)).toEqual(new Uint8Array(0));
    });
  });

  it("a buffer that is detached while it is sent is ERR_INVALID_BYTES", async () => {
    await withPair(4, async (one, other) => {
      const large = new Uint8Array(8 * 2 ** 20);
      const sending = outcome(one.sendAll(large));
      await sleep(5);
      structuredClone(large, { transfer: [large.buffer] });
      await other.receiveExactly(100_000);
      while (other.recv(new Uint8Array(2 ** 20)) !== null);
      expect(await sending).toBe("ERR_INVALID_BYTES");
    });
  });

  it("a buffer that is detached while receiveExactly() waits gives the deadline no bytes", async () => {
    await withPair(4, async (one) => {
      const into = new Uint8Array(8);
      const receiving = one.receiveExactly(into, { deadlineMs: 20 });
      structuredClone(into, { transfer: [into.buffer] });
      await expect(receiving).rejects.toMatchObject({ code: "ERR_DEADLINE", bytes: new Uint8Array(0) });
    });
  });

  it("accept() and accepted() before listen() name the fix", async () => {
    using socket = TcpSocket.open(4);
    expect(() => socket.accept()).toThrow("the socket does not listen; call listen() first");
    await expect(socket.accepted()).rejects.toThrow("call listen() first");
  });

  it("misspelt flags name the near miss, and a wrong length its range", async () => {
    await withPair(4, async (one) => {
      const into = new Uint8Array(1);
      const calls = {
        peek: () => one.recv(into, { peak: true } as object),
        urgent: () => one.send(into, { urgnt: true } as object),
        errorQueue: () => one.recvmsg(into, { errorQeue: true } as object),
        acknowledged: () => one.reportMessages({ acknowleged: true } as object),
        allowHalfOpen: () => one.toStream({ allowHalfOpn: true } as object),
      };
      for (const [name, call] of Object.entries(calls)) expect(call).toThrow(`did you mean "${name}"?`);
      for (const length of [-1, 1.5, Number.NaN, 2 ** 40]) {
        await expect(one.receiveExactly(length)).rejects.toMatchObject({ code: "ERR_INVALID_LENGTH" });
      }
    });
  });
});

/** A Uint8Array whose buffer was given away. */
function detachedBytes(): Uint8Array {
  const given = new Uint8Array(3);
  structuredClone(given, { transfer: [given.buffer] });
  return given;
}
