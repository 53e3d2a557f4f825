/** Wrong arguments: refused at once, with a code, whatever their type. */
import type net from "node:net";
import { constants } from "node:os";
import { afterAll, describe, expect, it, vi } from "vitest";
import { audit, explainBind, free, reserve, waitUntilFree } from "../../lib/audit/index.ts";
import { connectMany } from "../../lib/guard/connect-many.ts";
import { dial } from "../../lib/guard/dial.ts";
import { connect } from "../../lib/guard/net.ts";
import { punch } from "../../lib/guard/punch.ts";
import { findSockets } from "../../lib/kernel/index.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import { trace } from "../../lib/packets/index.ts";
import { predict, samplePorts } from "../../lib/ports/index.ts";
import { findFreePort } from "../../lib/socket/free-port.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { createServer, listen } from "../../lib/socket/server.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, LOOPBACK, withNative } from "../support/harness.ts";

const socket = TcpSocket.open(4);
const listener = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`).listen();
const peer = deadPeer(4, "other");
const byte = new Uint8Array(1);
afterAll(() => {
  socket.close();
  listener.close();
});

/** The error of a call, thrown or as its rejection. */
async function codeOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return "no error";
}

/** Each call of the sockets, the guard and the loop that takes an object of options. */
function callsWith(options: never): readonly (() => unknown)[] {
  return [
    () => TcpSocket.open(4, options),
    () => socket.connected(options),
    () => socket.listen(1, options),
    () => listener.accepted(options),
    () => socket.readable(options),
    () => socket.writable(options),
    () => socket.send(byte, options),
    () => socket.sendmsg([byte], options),
    () => socket.sendAll(byte, options),
    () => socket.recv(byte, options),
    () => socket.recvmsg(byte, options),
    () => socket.receiveExactly(1, options),
    () => socket.reportMessages(options),
    () => socket.toStream(options),
    () => listen(`${LOOPBACK[4]}:0`, options),
    () => listen(`${LOOPBACK[4]}:0`, { acceptedOptions: options }),
    () => createServer({ options }),
    () => createServer({ acceptedOptions: options }),
    () => findFreePort({ low: 2000, high: 3000 }, options),
    () => connectMany([], options),
    () => connectMany([], { options }),
    () => dial(peer, options),
    () => dial(peer, { options }),
    () => punch(`${LOOPBACK[4]}:0`, peer, options),
    () => new ReconnectLoop(options),
  ];
}

describe("options that are no object", () => {
  it.each([null, 5, "x", true])("%j is ERR_INVALID_OPTIONS", async (wrong) => {
    const options = wrong as never;
    for (const call of [
      ...callsWith(options),
      () => createServer(options),
      () => listenRefusal(peer, options),
      () => connect({ ...peer, options }),
      () => findSockets(options),
      () => audit(options),
      () => explainBind(peer, options),
      () => free(peer, options),
      () => reserve(peer.port, options),
      () => waitUntilFree(peer, options),
    ])
      expect(await codeOf(call), String(call)).toBe("ERR_INVALID_OPTIONS");
  });
});

it("a misspelt key of options is ERR_UNKNOWN_OPTION", async () => {
  for (const call of callsWith({ deadlinMs: 1, nodelay: true } as never))
    expect(await codeOf(call), String(call)).toBe("ERR_UNKNOWN_OPTION");
  expect([socket.state, listener.state]).toEqual(["unconnected", "listening"]);
});

it("port 0 cannot be connected to: ERR_INVALID_PORT, a RangeError", async () => {
  const nowhere = { ...peer, port: 0 };
  for (const call of [
    () => punch(`${LOOPBACK[4]}:0`, nowhere),
    async () => new ReconnectLoop({ peer: nowhere, attempts: 1 }),
    () => connectMany([nowhere]).next(),
    () => dial(nowhere),
    () => dial("localhost:0"),
  ]) {
    const error: unknown = await call().catch((reason) => reason);
    expect(error, String(call)).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({ code: "ERR_INVALID_PORT" });
  }
});

describe("a local address and a peer of two families", () => {
  it.each<[string, string, string, string]>([
    ["127.0.0.1", "[::1]:9", "IPv4", "take both of one family"],
    ["127.0.0.1", "[::ffff:127.0.0.1]:9", "IPv4", "write 127.0.0.1 as ::ffff:127.0.0.1"],
    ["::1", "127.0.0.1:9", "IPv6", "take both of one family"],
    ["::", "127.0.0.1:9", "IPv6", "write 127.0.0.1 as ::ffff:127.0.0.1"],
  ])("%s and %s are ERR_INVALID_ADDRESS at once", async (local, to, family, fix) => {
    const open = vi.spyOn(TcpSocket, "open");
    for (const call of [
      () => dial(to, { local }),
      () => dial(to, { local: [local] }),
      () => punch(local, to),
    ]) {
      const error: unknown = await call().catch((reason) => reason);
      expect(error, String(call)).toBeInstanceOf(TypeError);
      const message = expect.stringMatching(
        new RegExp(`^local ${local} is an ${family} address .*: ${fix}$`),
      );
      expect(error, String(call)).toMatchObject({ code: "ERR_INVALID_ADDRESS", message });
    }
    expect(open).not.toHaveBeenCalled();
    open.mockRestore();
    const { value } = await connectMany([to], { local }).next();
    expect(value).toMatchObject({ outcome: /4$/.test(family) ? "EAFNOSUPPORT" : "EINVAL" });
    expect(value!.fix).toMatch(fix);
  });

  it("fromFd() refuses a peer of the other family, and the descriptor is still the caller's", () => {
    const fd = TcpSocket.open(4).release();
    expect(() => TcpSocket.fromFd(fd, "[::1]:9")).toThrow(/local 0\.0\.0\.0 is an IPv4 address and peer ::1/);
    TcpSocket.fromFd(fd).close();
  });
});

it.each(["nowhere", "0", "2147483648", "99999999999"])("the scope %s is ERR_UNKNOWN_SCOPE", async (scope) => {
  using six = TcpSocket.open(6);
  for (const call of [
    () => six.connect(`[fe80::1%${scope}]:9`),
    () => dial({ family: 6, host: "fe80::1", port: 9, scope }),
    () => punch("::", `[fe80::1%${scope}]:9`),
    () => connectMany([`[fe80::1%${scope}]:9`]).next(),
    () => new ReconnectLoop({ peer: `[fe80::1%${scope}]:9`, attempts: 1 }),
    () => explainBind(`[fe80::1%${scope}]:9`),
  ])
    expect(await codeOf(call), String(call)).toBe("ERR_UNKNOWN_SCOPE");
});

it("a scope that cannot be looked up is a SocketError", async () => {
  await withNative({ ifNameToIndex: () => -constants.errno.EMFILE }, () => {
    using six = TcpSocket.open(6);
    const error = expect.objectContaining({ code: "EMFILE", syscall: "if_nametoindex" });
    expect(() => six.connect("[fe80::1%lo]:9")).toThrow(error);
  });
});

it("explainBind() names what is missing in an address, or wrong", () => {
  expect(explainBind("[fe80::1]:9999").tries[0]!.because).toBe("write the interface too, as in fe80::1%eth0");
  expect(explainBind("[ff02::1]:9999").tries[0]!.because).toBe("ff02::1 is a multicast address");
});

it.each([5, "x", {}])("the callback %j is ERR_OPTION_VALUE", async (wrong) => {
  const callback = wrong as never;
  expect(await codeOf(() => dial(peer, { onAttempt: callback }))).toBe("ERR_OPTION_VALUE");
  const options = { peer, attempts: 1, onPorts: callback };
  expect(await codeOf(() => new ReconnectLoop(options))).toBe("ERR_OPTION_VALUE");
});

it("what dial() is given for its retries has the type that it says", async () => {
  expect(await codeOf(() => dial(peer, { retryOn: "ECONNREFUSED" as never }))).toBe("ERR_INVALID_ARGUMENT");
  expect(await codeOf(() => dial(peer, { retryOn: 5 as never }))).toBe("ERR_INVALID_ARGUMENT");
  expect(await codeOf(() => dial(peer, { nextAddressMs: "100" as never }))).toBe("ERR_OUT_OF_RANGE");
});

it("an address of the other family names both, in bind() and in connect()", () => {
  using six = TcpSocket.open(6);
  for (const call of [() => six.bind(peer), () => six.connect(peer)])
    expect(call).toThrow(
      /IPv6 socket and 127\.0\.0\.1 an IPv4 address: .* family 4, or .* ::ffff:127\.0\.0\.1/,
    );
  using four = TcpSocket.open(4);
  for (const call of [() => four.bind("[::1]:0"), () => four.connect("[::1]:9")])
    expect(call).toThrow(/IPv4 socket and ::1 an IPv6 address: open the socket with family 6$/);
});

it("an option that cannot be set is named with its value", () => {
  const setsockopt = () => -constants.errno.EPERM;
  return withNative({ setsockopt }, () => {
    expect(() => socket.setsockopt("priority", 7)).toThrow(/SO_PRIORITY 7, /);
    expect(() => socket.setsockopt("congestion", "x")).toThrow(/TCP_CONGESTION "x", /);
    expect(() => socket.setsockopt("keepAlive", true)).toThrow(/SO_KEEPALIVE true, /);
    expect(() => socket.setsockopt("localPortRange", { low: 1, high: 9 })).toThrow(/\{ low: 1, high: 9 \}, /);
  });
});

describe("limits of another type", () => {
  it.each([
    null,
    "5",
    true,
    [7],
    Number.NaN,
    -1,
  ])("deadlineMs %j is ERR_INVALID_DEADLINE", async (deadlineMs) => {
    const limits = { deadlineMs } as never;
    for (const call of [
      () => listener.accepted(limits),
      () => connectMany([], limits),
      () => dial(peer, limits),
      () => punch(`${LOOPBACK[4]}:0`, peer, limits),
    ])
      expect(await codeOf(call), String(call)).toBe("ERR_INVALID_DEADLINE");
  });

  it.each([null, "x", {}, 5])("signal %j is ERR_INVALID_SIGNAL", async (signal) => {
    const limits = { signal } as never;
    for (const call of [
      () => listener.accepted(limits),
      () => connectMany([], limits),
      () => dial(peer, limits),
      () => punch(`${LOOPBACK[4]}:0`, peer, limits),
      () => new ReconnectLoop({ peer, attempts: 1, signal } as never),
      () => new ReconnectLoop({ peer, attempts: 1 }).run(signal as never),
    ])
      expect(await codeOf(call), String(call)).toBe("ERR_INVALID_SIGNAL");
  });
});

it.each([undefined, null, 5, {}])("the option name %j is ERR_UNKNOWN_OPTION", async (name) => {
  expect(await codeOf(() => socket.getsockopt(name as never))).toBe("ERR_UNKNOWN_OPTION");
  expect(await codeOf(() => socket.setsockopt(name as never, 1 as never))).toBe("ERR_UNKNOWN_OPTION");
});

it.each([
  undefined,
  null,
  {},
  "",
  new Uint8Array(0),
  new Set([new Uint8Array(1)]),
])("the buffers %j are ERR_INVALID_BYTES", async (buffers) => {
  expect(await codeOf(() => socket.writev(buffers as never))).toBe("ERR_INVALID_BYTES");
  expect(await codeOf(() => socket.sendmsg(buffers as never))).toBe("ERR_INVALID_BYTES");
});

it.each([{ dryRn: true }, { dryrun: true }])("%j is no dry run, and nothing is done", async (options) => {
  expect(await codeOf(() => free(peer, options as never))).toBe("ERR_UNKNOWN_OPTION");
  expect(await codeOf(() => reserve(peer.port, options as never))).toBe("ERR_UNKNOWN_OPTION");
  expect(await codeOf(() => audit(options as never))).toBe("ERR_UNKNOWN_OPTION");
  expect(await codeOf(() => explainBind(peer, options as never))).toBe("ERR_UNKNOWN_OPTION");
});

it("what free(), audit() and explainBind() are asked is checked", async () => {
  expect(await codeOf(() => free(peer, { ways: ["x"] as never }))).toBe("ERR_UNKNOWN_WAY");
  expect(await codeOf(() => free(peer, { settleMs: Number.NaN }))).toBe("ERR_OUT_OF_RANGE");
  expect(await codeOf(() => audit({ ports: [] }))).toBe("ERR_INVALID_PORT");
  expect(await codeOf(() => explainBind(peer, { mostHolders: -1 }))).toBe("ERR_OUT_OF_RANGE");
  expect(await codeOf(() => waitUntilFree(peer, { deadlineMs: Number.NaN }))).toBe("ERR_INVALID_DEADLINE");
});

it.each([{ state: ["LISTEN"] }, { foo: 1 }])("findSockets(%j) has a misspelt key", async (filter) => {
  expect(await codeOf(() => findSockets(filter as never))).toBe("ERR_UNKNOWN_OPTION");
});

it.each([{ states: 0 }, { states: [5] }])("findSockets(%j) has no states", async (filter) => {
  expect(await codeOf(() => findSockets(filter as never))).toBe("ERR_UNKNOWN_STATE");
});

it("toServer() of what is no server keeps the listener", async () => {
  expect(await codeOf(() => listener.toServer({} as net.Server))).toBe("ERR_INVALID_SERVER");
  expect(listener.state).toBe("listening");
});

describe("an option that is true or false", () => {
  const wrong = "false" as never;
  it.each([
    ["mptcp", () => TcpSocket.open(4, { mptcp: wrong })],
    ["allowHalfOpen", () => socket.toStream({ allowHalfOpen: wrong })],
    ["urgent", () => socket.send(byte, { urgent: wrong })],
    ["peek", () => socket.recv(byte, { peek: wrong })],
    ["errorQueue", () => socket.recvmsg(byte, { errorQueue: wrong })],
    ["sent", () => socket.sendmsg([byte], { sent: wrong })],
    ["received", () => socket.reportMessages({ received: wrong })],
    ["listen", () => punch("127.0.0.1", peer, { listen: wrong, deadlineMs: 1 })],
    ["joinedOnly", () => findSockets({ joinedOnly: wrong })],
    ["dryRun", () => free(peer, { dryRun: wrong })],
    ["dryRun", () => reserve(peer.port, { dryRun: wrong })],
    ["allNamespaces", () => explainBind(peer, { allNamespaces: wrong })],
    ["pair", () => trace({ peer, pair: wrong })],
    ["namespaces", () => samplePorts({ peer, namespaces: wrong, count: 1 })],
    ["reuseAddress", () => predict({ peer, reuseAddress: wrong })],
  ] as const)("%s is neither by a text: it is an error with the fix", async (name, call) => {
    const error = await (async () => call())().then(
      () => null,
      (thrown: unknown) => thrown,
    );
    const message = `${name} cannot be 'false': use true or false`;
    expect(error).toMatchObject({ code: "ERR_OPTION_VALUE", message });
  });
});
