/** connect() does what net.connect does, and never emits 'connect' for a socket joined to itself. */

import { once } from "node:events";
import type net from "node:net";
import { describe, expect, it } from "vitest";
import type { Guard } from "../../lib/guard/guard.ts";
import type { ConnectOptions } from "../../lib/guard/net.ts";
import { connect } from "../../lib/guard/net.ts";
import type { SelfConnectRefusal } from "../../lib/guard/streams.ts";
import { guardStream, streamFactory } from "../../lib/guard/streams.ts";
import type { Address } from "../../lib/socket/address.ts";
import { DialError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import {
  deadPeer,
  deadPort,
  FAMILIES,
  needsNamespaces,
  requires,
  runInNamespace,
  withListener,
} from "../support/harness.ts";

/** Options that leave the kernel only one local port to pick: the peer's. */
function onlyPortOf({ port }: Address): NonNullable<ConnectOptions["options"]> {
  return { localPortRange: { low: port, high: port } };
}

/** Waits until the stream has closed. Returns its events in order, and its error. */
async function recordEvents(
  socket: net.Socket,
  peer?: Address,
): Promise<{ events: string[]; error?: SelfConnectRefusal; refusal?: string | null }> {
  const events: string[] = [];
  let error: SelfConnectRefusal | undefined;
  let refusal: string | null | undefined;
  for (const event of ["connect", "ready", "data", "end", "timeout"])
    socket.on(event, () => events.push(event));
  socket.on("error", (caught) => {
    events.push("error");
    error = caught as SelfConnectRefusal;
    if (peer) refusal = listenRefusal(peer);
  });
  await new Promise((resolve) => socket.on("close", resolve));
  return { events, ...(error && { error }), ...(refusal !== undefined && { refusal }) };
}

describe.each(FAMILIES)("a self-connect over IPv%i", (family) => {
  it("control: with guard off it is a 'connect', and the port is taken", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const socket = connect({ ...peer, family, guard: "off", options: onlyPortOf(peer) });
    await once(socket, "connect");
    expect(socket.localPort).toBe(socket.remotePort);
    expect(listenRefusal(peer)).toBe("EADDRINUSE");
    socket.resetAndDestroy();
    await once(socket, "close");
  });

  it.each([
    "prevent",
    "detect",
  ] as const)("is an 'error' and never a 'connect', and leaves the port free (guard: %s)", async (guard) => {
    const peer = deadPeer(family);
    const { events, error, refusal } = await recordEvents(
      connect({ ...peer, guard, options: onlyPortOf(peer) }),
      peer,
    );
    expect(events).toEqual(["error"]);
    expect(error).toMatchObject({ code: "ECONNREFUSED", isSelfConnect: true });
    expect(error?.cause).toBeInstanceOf(DialError);
    expect(error?.cause.code).toBe("ERR_SELF_CONNECT");
    expect(error?.cause.attempts).toMatchObject([{ outcome: "self-connect", peer, local: peer }]);
    expect(refusal).toBe(null);
  });

  it("is refused before connecting when the local port is the peer's", async () => {
    const peer = deadPeer(family);
    for (const local of [{ localPort: peer.port }, { localPort: peer.port, localAddress: peer.host }]) {
      const { events, error } = await recordEvents(connect({ ...peer, ...local }));
      expect(events).toEqual(["error"]);
      expect(error?.message).toContain("the local port is the peer's own");
    }
    const socket = connect({ ...peer, localPort: peer.port, guard: "off" });
    await once(socket, "connect");
    socket.resetAndDestroy();
    await once(socket, "close");
  });

  it("cannot happen, because the kernel cannot pick the port, also after a bind", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const options = { localPortRange: { low: peer.port, high: peer.port + 1 } };
    for (const local of [{}, { localAddress: peer.host }]) {
      for (let i = 0; i < 20; i++) {
        const { error } = await recordEvents(connect({ ...peer, ...local, options }));
        expect(error?.code).toBe("ECONNREFUSED");
      }
    }
  });
});

describe("a local address without a port, as proxies and agents pass it", () => {
  /** Connects 200 times to a dead port in a range of 16 ports. Returns how many self-connects the guard rejected. */
  const countRejections = async (guard: Guard) => {
    const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
    const script = `
      const { connect } = await import(${library});
      let rejections = 0;
      for (let i = 0; i < 200; i++) {
        const socket = connect({ host: "127.0.0.1", port: 40003, localAddress: "127.0.0.1", guard: "${guard}" });
        socket.on("error", (error) => { if (error.isSelfConnect) rejections++; });
        await new Promise((closed) => socket.once("close", closed));
      }
      console.log(rejections);`;
    const args = ["--input-type=module", "-e", script];
    const { stdout, stderr } = await runInNamespace("40000 40015", process.execPath, args);
    expect(stderr).toBe("");
    return Number(stdout);
  };

  it("binds late, and the kernel cannot pick the peer's port", async (context) => {
    needsNamespaces(context);
    requires(context, "6.3", "localPortRange");
    expect(await countRejections("prevent")).toBe(0);
  });

  it("control: without prevention the kernel picks the port, and the guard resets", async (context) => {
    needsNamespaces(context);
    expect(await countRejections("detect")).toBeGreaterThan(0);
  });
});

describe("happy eyeballs", () => {
  const both: net.LookupFunction = (_host, _options, callback) =>
    callback(null, [
      { address: "::1", family: 6 },
      { address: "127.0.0.1", family: 4 },
    ]);

  it("tries the next address when one is rejected, and later errors are Node's", async (context) => {
    requires(context, "6.3", "localPortRange");
    const port = deadPort();
    const options = { localPortRange: { low: port, high: port } };
    using listener = TcpSocket.open(4);
    const socket = connect({ port, host: "both.test", lookup: both, autoSelectFamily: true, options });
    const rejected: string[] = [];
    socket.once("connectionAttemptFailed", (host) => {
      // The port is free at once, so a server can start before Node tries the next address.
      rejected.push(host);
      guardStream(socket, {});
      listener.bind({ family: 4, host: "127.0.0.1", port }).listen();
    });
    await once(socket, "connect");
    expect(rejected).toEqual(["::1"]);
    expect(socket.remoteAddress).toBe("127.0.0.1");
    const later = Object.assign(new Error("later"), { syscall: "connect" });
    socket.destroy(later);
    expect((await recordEvents(socket)).error).toBe(later);
  });

  it("reports the rejection of all addresses as one error with every attempt", async () => {
    const port = deadPort();
    const options = { localPortRange: { low: port, high: port } };
    const socket = connect({ port, host: "both.test", lookup: both, autoSelectFamily: true, options });
    const { events, error } = await recordEvents(socket);
    expect(events).toEqual(["error"]);
    expect(error?.cause.attempts.map(({ outcome, peer }) => [outcome, peer.family])).toEqual([
      ["self-connect", 6],
      ["self-connect", 4],
    ]);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error?.code).toBe("ECONNREFUSED");
  });
});

describe("what net.connect does", () => {
  const greet = (socket: net.Socket) => socket.end("hello");

  it("accepts the same forms of arguments", () =>
    withListener(4, greet, async ({ port, host }) => {
      const whole = ["connect", "ready", "data", "end"];
      expect((await recordEvents(connect(port, host).resume())).events).toEqual(whole);
      expect((await recordEvents(connect({ port, host }).resume())).events).toEqual(whole);
      const result = await new Promise((resolve) => connect(port, host, () => resolve("connected")).resume());
      expect(result).toBe("connected");
    }));

  it("supports lookup, onread, signal, timeout and keepAlive", () =>
    withListener(4, greet, async ({ port, host }) => {
      const lookup: net.LookupFunction = (_host, options, callback) =>
        options.all ? callback(null, [{ address: host, family: 4 }]) : callback(null, host, 4);
      const received: string[] = [];
      const onread = {
        buffer: Buffer.alloc(64),
        callback: (length: number, buffer: Uint8Array) =>
          received.push(Buffer.from(buffer.slice(0, length)).toString()) > 0,
      };
      await recordEvents(
        connect({ port, host: "name.test", lookup, onread, keepAlive: true, noDelay: true }),
      );
      expect(received).toEqual(["hello"]);
      const abort = new AbortController();
      const aborted = connect({ port, host, signal: abort.signal });
      abort.abort();
      expect((await recordEvents(aborted)).error?.code).toBe("ABORT_ERR");
    }));

  it("emits 'timeout' after the given time", () =>
    withListener(
      4,
      () => {},
      async ({ port, host }) => {
        const socket = connect({ port, host, timeout: 10 });
        await once(socket, "timeout");
        socket.destroy();
        await once(socket, "close");
      },
    ));

  it("sets socket options before it connects", () =>
    withListener(4, greet, async ({ port, host }) => {
      const localPort = deadPort();
      const socket = connect({
        port,
        host,
        options: { localPortRange: { low: localPort, high: localPort } },
      });
      await once(socket, "connect");
      expect(socket.localPort).toBe(localPort);
      socket.destroy();
      await once(socket, "close");
    }));

  it("throws for wrong arguments at once, and emits 'error' if the kernel refuses an option", async () => {
    expect(() => connect({ ...deadPeer(), guard: "no" as never })).toThrow(/is not a guard/);
    expect(() => connect({ ...deadPeer(), options: { noDelya: true } as never })).toThrow(
      /did you mean "noDelay"/,
    );
    expect(() => connect({ path: "/nowhere", options: { noDelay: true } })).toThrow(/Unix domain socket/);
    const { error } = await recordEvents(
      connect({ ...deadPeer(), options: { congestion: "no-such-algorithm" } }),
    );
    expect(error).toMatchObject({ name: "SocketError", code: "ENOENT", syscall: "setsockopt" });
  });

  it("connects to a path unguarded", async () => {
    expect((await recordEvents(connect("/nowhere/at/all"))).error?.code).toBe("ENOENT");
  });
});

describe("guardStream", () => {
  it("guards every connect of a reused stream, until a second call turns the guard off", async () => {
    const peer = deadPeer();
    const stream = guardStream(streamFactory()(), { options: onlyPortOf(peer) });
    for (let i = 0; i < 3; i++) {
      stream.connect(peer.port, peer.host);
      const { error } = await recordEvents(stream);
      expect(error?.isSelfConnect).toBe(true);
      expect(error?.cause.attempts).toHaveLength(1);
      stream.removeAllListeners();
    }
    guardStream(stream, { guard: "off", options: onlyPortOf(peer) });
    stream.connect(peer.port, peer.host);
    await once(stream, "connect");
    expect(stream.localPort).toBe(stream.remotePort);
    stream.resetAndDestroy();
    await once(stream, "close");
  });
});
