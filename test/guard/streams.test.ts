/** Node's streams under guard: what they report, and what stays Node's own. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import net from "node:net";
import os from "node:os";
import tls from "node:tls";
import { inspect } from "node:util";
import { describe, expect, it, vi } from "vitest";
import type { GuardOptions } from "../../lib/guard/guard.ts";
import { checkGuardOptions } from "../../lib/guard/guard-options.ts";
import { guardAgent } from "../../lib/guard/http.ts";
import { connect } from "../../lib/guard/net.ts";
import type { SelfConnectRefusal } from "../../lib/guard/streams.ts";
import { guardStream, isGuarded, streamFactory, withAsyncLookup } from "../../lib/guard/streams.ts";
import { connectTls } from "../../lib/guard/tls.ts";
import type { DialError } from "../../lib/socket/errors.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative, replaceNative } from "../../lib/socket/native.ts";
import { deadPeer, LOOPBACK, requires, withListener, withNative } from "../support/harness.ts";

/** The error that a stream ends with, or null. */
function errorOf(socket: net.Socket): Promise<SelfConnectRefusal | null> {
  return new Promise((resolve) => {
    let error: SelfConnectRefusal | null = null;
    socket.once("error", (caught) => {
      error = caught as SelfConnectRefusal;
    });
    socket.once("close", () => resolve(error));
  });
}

/** The error of a refusal, with the verdict as its cause. */
const REFUSAL = { code: "ECONNREFUSED", isSelfConnect: true, cause: { code: "ERR_SELF_CONNECT" } };

/** From the peer's own port: refused before connect(2), on every kernel. */
const toItself = () => {
  const { port, host } = deadPeer();
  return { port, host, localPort: port };
};

/** The functions that a stream has of its own, beside its class's. */
const ownFunctions = (socket: net.Socket) => Object.hasOwn(socket, "destroy");

describe("guardStream", () => {
  it("gives back the stream, which stays of its class", () => {
    const socket = new net.Socket();
    expect(isGuarded(socket)).toBe(false);
    expect(guardStream(socket)).toBe(socket);
    expect(isGuarded(socket)).toBe(true);
    expect(socket).toBeInstanceOf(net.Socket);
    class Own extends net.Socket {}
    const own = guardStream(new Own());
    expect(own).toBeInstanceOf(Own);
    expect(Object.getPrototypeOf(own)).toBe(Own.prototype);
    expect(Object.keys(own)).toEqual(Object.keys(new Own()));
  });

  it.each([
    ["streamFactory()", () => streamFactory()()],
    ["guardStream()", () => guardStream(new net.Socket())],
  ])("%s: stack traces and util.inspect call the stream a Socket, as Node does", async (_, create) => {
    const socket = create();
    const stack = new Promise((resolve) => socket.on("error", () => resolve(new Error().stack)));
    socket.connect(toItself());
    expect(await stack).toMatch(/at Socket\./);
    expect(inspect(socket)).toMatch(/^(<ref \*1> )?Socket \{/);
    expect(socket.constructor).toBe(net.Socket);
  });

  it("guards a stream that is already connecting, from the next tick on", async () => {
    const { port, host, localPort } = toItself();
    const lookup: net.LookupFunction = (_host, { all }, answer) =>
      setImmediate(() => (all ? answer(null, [{ address: host, family: 4 }]) : answer(null, host, 4)));
    const socket = guardStream(net.connect({ port, host: "name.test", localPort, lookup }));
    expect(await errorOf(socket)).toMatchObject(REFUSAL);
  });

  it("guards a stream of a class of the caller's own", async () => {
    class Own extends net.Socket {}
    const socket = guardStream(new Own());
    socket.connect(toItself());
    expect(await errorOf(socket)).toMatchObject(REFUSAL);
  });

  it("takes new options at every call", async () => {
    const socket = guardStream(new net.Socket());
    guardStream(socket, { guard: "off" });
    socket.connect(toItself());
    await once(socket, "connect");
    socket.resetAndDestroy();
    await once(socket, "close");
    guardStream(socket);
    socket.connect(toItself());
    expect(await errorOf(socket)).toMatchObject(REFUSAL);
  });

  it("leaves the stream as it was after each end", async () => {
    const socket = guardStream(new net.Socket());
    socket.connect(toItself());
    await errorOf(socket);
    expect(ownFunctions(socket)).toBe(false);
    const destroy = vi.fn(net.Socket.prototype.destroy);
    socket.destroy = destroy as typeof socket.destroy;
    socket.connect(toItself());
    expect(await errorOf(socket)).toMatchObject({ ...REFUSAL, cause: { attempts: [{}] } });
    expect(socket.destroy, "a destroy of the caller's own comes back").toBe(destroy);
    expect(destroy).toHaveBeenCalled();
  });

  it("gives an error of the caller's own through, also while a rejection is on its way", async () => {
    const socket = guardStream(new net.Socket());
    const own = new Error("own");
    socket.connect(toItself());
    socket.destroy(own);
    expect(await errorOf(socket)).toBe(own);
    const plain = guardStream(new net.Socket());
    plain.connect(toItself());
    plain.destroy();
    expect(await errorOf(plain)).toBe(null);
  });

  it("between a rejection and the next address, an end by the caller is the caller's", async (context) => {
    requires(context, "6.3", "localPortRange");
    const { port } = deadPeer();
    const options = { localPortRange: { low: port, high: port } };
    const lookup: net.LookupFunction = (_host, _options, answer) =>
      answer(null, [
        { address: "::1", family: 6 },
        { address: "127.0.0.1", family: 4 },
      ]);
    for (const own of [new Error("own"), undefined]) {
      const socket = connect({ port, host: "both.test", lookup, autoSelectFamily: true, options });
      socket.once("connectionAttemptFailed", () => socket.destroy(own));
      expect(await errorOf(socket)).toBe(own ?? null);
    }
  });

  it("after a rejection a connect that succeeds is none, and counts from the start", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const socket = guardStream(new net.Socket());
        for (let i = 0; i < 2; i++) {
          socket.connect(toItself());
          const error = await errorOf(socket);
          expect(error?.cause.attempts).toHaveLength(1);
          socket.connect(peer);
          await once(socket, "connect");
          expect(ownFunctions(socket)).toBe(false);
          const closed = errorOf(socket);
          socket.destroy();
          expect(await closed).toBe(null);
        }
      },
    ));

  it("a refusal stays Node's own error", async () => {
    const { port, host } = deadPeer(4, "other");
    const socket = guardStream(new net.Socket());
    socket.connect(port, host);
    const error = await errorOf(socket);
    expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "connect", address: host, port });
    expect(error).not.toHaveProperty("isSelfConnect");
    expect(ownFunctions(socket)).toBe(false);
  });

  it("an option that the kernel refuses is the stream's error, at bind and at connect", () =>
    withNative({ setsockopt: () => -os.constants.errno.EPERM }, async () => {
      const options: GuardOptions = { options: { noDelay: true } };
      const { port, host } = deadPeer();
      for (const local of [{}, { localAddress: host }]) {
        const error = await errorOf(connect({ port, host, ...local, ...options }));
        expect(error).toMatchObject({ name: "SocketError", code: "EPERM", syscall: "setsockopt" });
      }
    }));

  it("without the addon detects by Node's own names", async () => {
    const restore = replaceNative(null);
    try {
      expect(await errorOf(connect(toItself()))).toMatchObject(REFUSAL);
      expect(() => checkGuardOptions({ guard: "detect" })).not.toThrow();
    } finally {
      restore();
    }
  });
});

describe("checkGuardOptions", () => {
  it("knows each word, and is prevent without one", () => {
    expect(checkGuardOptions({})).toEqual({ guard: "prevent" });
    for (const guard of ["prevent", "detect", "off"] as const)
      expect(checkGuardOptions({ guard })).toEqual({ guard });
    const options = { noDelay: true };
    expect(checkGuardOptions({ guard: "off", options })).toEqual({ guard: "off", options });
  });

  it("names what is wrong with an option", () => {
    const codeOf = (options: object) => {
      try {
        return checkGuardOptions({ options }) && null;
      } catch (error) {
        return (error as DialError).code;
      }
    };
    expect(codeOf({ noDelya: true })).toBe("ERR_UNKNOWN_OPTION");
    expect(codeOf({ noDelay: "yes" })).toBe("ERR_OPTION_VALUE");
    expect(codeOf({ information: {} })).toBe("ERR_OPTION_READ_ONLY");
    const native = loadNative();
    const options = native.options.map((row) => ({ ...row, inBuild: false })) as Native["options"];
    return withNative({ options }, () => expect(codeOf({ noDelay: true })).toBe("ERR_OPTION_UNSUPPORTED"));
  });

  it("is asked at once by every door", () => {
    const wrong = { guard: "of" as never };
    const thrown = expect.objectContaining({ code: "ERR_UNKNOWN_GUARD" });
    expect(() => guardStream(new net.Socket(), wrong)).toThrow(thrown);
    expect(() => streamFactory(wrong)).toThrow(thrown);
    expect(() => guardAgent({} as never, wrong)).toThrow(thrown);
    expect(() => connect({ port: 1, ...wrong })).toThrow(thrown);
    expect(() => connectTls({ port: 1, ...wrong })).toThrow(thrown);
    const options = { noDelya: true } as never;
    expect(() => connectTls({ port: 1, options })).toThrow(
      expect.objectContaining({ code: "ERR_UNKNOWN_OPTION" }),
    );
  });

  it.each([7, null, { threads: 1 }])("%j is no callback of a door", (callback) => {
    const thrown = expect.objectContaining({ code: "ERR_OPTION_VALUE" });
    const listener = callback as never;
    expect(() => connectTls({ port: 1 }, listener)).toThrow(thrown);
    expect(() => connect({ port: 1 }, listener)).toThrow(thrown);
    expect(() => connect(1, "localhost", listener)).toThrow(thrown);
  });
});

describe("streamFactory", () => {
  it("makes a new stream each time, guarded as asked", async () => {
    const make = streamFactory({ guard: "off" });
    const socket = make();
    expect(make()).not.toBe(socket);
    expect(isGuarded(socket)).toBe(true);
    socket.connect(toItself());
    await once(socket, "connect");
    socket.resetAndDestroy();
    await once(socket, "close");
    const guarded = streamFactory()();
    guarded.connect(toItself());
    expect(await errorOf(guarded)).toMatchObject(REFUSAL);
  });
});

describe("withAsyncLookup", () => {
  it("lets a lookup that answers in the same turn answer in the next", async () => {
    const answered: unknown[][] = [];
    const lookup = (_host: string, _how: object, answer: (...values: unknown[]) => void) =>
      answer(null, "127.0.0.1", 4);
    const given = { port: 1, lookup };
    const options = withAsyncLookup(given);
    expect(options).toMatchObject({ port: 1 });
    options.lookup("name.test", {}, (...values) => answered.push(values));
    expect(answered).toEqual([]);
    await new Promise((resolve) => process.nextTick(resolve));
    expect(answered).toEqual([[null, "127.0.0.1", 4]]);
    expect(given.lookup, "the caller's object stays").toBe(lookup);
  });

  it("gives options without a lookup back as they are", () => {
    const options = { port: 1 };
    expect(withAsyncLookup(options)).toBe(options);
  });

  it("is what the agents and connectTls need", async () => {
    const { port, host, localPort } = toItself();
    const lookup: net.LookupFunction = (_host, { all }, answer) =>
      all ? answer(null, [{ address: host, family: 4 }]) : answer(null, host, 4);
    const request = { port, host: "name.test", localPort, lookup };
    expect(await errorOf(connectTls(request as tls.ConnectionOptions))).toMatchObject(REFUSAL);
  });
});

describe("guardAgent", () => {
  it("guards what the agent makes, and leaves other streams and later answers alone", () => {
    const request = { port: 1 };
    const created = () => {};
    const socket = new net.Socket();
    const createConnection = vi.fn((_request: object, _created?: () => void): unknown => socket);
    const agent = { createConnection };
    expect(guardAgent(agent as never)).toBe(agent);
    expect(agent.createConnection(request, created)).toBe(socket);
    expect(isGuarded(socket)).toBe(true);
    expect(createConnection).toHaveBeenCalledWith(request, created);
    expect(createConnection.mock.contexts[0]).toBe(agent);
    createConnection.mockReturnValue(undefined);
    expect(agent.createConnection(request)).toBe(undefined);
  });
});

describe("connectTls", () => {
  it("takes a stream that is connected already as it is", () => {
    const socket = new net.Socket();
    const secure = connectTls({ socket });
    expect(isGuarded(secure)).toBe(false);
    secure.on("error", () => {}).destroy();
    expect(isGuarded(socket)).toBe(false);
  });

  it("passes its callback on", () => {
    const secure = vi.spyOn(tls, "connect").mockReturnValue(new net.Socket() as tls.TLSSocket);
    const onSecure = () => {};
    const socket = connectTls({ port: 1, guard: "off" }, onSecure);
    expect(secure.mock.calls[0]).toEqual([expect.objectContaining({ port: 1 }), onSecure]);
    expect(isGuarded(socket)).toBe(true);
    secure.mockRestore();
  });
});

describe("connect", () => {
  it("publishes its socket where Node publishes those of net.connect", async () => {
    const seen: unknown[] = [];
    const listener = (message: unknown) => void seen.push((message as { socket: net.Socket }).socket);
    subscribe("net.client.socket", listener);
    const socket = connect({ ...deadPeer(4, "other") });
    unsubscribe("net.client.socket", listener);
    expect(seen).toEqual([socket]);
    await errorOf(socket);
  });

  it("takes a path without options, and refuses one with them", async () => {
    expect(await errorOf(connect({ path: "/nowhere/at/all" }))).toMatchObject({ code: "ENOENT" });
    const options = { noDelay: true };
    expect(() => connect({ path: "/nowhere/at/all", options })).toThrow(
      expect.objectContaining({ code: "ERR_OPTION_UNSUPPORTED" }),
    );
  });

  it("keeps a time-out of its options only", () => {
    const timeout = vi.spyOn(net.Socket.prototype, "setTimeout");
    const plain = vi.spyOn(net.Socket.prototype, "connect").mockReturnThis();
    connect({ port: 1, host: LOOPBACK[4] });
    expect(timeout).not.toHaveBeenCalled();
    connect({ port: 1, host: LOOPBACK[4], timeout: 7 });
    expect(timeout).toHaveBeenCalledWith(7);
    timeout.mockRestore();
    plain.mockRestore();
  });
});
