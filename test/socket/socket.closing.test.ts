/** How close(), shutdown() and an error end a socket, of a kernel whose answers the test makes up. */
import { closeSync } from "node:fs";
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { withAnswers } from "../support/answers.ts";
import { catchError, LOOPBACK, withNative } from "../support/harness.ts";

const { errno } = os.constants;
const native = loadNative();
const PEER = { family: 4, host: LOOPBACK[4], port: 9 } as const;

describe("close() of a socket", () => {
  /** The call of the kernel's that ends a socket of which these are the answers. */
  async function endOf(calls: Partial<Native>, how: "close" | "reset", use: (socket: TcpSocket) => unknown) {
    const ends: string[] = [];
    const recorded = Object.fromEntries(
      (["close", "closeChecked", "reset"] as const).map((name) => [
        name,
        (handle: never) => ends.push(name) && native[name](handle),
      ]),
    );
    await withAnswers({ ...calls, ...recorded }, async (socket) => {
      await use(socket);
      socket[how]();
    });
    return ends;
  }
  const connect = (socket: TcpSocket) => {
    socket.connect(PEER);
    return socket;
  };

  const cases: readonly [
    what: string,
    end: string,
    calls: Partial<Native>,
    use: (socket: TcpSocket) => unknown,
  ][] = [
    ["that never connected is close(2)", "close", {}, () => {}],
    ["that is connecting asks first", "closeChecked", { connect: () => 1 }, connect],
    ["of which nothing proves that it is apart asks first", "closeChecked", { connect: () => 0 }, connect],
    [
      "that connected() has proven apart is close(2)",
      "close",
      { connect: () => 1, connectProgress: () => 2 },
      (socket) => connect(socket).connected(),
    ],
    [
      "that isSelfConnected() has proven apart is close(2)",
      "close",
      { connect: () => 0, isJoined: () => 0 },
      (socket) => connect(socket).isSelfConnected(),
    ],
    [
      "that is joined to itself asks first",
      "closeChecked",
      { connect: () => 0, isJoined: () => 1 },
      (socket) => connect(socket).isSelfConnected(),
    ],
    [
      "that has failed is close(2)",
      "close",
      { connect: () => -errno.ENETUNREACH },
      (socket) => catchError(() => connect(socket)),
    ],
  ];

  it.each(cases)("%s", async (_what, end, calls, use) => {
    expect(await endOf({ getpeername: () => 0, ...calls }, "close", use)).toEqual([end]);
    expect(await endOf({ getpeername: () => 0, ...calls }, "reset", use)).toEqual(["reset"]);
  });

  it.each(["close", "reset", "release", "transfer"] as const)("%s() is named to who waits", (how) =>
    withAnswers({ connect: () => 1, connectProgress: () => 1 }, async (socket) => {
      connect(socket);
      const wait = socket.connected();
      const fd = socket[how]();
      await expect(wait).rejects.toMatchObject({
        code: "ERR_SOCKET_CLOSED",
        message: `${how}() was called while connected() waited`,
      });
      if (typeof fd === "number") closeSync(fd);
      else if (fd) TcpSocket.fromTransfer(fd).close();
    }));
});

describe("shutdown()", () => {
  it("of a direction that is none is a mistake", () =>
    withAnswers({}, (socket) => {
      expect(catchError(() => socket.shutdown("wirte" as never))).toMatchObject({
        code: "ERR_INVALID_SHUTDOWN",
        message: expect.stringContaining('"wirte"'),
      });
    }));

  it.each([
    ["read", "unconnected"],
    ["both", "unconnected"],
    ["write", "listening"],
  ] as const)("%s of a listener leaves it %s", (how, state) =>
    withAnswers({ shutdown: () => 0 }, (socket) => {
      expect(socket.bind(`${LOOPBACK[4]}:0`).listen().shutdown(how).state).toBe(state);
    }));

  it("of a socket that is connecting asks how the connect has ended", () => {
    const answers = [1, -errno.ECONNRESET];
    return withAnswers(
      { connect: () => answers.shift()!, connectProgress: () => 1, shutdown: () => 0 },
      (socket) => {
        socket.connect(PEER);
        expect(socket.shutdown("both").state).toBe("failed");
        expect(answers).toEqual([]);
      },
    );
  });
});

describe("an error on a connection", () => {
  it("has the peer that the kernel reports where connect() was not called", async () => {
    const [client, server] = await withNative({ shutdown: () => -errno.EACCES }, () => TcpSocket.pair());
    expect(catchError(() => server.shutdown("both"))).toMatchObject({
      peer: client.getsockname(),
      local: server.getsockname(),
    });
    client.reset();
    server.reset();
  });

  it.each([
    ["send", "EPIPE", "connected"],
    ["send", "EINVAL", "connected"],
    ["send", "ECONNRESET", "failed"],
    ["recv", "EPIPE", "failed"],
    ["recv", "ENOTCONN", "connected"],
  ] as const)("that %s() returns, %s, leaves it %s", (call, code, state) => {
    let hasPeer = true;
    const getpeername = () => (hasPeer ? 0 : -errno.ENOTCONN);
    return withAnswers({ connect: () => 0, getpeername, [call]: () => -errno[code] }, (socket) => {
      socket.connect(PEER);
      hasPeer = false;
      expect(catchError(() => socket[call](new Uint8Array(1)))).toMatchObject({
        code,
        syscall: call,
        peer: PEER,
      });
      expect(socket.state).toBe(state);
    });
  });

  it("that a connection outlives, of its error queue, leaves it connected", () =>
    withAnswers({ connect: () => 0, getpeername: () => 0, takeError: () => errno.EHOSTUNREACH }, (socket) => {
      socket.connect(PEER);
      expect(socket.takeError()).toMatchObject({ code: "EHOSTUNREACH", syscall: "getsockopt", peer: PEER });
      expect(socket.state).toBe("connected");
    }));

  it("is returned by recv() again, instead of the end of the stream, and not by send()", () => {
    const answers = [-errno.ECONNRESET, 0, 0];
    const next = () => answers.shift()!;
    let hasPeer = true;
    const getpeername = () => (hasPeer ? 0 : -errno.ENOTCONN);
    return withAnswers({ connect: () => 0, getpeername, recv: next, send: next }, (socket) => {
      socket.connect(PEER);
      hasPeer = false;
      for (let i = 0; i < 2; i++)
        expect(catchError(() => socket.recv(new Uint8Array(1)))).toMatchObject({ code: "ECONNRESET" });
      expect(socket.send(new Uint8Array(0))).toBe(0);
    });
  });
});

describe("an accepted socket", () => {
  it("is apart from itself without asking the kernel", async () => {
    const isJoined = () => expect.unreachable("it is known");
    const [client, server] = await withNative({ isJoined }, () => TcpSocket.pair());
    expect(server.isSelfConnected()).toBe(false);
    client.reset();
    server.reset();
  });
});
