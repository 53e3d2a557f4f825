/** What connectMany() takes from its source: no faster than needed, each address once, and errors in their turn. */
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import type { AddressSource } from "../../lib/guard/address-input.ts";
import { AddressInput } from "../../lib/guard/address-input.ts";
import { encodeAddress } from "../../lib/socket/address.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { catchError } from "../support/harness.ts";

const native = loadNative();
const at = (port: number) => `127.0.0.1:${port}`;

/** The input of this source, and what it calls when an asynchronous one has replied. */
function inputOf(source: unknown) {
  const reportReply = vi.fn();
  return { input: new AddressInput(source as AddressSource, native, reportReply), reportReply };
}

/** The ports that wait, which are then connected to. */
const takePorts = ({ waiting }: AddressInput) => waiting.splice(0).map(({ address }) => address.port);

/** An iterator of one kind whose next() gives these answers, one after another. */
function createSource(kind: "asyncIterator" | "iterator", answers: readonly unknown[]) {
  const left = [...answers];
  const next = vi.fn(() => left.shift());
  const end = vi.fn();
  return { next, return: end, source: { [Symbol[kind]]: () => ({ next, return: end }) } };
}

it.each([
  ["a text", at(1)],
  ["null", null],
  ["undefined", undefined],
  ["an object", {}],
  ["what has no method of the name", { [Symbol.iterator]: 5, [Symbol.asyncIterator]: 5 }],
])("%s is no source", (_what, source) => {
  expect(catchError(() => inputOf(source))).toMatchObject({ code: "ERR_INVALID_ARG_TYPE" });
});

describe("a source that replies at once", () => {
  it("is asked for as many as are needed, each once, and has ended when all are connected to", () => {
    const peer = { family: 4, host: "127.0.0.1", port: 2 } as const;
    const values = [at(1), at(1), peer, at(3)].map((value) => ({ value }));
    const { next, source } = createSource("iterator", [...values, { done: true }]);
    const { input, reportReply } = inputOf(source);
    expect(input.pull(2)).toBe(false);
    expect(next).toHaveBeenCalledTimes(3);
    expect(input.waiting[1]).toEqual({ address: peer, bytes: encodeAddress(peer) });
    expect(input.pull(2)).toBe(false);
    expect(next).toHaveBeenCalledTimes(3);
    expect(takePorts(input)).toEqual([1, 2]);
    expect(input.isEnded).toBe(false);
    expect(input.pull(2)).toBe(false);
    expect(input.isEnded).toBe(false);
    expect(takePorts(input)).toEqual([3]);
    expect(input.isEnded).toBe(true);
    expect(input.pull(2)).toBe(false);
    expect(next).toHaveBeenCalledTimes(5);
    expect(reportReply).not.toHaveBeenCalled();
  });

  it("and has nothing but duplicates gives the event loop its turn", () => {
    const endless = { [Symbol.iterator]: () => ({ next }) };
    const next = vi.fn(() => ({ value: at(1) }));
    const { input } = inputOf(endless);
    expect(input.pull(2)).toBe(true);
    expect(next).toHaveBeenCalledTimes(1024);
    expect(takePorts(input)).toEqual([1]);
  });

  it.each([
    ["fails", () => expect.unreachable("no more"), "no more"],
    ["has a wrong address", () => ({ value: "nowhere" }), "nowhere"],
  ])("and %s is an error after the addresses before", (_what, last, message) => {
    const answers = [{ value: at(1) }, { value: at(2) }];
    const next = vi.fn(() => answers.shift() ?? last());
    const { input } = inputOf({ [Symbol.iterator]: () => ({ next }) });
    expect(input.pull(5)).toBe(true);
    expect(input.pull(5)).toBe(true);
    expect(next).toHaveBeenCalledTimes(3);
    expect(takePorts(input)).toEqual([1, 2]);
    expect(catchError(() => input.pull(5))).toHaveProperty("message", expect.stringContaining(message));
  });
});

describe("a source that replies later", () => {
  it("is asked for one value at a time, also where it has both iterators", async () => {
    const answers = [{ value: at(1) }, { value: at(2) }, { done: true }].map((each) => Promise.resolve(each));
    const { next, source } = createSource("asyncIterator", answers);
    const { input, reportReply } = inputOf({
      ...source,
      [Symbol.iterator]: () => expect.unreachable("async"),
    });
    for (const [asked, ports] of [
      [1, [1]],
      [2, [2]],
      [3, []],
    ] as const) {
      expect(input.pull(2)).toBe(false);
      expect(input.pull(2)).toBe(false);
      expect(next).toHaveBeenCalledTimes(asked);
      await turn();
      expect(reportReply).toHaveBeenCalledTimes(asked);
      expect(takePorts(input)).toEqual(ports);
      expect(input.isEnded).toBe(asked === 3);
    }
    expect(input.pull(2)).toBe(false);
    expect(next).toHaveBeenCalledTimes(3);
  });

  it.each([
    ["fails", () => Promise.reject(new Error("no more")), "no more"],
    ["has a wrong address", () => Promise.resolve({ value: "nowhere" }), "nowhere"],
  ])("and %s has replied, with an error", async (_what, answer, message) => {
    const { input, reportReply } = inputOf(createSource("asyncIterator", [answer()]).source);
    input.pull(1);
    await turn();
    expect(reportReply).toHaveBeenCalledOnce();
    expect(catchError(() => input.pull(1))).toHaveProperty("message", expect.stringContaining(message));
  });
});

describe("close()", () => {
  it("ends the source once, in a microtask, as its iterator", async () => {
    const { source, return: end } = createSource("iterator", []);
    const { input } = inputOf(source);
    input.close();
    input.close();
    expect(end).not.toHaveBeenCalled();
    expect(input.isEnded).toBe(true);
    await turn();
    expect(end).toHaveBeenCalledOnce();
    expect(end.mock.contexts[0]).toHaveProperty("next");
    expect(input.pull(1)).toBe(false);
  });

  it("does not end one that has ended", async () => {
    const { source, return: end } = createSource("iterator", [{ done: true }]);
    const { input } = inputOf(source);
    input.pull(1);
    input.close();
    await turn();
    expect(end).not.toHaveBeenCalled();
  });

  it.each([
    ["throws", { return: () => expect.unreachable("nobody reads it") }],
    ["rejects", { return: () => Promise.reject(new Error("nobody reads it")) }],
    ["is not there", {}],
  ])("does not mind a return() that %s", async (_what, iterator) => {
    const { input } = inputOf({ [Symbol.iterator]: () => iterator });
    input.close();
    await turn();
    expect(input.isEnded).toBe(true);
  });

  it.each([
    ["an address", () => Promise.resolve({ value: at(1) })],
    ["an error", () => Promise.reject(new Error("too late"))],
  ])("takes nothing that arrives later: %s", async (_what, answer) => {
    const { input, reportReply } = inputOf(createSource("asyncIterator", [answer()]).source);
    input.pull(1);
    input.close();
    await turn();
    expect(reportReply).not.toHaveBeenCalled();
    expect(input.isEnded).toBe(true);
    expect(input.pull(1)).toBe(false);
  });
});

it("asks the iterator of the source for itself", () => {
  class Source {
    readonly peers = [at(7)];
    *[Symbol.iterator]() {
      yield* this.peers;
    }
  }
  const { input } = inputOf(new Source());
  input.pull(1);
  expect(takePorts(input)).toEqual([7]);
});
