/** The state of a socket on its way to another thread. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import type { State } from "../../lib/socket/state.ts";
import { isSentState, receiveState, sendState } from "../../lib/socket/state.ts";

const peer = parseAddress("127.0.0.1:9");
const local = parseAddress("127.0.0.1:4711");
const refused = -os.constants.errno.ECONNREFUSED;

/** As it arrives in the other thread. */
const pass = (state: State): State => receiveState(structuredClone(sendState(state)));

describe("a state arrives as it was", () => {
  it.each<State>([
    { name: "unconnected" },
    { name: "listening", acceptedOptions: { noDelay: true } },
    { name: "connecting", peer, wait: null },
    { name: "connected", peer, isApart: true },
    { name: "connected", peer: null, isApart: false },
  ])("%o", (state) => {
    expect(pass(state)).toEqual(state);
    expect(isSentState(sendState(state))).toBe(true);
  });

  it("a wait stays behind", () => {
    const state: State = { name: "connecting", peer, wait: { callbacks: () => {} } as never };
    expect(pass(state)).toEqual({ name: "connecting", peer, wait: null });
  });

  it.each([
    { syscall: "connect", local, peer },
    { syscall: "recv", peer },
    { syscall: "connect" },
  ])("a failure with its error: %o", (context) => {
    const error = new SocketError(refused, context);
    const arrived = pass({ name: "failed", peer, error });
    expect(arrived).toEqual({ name: "failed", peer, error });
    const copy = (arrived as { error: SocketError }).error;
    expect(copy).toBeInstanceOf(SocketError);
    expect(Object.entries(copy)).toEqual(Object.entries(error));
    expect(copy.message).toBe(error.message);
  });
});

it.each([
  undefined,
  null,
  {},
  { name: "closed" },
  { name: "nonsense" },
])("%o is no state to send", (wrong) => {
  expect(isSentState(wrong as never)).toBe(false);
});
