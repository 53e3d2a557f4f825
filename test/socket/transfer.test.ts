/** The operations that a TcpSocket waits for, step by step, with system calls that the test makes up. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import { SocketError } from "../../lib/socket/errors.ts";
import { WaitError } from "../../lib/socket/limits.ts";
import {
  acceptOperation,
  iterate,
  pollOperation,
  receiveOperation,
  sendOperation,
  waitError,
} from "../../lib/socket/transfer.ts";
import { catchError } from "../support/harness.ts";

const { ECONNABORTED, ECONNRESET, EMFILE } = os.constants.errno;

/** A function that returns or throws these values in order, and the arguments of its calls. */
function script<A, T>(...values: (T | Error)[]): ((argument?: A) => T) & { calls: A[] } {
  const calls: A[] = [];
  const next = (argument?: A): T => {
    calls.push(argument!);
    const value = values.shift()!;
    if (value instanceof Error) throw value;
    return value;
  };
  return Object.assign(next, { calls });
}

describe("accept4(2)", () => {
  it("blocks without a connection, and passes over one that the peer has reset", () => {
    const aborted = new SocketError(-ECONNABORTED, { syscall: "accept" });
    const full = new SocketError(-EMFILE, { syscall: "accept" });
    const other = Object.assign(new Error("no errno"), { code: "ECONNABORTED" });
    const { step, ...names } = acceptOperation(
      script<void, string | null>(null, aborted, "socket", full, other),
    );
    expect(names).toMatchObject({ method: "accepted()", syscall: "accept", direction: "read" });
    expect(names.progress()).toMatchObject({ transferred: 0 });
    expect([step(), step(), step()]).toEqual(["blocked", "again", { value: "socket" }]);
    expect([catchError(step), catchError(step)]).toEqual([full, other]);
  });
});

it.each([
  ["read", "readable()", "nothing arrived"],
  ["write", "writable()", "the send buffer stayed full"],
] as const)("poll(2) to %s is one step of %s", (direction, method, text) => {
  const operation = pollOperation(direction);
  expect(operation).toMatchObject({ direction, method, syscall: "poll", isPoll: true });
  expect(operation.progress()).toEqual({ text, transferred: 0 });
  expect(operation.step()).toEqual({ value: undefined });
});

describe("send(2)", () => {
  it("goes on after what was sent, until all is", () => {
    const send = script<Uint8Array, number>(3, 0, 2);
    const { step, progress, ...names } = sendOperation(send, Uint8Array.of(1, 2, 3, 4, 5));
    expect(names).toEqual({ method: "sendAll()", syscall: "send", direction: "write" });
    expect(step()).toBe("again");
    expect(progress()).toEqual({ text: "3 of 5 bytes were sent", transferred: 3 });
    expect([step(), step()]).toEqual(["blocked", { value: undefined }]);
    expect(send.calls.map((part) => [...part])).toEqual([
      [1, 2, 3, 4, 5],
      [4, 5],
      [4, 5],
    ]);
  });

  it("of no bytes makes no call", () => {
    const send = script<Uint8Array, number>();
    expect(sendOperation(send, new Uint8Array(0)).step()).toEqual({ value: undefined });
    expect(send.calls).toEqual([]);
  });

  it("adds to the kernel's error what was sent before, and to no other", () => {
    const [reset, mistake] = [new SocketError(-ECONNRESET, { syscall: "send" }), new TypeError("mistake")];
    const { step } = sendOperation(script<Uint8Array, number>(1, reset, mistake), new Uint8Array(4));
    step();
    expect(catchError(step)).toBe(reset);
    expect(reset).toMatchObject({ transferred: 1 });
    expect(catchError(step)).toBe(mistake);
    expect(mistake).not.toHaveProperty("transferred");
  });
});

describe("recv(2)", () => {
  it.each([5, new Uint8Array(5)])("fills %o, and goes on after what arrived", (lengthOrInto) => {
    const recv = script<Uint8Array, number | null>(null, 2, 3);
    const { step, progress, ...names } = receiveOperation(recv, lengthOrInto);
    expect(names).toEqual({ method: "receiveExactly()", syscall: "recv", direction: "read" });
    expect([step(), step()]).toEqual(["blocked", "again"]);
    expect(progress()).toEqual({ text: "2 of 5 bytes arrived", transferred: 2, bytes: new Uint8Array(2) });
    const end = step() as { value: Uint8Array };
    expect(end.value).toHaveLength(5);
    if (typeof lengthOrInto === "object") expect(end.value).toBe(lengthOrInto);
    expect(recv.calls.map((part) => part.length)).toEqual([5, 5, 3]);
  });

  it("of no bytes makes no call", () => {
    const recv = script<Uint8Array, number | null>();
    expect(receiveOperation(recv, 0).step()).toEqual({ value: new Uint8Array(0) });
    expect(recv.calls).toEqual([]);
  });

  it("ends with the stream, with the bytes before its end", () => {
    const { step } = receiveOperation(script<Uint8Array, number | null>(2, 0), 4);
    step();
    const error = catchError(step) as WaitError;
    expect(error).toMatchObject({ code: "ERR_END_OF_STREAM", syscall: "recv", transferred: 2 });
    expect(error.bytes).toHaveLength(2);
    expect(error.elapsedMs).toBeGreaterThanOrEqual(0);
    expect(error.elapsedMs).toBeLessThan(performance.now());
  });

  it("adds to the kernel's error what arrived before", () => {
    const reset = new SocketError(-ECONNRESET, { syscall: "recv" });
    const { step } = receiveOperation(script<Uint8Array, number | null>(3, reset), 4);
    step();
    expect(catchError(step)).toBe(reset);
    expect(reset).toMatchObject({ transferred: 3 });
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 32])("%d bytes are ERR_INVALID_LENGTH, a RangeError", (length) => {
    const error = catchError(() => receiveOperation(script(), length));
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({ code: "ERR_INVALID_LENGTH" });
  });
});

it("the error of a wait names the method, and why it ended", () => {
  const deadline = waitError("ERR_DEADLINE", pollOperation("read"), { elapsedMs: 20.4 });
  expect(deadline).toBeInstanceOf(WaitError);
  expect(deadline).toMatchObject({
    code: "ERR_DEADLINE",
    message: "readable(): nothing arrived after 20 ms",
    syscall: "poll",
    elapsedMs: 20.4,
    transferred: 0,
  });
  expect(deadline).not.toHaveProperty("text");
  const ended = waitError("ERR_END_OF_STREAM", receiveOperation(script(), 1), { elapsedMs: 1 });
  expect(ended.message).toBe("receiveExactly(): 0 of 1 bytes arrived before the peer ended the stream");
});

describe("an iteration", () => {
  const done = { value: undefined, done: true };
  const socket = () => {
    let resets = 0;
    return { reset: () => void resets++, resets: () => resets };
  };

  it("yields each value, and ends for good with return()", async () => {
    const [one, other] = [socket(), socket()];
    const next = script<AbortSignal, Promise<typeof one>>(Promise.resolve(one), Promise.resolve(other));
    const values = iterate(next as never);
    expect(values[Symbol.asyncIterator]()).toBe(values);
    expect(await values.next()).toEqual({ value: one, done: false });
    expect(next.calls[0]!.aborted).toBe(false);
    expect(await values.return!()).toEqual(done);
    expect(next.calls[0]!.aborted, "a wait ends").toBe(true);
    expect(await values.next()).toEqual(done);
    expect([next.calls.length, one.resets()]).toEqual([1, 0]);
  });

  it("resets a value that arrives after return()", async () => {
    const late = socket();
    const values = iterate(async () => late);
    const next = values.next();
    await values.return!();
    expect(await next).toEqual(done);
    expect(late.resets()).toBe(1);
  });

  it("ends when the socket is closed, and at return() whatever the wait rejects with", async () => {
    const closed = Object.assign(new TypeError("closed"), { code: "ERR_SOCKET_CLOSED" });
    expect(await iterate(() => Promise.reject(closed)).next()).toEqual(done);
    const values = iterate(() => Promise.reject(new Error("aborted")));
    const next = values.next();
    await values.return!();
    expect(await next).toEqual(done);
  });

  it("throws any other error once, and has ended then", async () => {
    const values = iterate(() => Promise.reject(Object.assign(new Error("full"), { code: "EMFILE" })));
    await expect(values.next()).rejects.toThrow("full");
    expect(await values.next()).toEqual(done);
  });
});
