/** undici's own connector under guard: all that it does stays, and what it connects is guarded. */
import http from "node:http";
import net from "node:net";
import undici from "undici";
import { describe, expect, it } from "vitest";
import { isGuarded } from "../../lib/guard/streams.ts";
import type { UndiciConnector } from "../../lib/guard/undici.ts";
import { undiciConnect } from "../../lib/guard/undici.ts";
import { deadPeer, LOOPBACK, withListener } from "../support/harness.ts";

type Request = Parameters<undici.buildConnector.connector>[0];
type Options = undici.buildConnector.BuildOptions;

const plain = (port: number, hostname: string = LOOPBACK[4]): Request => ({
  hostname,
  port: `${port}`,
  protocol: "http:",
});

/** Connects, and returns what undici gets. */
function ask(
  request: Request,
  options?: Options,
): Promise<{ error: Error | null; socket: net.Socket | null }> {
  return new Promise((resolve) => {
    undiciConnect(undici.buildConnector, options)(request, (error, socket) => resolve({ error, socket }));
  });
}

async function end(socket: net.Socket | null): Promise<void> {
  if (socket && !socket.closed) await new Promise((closed) => socket.destroy().once("close", closed));
}

describe("undiciConnect", () => {
  it("is undici's connector: it answers with the socket, from the local address that is asked for", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        const { socket } = await ask({ ...plain(port), localAddress: "127.0.0.9" });
        expect(socket?.localAddress).toBe("127.0.0.9");
        await end(socket);
      },
    ));

  it("a self-connect is an error that undici's RetryAgent retries, until the service is there", async () => {
    const { port, host } = deadPeer();
    const server = http.createServer((_request, response) => response.end("served"));
    const joining = undiciConnect(undici.buildConnector, {}, { options: { localPortRange: onlyPort(port) } });
    const plainly = undiciConnect(undici.buildConnector);
    const refusals: (Error | null)[] = [];
    const agent = new undici.Agent({
      connect: (request, callback) => {
        if (refusals.length === 2) return plainly(request, callback);
        return joining(request, (...answer) => {
          refusals.push(answer[0]);
          if (refusals.length === 2) server.listen(port, host, () => callback(...answer));
          else callback(...answer);
        });
      },
    });
    const retrying = new undici.RetryAgent(agent, { minTimeout: 10, maxTimeout: 20 });
    try {
      const { body } = await retrying.request({ origin: `http://${host}:${port}`, path: "/", method: "GET" });
      expect(await body.text()).toBe("served");
      const refusal = { code: "ECONNREFUSED", isSelfConnect: true };
      expect(refusals).toMatchObject([refusal, refusal]);
    } finally {
      await agent.destroy();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  });

  it("a lookup of the caller's is used, also one that answers in the same turn: it may refuse a host", async () => {
    const peer = deadPeer();
    const asked: string[] = [];
    const lookup: net.LookupFunction = (host, { all }, answer) => {
      asked.push(host);
      return all ? answer(null, [{ address: peer.host, family: 4 }]) : answer(null, peer.host, 4);
    };
    const { error } = await new Promise<{ error: unknown }>((resolve) => {
      const options = { localPortRange: onlyPort(peer.port) };
      undiciConnect(
        undici.buildConnector,
        { lookup },
        { options },
      )(plain(peer.port, "name.test"), (...[caught]) => resolve({ error: caught }));
    });
    expect(asked).toEqual(["name.test"]);
    expect(error).toMatchObject({ code: "ECONNREFUSED", isSelfConnect: true });
    const refuseLookup: net.LookupFunction = (_host, _options, answer) =>
      answer(new Error("forbidden"), "", 4);
    expect((await ask(plain(peer.port, "name.test"), { lookup: refuseLookup })).error?.message).toBe(
      "forbidden",
    );
  });

  it("a socketPath is undici's, and its time-out is undici's own error", async () => {
    const path = await ask(plain(1), { socketPath: "/nowhere/at/all" });
    expect(path.error).toMatchObject({ code: "ENOENT" });
    const lookup: net.LookupFunction = () => {};
    const { error } = await ask(plain(1, "name.test"), { lookup, timeout: 20 });
    expect(error).toBeInstanceOf(undici.errors.ConnectTimeoutError);
  });

  it("guards the streams that undici's connector makes, and no other", () => {
    const give = (made: unknown, request: object) =>
      undiciConnect((): UndiciConnector => () => made)(request as never, undefined as never);
    const own = new net.Socket();
    expect(give(own, {})).toBe(own);
    expect(isGuarded(own)).toBe(true);
    // TLS through a proxy: the proxy's connection was guarded when it was made.
    const overProxy = new net.Socket();
    expect(give(overProxy, { httpSocket: own })).toBe(overProxy);
    expect(isGuarded(overProxy)).toBe(false);
    const other = {};
    expect(give(other, {})).toBe(other);
    for (const socket of [own, overProxy]) socket.destroy();
  });

  it("names mistakes before any request", () => {
    const noBuilder = () => undiciConnect({} as never);
    expect(noBuilder).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
    const connectorWith = (guard: object) => () => undiciConnect(undici.buildConnector, {}, guard);
    expect(connectorWith({ guard: "of" })).toThrow(expect.objectContaining({ code: "ERR_UNKNOWN_GUARD" }));
    expect(connectorWith({ gaurd: "off" })).toThrow(/did you mean "guard"/);
    expect(connectorWith({ options: { noDelya: true } })).toThrow(/did you mean "noDelay"/);
  });
});

function onlyPort(port: number): { low: number; high: number } {
  return { low: port, high: port };
}
