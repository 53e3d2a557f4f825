/** How a connect in progress stands, and its errors, by answers of the kernel that the test makes up. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { encodeAddress, parseAddress } from "../../lib/socket/address.ts";
import {
  addressError,
  checkSamePeer,
  deadlineError,
  hasPeer,
  IN_PROGRESS,
  PROVEN_APART,
  readConnectResult,
} from "../../lib/socket/connecting.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import type { Handle, Native } from "../../lib/socket/native.ts";
import { catchError } from "../support/harness.ts";

const { EADDRINUSE, EAFNOSUPPORT, EBADF, ECONNREFUSED, EINVAL, EISCONN, ENOTCONN } = os.constants.errno;
const HANDLE = {} as Handle;
const ONE = parseAddress("127.0.0.1:9");
const OTHER = parseAddress("127.0.0.2:9");

/** A kernel that answers so; `calls` are the names of those that were made. */
function kernelOf(answers: Partial<Record<"connectProgress" | "connect" | "getpeername", number>>) {
  const calls: string[] = [];
  const answer = (name: keyof typeof answers) => () => {
    calls.push(name);
    return answers[name]!;
  };
  const names = ["connectProgress", "connect", "getpeername"] as const;
  return {
    native: Object.fromEntries(names.map((name) => [name, answer(name)])) as unknown as Native,
    calls,
  };
}

describe("the result of a connect", () => {
  it.each<[string, number, boolean, Parameters<typeof kernelOf>[0], string[]]>([
    ["connected", 0, true, { connectProgress: 0 }, []],
    ["connected to another socket", PROVEN_APART, true, { connectProgress: PROVEN_APART }, []],
    ["refused", -ECONNREFUSED, true, { connectProgress: -ECONNREFUSED }, []],
    [
      "going on, for the poller has not reported its end",
      IN_PROGRESS,
      false,
      { connectProgress: IN_PROGRESS },
      [],
    ],
    ["connected, as connect(2) says", 0, true, { connectProgress: IN_PROGRESS, connect: 0 }, ["connect"]],
    [
      "refused, as connect(2) says",
      -ECONNREFUSED,
      true,
      { connectProgress: IN_PROGRESS, connect: -ECONNREFUSED },
      ["connect"],
    ],
    [
      "connected before",
      0,
      true,
      { connectProgress: IN_PROGRESS, connect: -EISCONN, getpeername: 0 },
      ["connect", "getpeername"],
    ],
    [
      "not begun (TCP_FASTOPEN_CONNECT)",
      IN_PROGRESS,
      true,
      { connectProgress: IN_PROGRESS, connect: -EISCONN, getpeername: -ENOTCONN },
      ["connect", "getpeername"],
    ],
  ])("is %s: %i", (_, result, isReady, answers, then) => {
    const { native, calls } = kernelOf(answers);
    expect(readConnectResult(native, HANDLE, ONE, isReady)).toBe(result);
    expect(calls).toEqual(["connectProgress", ...then]);
  });

  it("is for a peer once getpeername(2) has one", () => {
    expect(hasPeer(kernelOf({ getpeername: 0 }).native, HANDLE)).toBe(true);
    expect(hasPeer(kernelOf({ getpeername: -ENOTCONN }).native, HANDLE)).toBe(false);
  });
});

it.each<[Parameters<typeof checkSamePeer>[0], Address, number, string | null]>([
  [{ name: "connecting", peer: ONE }, OTHER, IN_PROGRESS, "EALREADY"],
  [{ name: "connecting", peer: ONE }, OTHER, 0, "EISCONN"],
  [{ name: "connected", peer: ONE }, OTHER, 0, "EISCONN"],
  [{ name: "connected", peer: ONE }, OTHER, IN_PROGRESS, "EISCONN"],
  [{ name: "connecting", peer: ONE }, ONE, IN_PROGRESS, null],
  [{ name: "connecting", peer: ONE }, parseAddress("[::ffff:127.0.0.1]:9"), IN_PROGRESS, null],
  [{ name: "connecting", peer: ONE }, parseAddress("0.0.0.0:9"), IN_PROGRESS, null],
  [{ name: "connected", peer: parseAddress("0.0.0.0:9") }, ONE, 0, null],
  [{ name: "connected", peer: null }, OTHER, 0, null],
  [{ name: "failed", peer: ONE }, OTHER, 0, null],
  [{ name: "unconnected" }, OTHER, IN_PROGRESS, null],
])("after %o, connect() to %o that returned %i throws %s", (state, peer, result, code) => {
  const error = catchError(() => checkSamePeer(state, peer, result));
  if (code === null) expect(error).toBe(undefined);
  else expect(error).toMatchObject({ name: "SocketError", code, syscall: "connect", peer: ONE });
});

describe("the error of bind(2) and connect(2)", () => {
  /** A socket with this address, or a getsockname(2) that fails. */
  const named = (own: Address | number) => {
    const calls: string[] = [];
    const getsockname = (_handle: Handle, into: Uint8Array) => {
      calls.push("getsockname");
      if (typeof own === "number") return own;
      into.set(encodeAddress(own));
      return 0;
    };
    return { native: { getsockname } as unknown as Native, calls };
  };
  const [four, six] = [parseAddress("0.0.0.0:0"), parseAddress("[::]:0")];
  const local = parseAddress("[::1]:0");
  const mapped = "this is an IPv6 socket and 127.0.0.1 an IPv4 address: open the socket with family 4";

  it.each([
    [
      EAFNOSUPPORT,
      four,
      { syscall: "bind", local },
      /IPv4 socket and ::1 an IPv6 .*: open the socket with family 6$/,
    ],
    [
      EINVAL,
      six,
      { syscall: "connect", peer: ONE },
      new RegExp(`${mapped}, or write .* as ::ffff:127.0.0.1$`),
    ],
    [EAFNOSUPPORT, six, { syscall: "connect", peer: ONE }, new RegExp(mapped)],
    [EINVAL, six, { syscall: "bind", local }, /a link-local one with its scope/],
    [EAFNOSUPPORT, -EBADF, { syscall: "bind", local }, /open the socket with family 4 or 6/],
  ] as const)("errno %i of a socket of %o names both families, if they differ: %o", (errno, own, context, message) => {
    const error = addressError(named(own).native, HANDLE, -errno, context);
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ errno: -errno, ...context });
    expect(error.message).toMatch(message);
  });

  it("is not about families with any other errno", () => {
    const { native, calls } = named(four);
    const error = addressError(native, HANDLE, -EADDRINUSE, { syscall: "bind", local });
    expect(error).toMatchObject({ code: "EADDRINUSE", syscall: "bind", local });
    expect(calls).toEqual([]);
  });
});

it("the error at the deadline has the attempt", () => {
  const error = deadlineError(20.4, { local: OTHER, peer: ONE });
  expect(error).toMatchObject({
    code: "ERR_DEADLINE",
    message: "no reply to connect after 20 ms",
    attempts: [{ outcome: "deadline", elapsedMs: 20.4, local: OTHER, peer: ONE }],
  });
});
