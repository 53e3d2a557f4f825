/** What the errors of sends, receives and waits say, and how a deadline is shared by a connect and what follows it. */
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { catchError, LOOPBACK, withNative } from "../support/harness.ts";

const BYTES = new Uint8Array(1);
const EPERM = -os.constants.errno.EPERM;

describe("a wrong argument is named with its method", () => {
  const wrong: readonly [method: string, call: (socket: TcpSocket) => unknown][] = [
    ["send()", (socket) => socket.send("text" as never)],
    ["send()", (socket) => socket.send(BYTES, { urgnt: true } as never)],
    ["writev()", (socket) => socket.writev("text" as never)],
    ["sendmsg()", (socket) => socket.sendmsg("text" as never)],
    ["sendmsg()", (socket) => socket.sendmsg([BYTES], { snt: true } as never)],
  ];

  it.each(wrong)("%s, %s", (method, call) => {
    using socket = TcpSocket.open(4);
    expect((catchError(() => call(socket)) as Error).message).toContain(method);
  });

  it("and a flag that is none with its name", () => {
    using socket = TcpSocket.open(4);
    for (const name of ["sent", "acknowledged"]) {
      const error = catchError(() => socket.sendmsg([BYTES], { [name]: 1 }));
      expect(error).toMatchObject({ code: "ERR_OPTION_VALUE", message: expect.stringContaining(name) });
    }
  });
});

it("an error of the kernel has the system call that it was", () =>
  withNative({ setReports: () => EPERM, recvmsg: () => EPERM, sendmsg: () => EPERM }, () => {
    using socket = TcpSocket.open(4);
    const syscallOf = (call: () => unknown) => (catchError(call) as { syscall: string }).syscall;
    expect(syscallOf(() => socket.send(BYTES))).toBe("send");
    expect(syscallOf(() => socket.writev([BYTES]))).toBe("sendmsg");
    expect(syscallOf(() => socket.sendmsg([BYTES]))).toBe("sendmsg");
    expect(syscallOf(() => socket.recv(BYTES))).toBe("recv");
    expect(syscallOf(() => socket.recvmsg(BYTES))).toBe("recvmsg");
    expect(syscallOf(() => socket.reportMessages({ errors: true }))).toBe("setsockopt");
  }));

it("a socket in a wrong state is told what to do first", async () => {
  using socket = TcpSocket.open(4);
  const refused = { code: "ERR_NOT_CONNECTED" };
  await expect(socket.readable()).rejects.toMatchObject({
    ...refused,
    message: "readable() needs a connected socket, but this one is unconnected: call connect() first",
  });
  socket.bind(`${LOOPBACK[4]}:0`).listen();
  await expect(socket.writable()).rejects.toMatchObject({
    ...refused,
    message:
      "writable() needs a connected socket, but this one is listening: call it on a socket that accepted() returned",
  });
});

describe("a deadline that has begun with a connect", () => {
  const STARTED_AT = 100_000;
  const CONNECT_MS = 10_000;

  /** Runs with a socket whose connect lasts this long by a clock that stands before and after it, and its peer. */
  async function withSlowConnect(use: (socket: TcpSocket, accept: () => TcpSocket) => Promise<void>) {
    using listener = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`).listen();
    using socket = TcpSocket.open(4);
    socket.connect(listener.getsockname());
    const clock = vi.spyOn(performance, "now").mockReturnValue(STARTED_AT);
    const { connected } = socket;
    socket.connected = async () => {
      await connected.call(socket);
      clock.mockReturnValue(STARTED_AT + CONNECT_MS);
      return socket;
    };
    try {
      await use(socket, () => listener.accept()!);
    } finally {
      clock.mockRestore();
    }
  }

  it("has what is left for the rest, and reports the time of both and the addresses", () =>
    withSlowConnect(async (socket) => {
      const receiving = socket.receiveExactly(1, { deadlineMs: CONNECT_MS + 5 });
      const error = await Promise.race([receiving, sleep(3000)]).catch((reason) => reason);
      expect(error).toMatchObject({ code: "ERR_DEADLINE", elapsedMs: CONNECT_MS });
      expect(error).toMatchObject({ local: socket.getsockname(), peer: socket.getpeername() });
    }));

  it("has time left where the connect took less", () =>
    withSlowConnect(async (socket, accept) => {
      const receiving = socket.receiveExactly(1, { deadlineMs: CONNECT_MS + 3000 });
      await sleep(20);
      using peer = accept();
      peer.send(BYTES);
      expect(await receiving).toEqual(BYTES);
    }));

  it("and none where it took more", () =>
    withSlowConnect(async (socket) => {
      const receiving = socket.receiveExactly(1, { deadlineMs: CONNECT_MS - 1 });
      await expect(Promise.race([receiving, sleep(3000)])).rejects.toMatchObject({ code: "ERR_DEADLINE" });
    }));

  it("is none where none is asked for", () =>
    withSlowConnect(async (socket, accept) => {
      const receiving = socket.receiveExactly(1);
      await sleep(5);
      using peer = accept();
      peer.send(BYTES);
      expect(await receiving).toEqual(BYTES);
    }));
});
