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

  it("is named to who waits for bytes", async () => {
    const [client, server] = await TcpSocket.pair();
    const readable = server.readable();
    server.close();
    client.reset();
    await expect(readable).rejects.toThrow("close() was called while a call waited");
  });
});

describe("toStream()", () => {
  it.each([
    ["is joined to itself", 1, true],
    ["is not", 0, false],
  ])("asks whether the socket %s, where nothing proves it: end() then sends no FIN", (_what, joined, isOwn) =>
    withAnswers(
      {
        connect: () => 0,
        connectProgress: () => 0,
        getpeername: () => 0,
        resetAtCloseIfJoined: () => joined,
      },
      (socket) => {
        socket.connect(PEER);
        const stream = socket.toStream();
        const { _handle: handle } = stream as unknown as { _handle: object | null };
        expect(handle && Object.hasOwn(handle, "shutdown")).toBe(isOwn);
        stream.on("error", () => {}).destroy();
      },
    ));

  it("does not ask where it is known", async () => {
    const resetAtCloseIfJoined = () => expect.unreachable("it is known");
    const [client, server] = await withNative({ resetAtCloseIfJoined }, () => TcpSocket.pair());
    for (const socket of [client, server]) socket.toStream().destroy();
  });
});

it("transfer() that the kernel refuses leaves the socket here", () =>
  withAnswers({ shelve: () => -errno.EMFILE }, (socket) => {
    expect(catchError(() => socket.transfer())).toMatchObject({ code: "EMFILE", syscall: "close" });
    expect(socket.closed).toBe(false);
  }));

it("what is wrong with the options of a call is said with its name", async () => {
  using socket = TcpSocket.open(4);
  const calls: readonly [name: string, call: () => unknown][] = [
    ["TcpSocket.open()", () => TcpSocket.open(4, 5 as never)],
    ["namespace", () => TcpSocket.open(4, 5 as never)],
    ["listen()", () => socket.listen(1, { optoins: {} } as never)],
    ["acceptedOptions", () => socket.listen(1, { acceptedOptions: 5 as never })],
    ["toStream()", () => socket.toStream({ halfOpen: true } as never)],
    ["allowHalfOpen", () => socket.toStream({ allowHalfOpen: 1 as never })],
  ];
  for (const [name, call] of calls) expect((catchError(call) as Error).message).toContain(name);
  await expect(socket.connected({ deadline: 5 } as never)).rejects.toThrow("connected()");
});

it("accept() of a socket on which other code has called listen(2) has no options to set", () =>
  withAnswers({ accept: () => 0 }, (socket) => {
    expect(socket.accept()).toBeInstanceOf(TcpSocket);
  }));

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
  it.each([
    ["in progress", 1, "connect"],
    ["that there was", 0, "getsockopt"],
  ])("%s, which connected() finds, has the call that returned it", (_what, connect, syscall) =>
    withAnswers(
      { connect: () => connect, getpeername: () => 0, connectProgress: () => -errno.ECONNRESET },
      async (socket) => {
        socket.connect(PEER);
        await expect(socket.connected()).rejects.toMatchObject({ code: "ECONNRESET", syscall, peer: PEER });
      },
    ));

  it("is none while the kernel reports none", () =>
    withAnswers({ connect: () => 0, connectProgress: () => 0, getpeername: () => 0 }, async (socket) => {
      socket.connect(PEER);
      await socket.connected();
      expect(socket.state).toBe("connected");
    }));

  it("has no address where the kernel reports none", () =>
    withAnswers({ getsockname: () => -errno.EBADF, shutdown: () => -errno.ENOTCONN }, (socket) => {
      const error = catchError(() => socket.shutdown("both"));
      expect(error).toMatchObject({ code: "ENOTCONN" });
      expect(error).not.toHaveProperty("local");
      expect(socket.toJSON()).not.toHaveProperty("local");
    }));

  it.each([
    ["ENOTCONN", "ECONNRESET", "failed"],
    ["ENOBUFS", "ENOBUFS", "connected"],
  ] as const)("is what getpeername() throws after %s: %s", (answer, code, state) => {
    let peer = 0;
    const calls = { connect: () => 0, getpeername: () => peer, connectProgress: () => -errno.ECONNRESET };
    return withAnswers(calls, (socket) => {
      socket.connect(PEER);
      peer = -errno[answer];
      expect(catchError(() => socket.getpeername())).toMatchObject({ code });
      expect(socket.state).toBe(state);
    });
  });

  it("EPIPE ends a connect in progress, and is sendmsg(2)'s own on a connection; EPERM is setsockopt(2)'s", () => {
    let progress = 1;
    let peer = 0;
    const refuse = { sendmsg: () => -errno.EPIPE, send: () => -errno.EPIPE, setReports: () => -errno.EPERM };
    const calls = { ...refuse, connect: () => progress, getpeername: () => peer };
    return withAnswers(calls, (socket) => {
      socket.connect(PEER);
      expect(catchError(() => socket.send(new Uint8Array(1)))).toMatchObject({ code: "EPIPE" });
      expect(socket.state).toBe("failed");
      progress = 0;
      socket.connect(PEER);
      peer = -errno.ENOTCONN;
      expect(catchError(() => socket.sendmsg([new Uint8Array(1)]))).toMatchObject({ code: "EPIPE" });
      expect(catchError(() => socket.reportMessages({ errors: true }))).toMatchObject({ code: "EPERM" });
      expect(socket.state).toBe("connected");
    });
  });

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
