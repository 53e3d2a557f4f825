import os from "node:os";
import { describe, expect, it, test, vi } from "vitest";
import { DialError, errnoName, SocketError } from "../../lib/socket/errors.ts";
import { nearest } from "../../lib/socket/misuse.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { supported } from "../../lib/socket/supported.ts";
import { catchError, deadPeer, deadPort, LOOPBACK, withListener } from "../support/harness.ts";

test("an errno that libuv does not know has the name of the C library", () => {
  expect(errnoName(-os.constants.errno.ESTALE)).toBe("ESTALE");
  expect(errnoName(-9999), "control: no errno").toBe("E9999");
});

describe("SocketError", () => {
  it("has the fields of Node's own system errors, and both addresses", async () => {
    using socket = TcpSocket.open(4);
    const peer = deadPeer();
    socket.connect(peer);
    const error = await socket.connected().catch((reason) => reason);
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({
      name: "SocketError",
      code: "ECONNREFUSED",
      syscall: "connect",
      address: peer.host,
      port: peer.port,
      peer,
    });
    expect(error.errno).toBeLessThan(0);
    expect(error.local.port).toBeGreaterThan(0);
    expect(error.message).toContain(`connect ECONNREFUSED ${peer.host}:${peer.port} - Local (127.0.0.1:`);
  });

  it.each([
    [
      "EADDRINUSE",
      "bind",
      (taken: number) => TcpSocket.open(4).bind({ family: 4, host: LOOPBACK[4], port: taken }),
    ],
    ["EADDRNOTAVAIL", "bind", () => TcpSocket.open(4).bind("192.0.2.1:0")],
    ["ENOTCONN", "getpeername", () => TcpSocket.open(4).getpeername()],
    ["ENOTCONN", "shutdown", () => TcpSocket.open(4).shutdown("both")],
    ["EINVAL", "accept", () => TcpSocket.open(4).accept()],
    ["EAFNOSUPPORT", "bind", () => TcpSocket.open(4).bind("[::1]:0")],
    ["EPERM", "setsockopt", () => TcpSocket.open(4).setsockopt("congestion", "no-such-algorithm")],
  ])("%s is thrown by %s", async (code, syscall, act) => {
    const open = vi.spyOn(TcpSocket, "open");
    try {
      await withListener(
        4,
        () => {},
        (peer) => {
          const error = catchError(() => act(peer.port)) as SocketError;
          expect(error).toBeInstanceOf(SocketError);
          const codes = code === "EPERM" ? ["EPERM", "ENOENT"] : [code];
          expect(codes).toContain(error.code);
          expect(error.syscall).toBe(syscall);
        },
      );
    } finally {
      for (const { value } of open.mock.results) (value as TcpSocket).close();
      open.mockRestore();
    }
  });
});

describe("the text of an error", () => {
  it.each([
    ["bind", "EADDRINUSE", "SO_REUSEADDR"],
    ["listen", "EADDRINUSE", "explainBind()"],
    ["bind", "EADDRNOTAVAIL", "ip address"],
    ["connect", "EADDRNOTAVAIL", "ip_local_port_range"],
    ["bind", "EACCES", "ip_unprivileged_port_start"],
    ["connect", "EACCES", "firewall"],
    ["socket", "EAFNOSUPPORT", "disable_ipv6"],
    ["bind", "EAFNOSUPPORT", "::ffff:"],
    ["connect", "ENETUNREACH", "ip route get"],
    ["accept", "EINVAL", "listen()"],
    ["listen", "EINVAL", "open another"],
    ["connect", "EISCONN", "open another"],
    ["connect", "EALREADY", "await connected()"],
    ["send", "EPIPE", "await connected()"],
    ["sendmsg", "EPIPE", "await connected()"],
    ["recv", "ENOTCONN", "await connected()"],
    ["recvmsg", "ENOTCONN", "await connected()"],
    ["recv", "EINVAL", "outOfBandInline"],
    ["recvmsg", "EINVAL", "outOfBandInline"],
    ["setsockopt", "EINVAL", "await connected()"],
  ] as const)("of %s %s says what to do", (syscall, code, fix) => {
    expect(new SocketError(-os.constants.errno[code], { syscall }).message).toContain(fix);
  });

  it("of another call does not speak of the call that knows the errno best", () => {
    const { message } = new SocketError(-os.constants.errno.EACCES, { syscall: "setsockopt" });
    expect(message).not.toContain("ports below");
  });
});

describe("a programmer error", () => {
  it.each([
    ["ERR_INVALID_FAMILY", () => TcpSocket.open(5 as never)],
    ["ERR_UNKNOWN_OPTION", () => TcpSocket.open(4, { noDelai: true } as never)],
    ["ERR_UNKNOWN_OPTION", () => supported("TCP_NODELAY" as never)],
    ["ERR_OPTION_VALUE", () => TcpSocket.open(4, { noDelay: 1 } as never)],
    ["ERR_OPTION_VALUE", () => TcpSocket.open(4, { timeToLive: 1.5 })],
    ["ERR_OPTION_VALUE", () => TcpSocket.open(4, { localPortRange: { low: 2000, high: 1000 } })],
    ["ERR_OPTION_VALUE", () => TcpSocket.open(4, { localPortRange: { low: 70_000, high: 70_001 } })],
    ["ERR_OPTION_READ_ONLY", () => TcpSocket.open(4, { cookie: 1n } as never)],
    ["ERR_OPTION_UNSUPPORTED", () => TcpSocket.open(4, { ipv6Only: true })],
  ])("is thrown at once and leaks nothing: %s", (code, act) => {
    expect(catchError(act)).toMatchObject({ code });
  });

  it("names the near miss of a misspelt name, and the option of a constant", () => {
    expect(() => supported("nodelay" as never)).toThrow('did you mean "noDelay"?');
    expect(() => supported("TCP_NODELAY" as never)).toThrow('did you mean "noDelay"?');
    expect(nearest("recieveBufferBytes", ["receiveBufferBytes", "sendBufferBytes"])).toBe(
      "receiveBufferBytes",
    );
    expect(nearest("zzzzzzzz", ["noDelay"])).toBeNull();
  });

  it("is every use of a closed socket except close and reset", () => {
    const socket = TcpSocket.open(4);
    socket.close();
    const uses = [
      () => socket.bind("127.0.0.1:0"),
      () => socket.connect(deadPeer()),
      () => socket.listen(),
      () => socket.accept(),
      () => socket.getsockname(),
      () => socket.getpeername(),
      () => socket.getsockopt("noDelay"),
      () => socket.setsockopt("noDelay", true),
      () => socket.takeError(),
      () => socket.isSelfConnected(),
      () => socket.send(new Uint8Array(1)),
      () => socket.recv(new Uint8Array(1)),
      () => socket.shutdown("both"),
      () => socket.release(),
      () => socket.toStream(),
    ];
    for (const use of uses) expect(catchError(use)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    socket.close();
    socket.reset();
    expect(socket.closed).toBe(true);
    expect(socket.fd).toBe(-1);
  });
});

describe("DialError", () => {
  it("has its attempts and its cause", () => {
    const peer = { family: 4, host: LOOPBACK[4], port: deadPort() } as const;
    const cause = new Error("why");
    const error = new DialError(
      "ERR_ATTEMPTS",
      "spent",
      [{ outcome: "ECONNREFUSED", peer, elapsedMs: 1 }],
      cause,
    );
    expect(error).toMatchObject({ name: "DialError", code: "ERR_ATTEMPTS", cause });
    expect(error.attempts).toHaveLength(1);
  });
});

describe("two copies of the package", () => {
  it("know each other's errors by instanceof; a subclass knows only its own", async () => {
    const copy = new URL("../../dist/index.js", import.meta.url).href;
    const other: typeof import("../../lib/index.ts") = await import(/* @vite-ignore */ copy);
    expect(other.SocketError).not.toBe(SocketError);
    const socketError = new other.SocketError(-111, { syscall: "connect" });
    const dialError = new other.DialError("ERR_DEADLINE", "late", []);
    expect(socketError).toBeInstanceOf(SocketError);
    expect(dialError).toBeInstanceOf(DialError);
    expect(new SocketError(-111, { syscall: "connect" })).toBeInstanceOf(other.SocketError);
    expect(socketError).not.toBeInstanceOf(DialError);
    for (const value of [dialError, new Error("other"), null, undefined, "SocketError", {}]) {
      expect(value instanceof SocketError).toBe(false);
    }
    class Own extends SocketError {}
    expect(socketError instanceof Own).toBe(false);
    expect(new Own(-111, { syscall: "connect" })).toBeInstanceOf(Own);
    expect(new Own(-111, { syscall: "connect" })).toBeInstanceOf(other.SocketError);
    expect(Object.keys(socketError)).toEqual(["name", "code", "errno", "syscall"]);
  });
});
