/** The connector of undici's form: what it passes on, how often it answers, and when it gives up. */
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { UndiciConnectOptions, UndiciRequest } from "../../lib/guard/undici.ts";
import { undiciConnect } from "../../lib/guard/undici.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, LOOPBACK, withListener } from "../support/harness.ts";

const plain = (port: number | string, hostname: string = LOOPBACK[4]): UndiciRequest => ({
  hostname,
  port: `${port}`,
  protocol: "http:",
});

/** Connects, and collects every answer that undici gets. */
function ask(request: UndiciRequest, options?: UndiciConnectOptions) {
  const answers: unknown[][] = [];
  const answered = deferred();
  const socket = undiciConnect(options)(request, (...answer) => {
    answers.push(answer);
    answered.resolve(answer);
  });
  return { socket, answers, answered: answered.promise };
}

function deferred() {
  let resolve!: (value: unknown) => void;
  const promise = new Promise((yes) => {
    resolve = yes;
  });
  return { promise, resolve };
}

const closeOf = (socket: net.Socket) => new Promise((closed) => socket.once("close", closed));

async function closed(socket: net.Socket): Promise<void> {
  if (!socket.closed) await closeOf(socket.destroy());
}

describe("undiciConnect", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("answers once, with the socket, and hears later errors itself", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        const { socket, answers, answered } = ask(plain(port));
        await answered;
        expect(answers).toEqual([[null, socket]]);
        socket.destroy(new Error("later"));
        await closed(socket);
        expect(answers).toHaveLength(1);
      },
    ));

  it("answers once with the error, and without a socket", async () => {
    const { socket, answers } = ask(plain(deadPeer(4, "other").port));
    await closeOf(socket);
    expect(answers).toEqual([[expect.objectContaining({ code: "ECONNREFUSED" }), null]]);
  });

  it("sets no delay and keep-alive, as undici's own connector does", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        const noDelay = vi.spyOn(net.Socket.prototype, "setNoDelay");
        const keepAlive = vi.spyOn(net.Socket.prototype, "setKeepAlive");
        const { socket, answered } = ask(plain(port));
        expect(noDelay).toHaveBeenCalledWith(true);
        expect(keepAlive).toHaveBeenCalledWith(true, 60_000);
        await answered;
        await closed(socket);
      },
    ));

  it("takes an IPv6 address out of its brackets, and a local address", () =>
    withListener(
      6,
      (socket) => socket.resume(),
      async ({ port }) => {
        const { socket, answers, answered } = ask({ ...plain(port, "[::1]"), localAddress: "::1" });
        await answered;
        expect(answers[0]![0]).toBe(null);
        expect(socket.remoteAddress).toBe("::1");
        await closed(socket);
      },
    ));

  it("connects from the local address that is asked for", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        const { socket, answered } = ask({ ...plain(port), localAddress: "127.0.0.9" });
        await answered;
        expect(socket.localAddress).toBe("127.0.0.9");
        await closed(socket);
      },
    ));

  it.each([
    ["http:", 80],
    ["https:", 443],
  ])("%s without a port goes to %i", async (protocol, port) => {
    const connect = vi.spyOn(net.Socket.prototype, "connect").mockReturnThis();
    const { socket } = ask({ ...plain(""), protocol }, { connectTimeoutMs: 0 });
    const [first] = connect.mock.calls[0] as unknown as [unknown];
    const [given] = Array.isArray(first) ? first : [first];
    expect(given).toMatchObject({ port, host: LOOPBACK[4] });
    await closed(socket);
  });

  it("passes on what TLS needs: the name, the tunnel, and the caller's own options", async () => {
    const tunnel = new net.Socket();
    const secure = vi.spyOn(tls, "connect").mockReturnValue(new net.Socket() as tls.TLSSocket);
    const request = { ...plain(4711), protocol: "https:", servername: "name.test", httpSocket: tunnel };
    ask(request, { connectTimeoutMs: 0, tls: { ca: "mine" } });
    expect(secure.mock.calls[0]![0]).toMatchObject({
      ALPNProtocols: ["http/1.1"],
      ca: "mine",
      port: 4711,
      servername: "name.test",
      socket: tunnel,
    });
    ask({ ...request, servername: null, httpSocket: undefined as never }, { connectTimeoutMs: 0 });
    expect(secure.mock.calls[1]![0]).not.toHaveProperty("servername");
    expect(secure.mock.calls[1]![0]).not.toHaveProperty("socket");
  });

  it("names mistakes before any request", () => {
    expect(() => undiciConnect({ guard: "of" as never })).toThrow(
      expect.objectContaining({ code: "ERR_UNKNOWN_GUARD" }),
    );
    expect(() => undiciConnect({ options: { noDelya: true } as never })).toThrow(
      expect.objectContaining({ code: "ERR_UNKNOWN_OPTION" }),
    );
  });

  describe("with a peer that does not answer", () => {
    /** A listener whose queue is full leaves further connects without an answer. */
    async function withSilence(use: (port: number) => Promise<void>): Promise<void> {
      using listener = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`).listen(0);
      const { port } = listener.getsockname();
      const fillers = Array.from({ length: 2 }, () => TcpSocket.open(4));
      for (const filler of fillers) filler.connect({ family: 4, host: LOOPBACK[4], port });
      try {
        await use(port);
      } finally {
        for (const filler of fillers) filler.reset();
      }
    }

    it("gives up after connectTimeoutMs, as undici's own error", () =>
      withSilence(async (port) => {
        const { socket, answers } = ask(plain(port), { connectTimeoutMs: 30 });
        await closeOf(socket);
        const error = { name: "ConnectTimeoutError", code: "UND_ERR_CONNECT_TIMEOUT" };
        expect(answers).toEqual([[expect.objectContaining(error), null]]);
      }));

    it("has a time-out of 10 seconds unless told otherwise, and 0 is none", () =>
      withSilence(async (port) => {
        const timers = vi.spyOn(globalThis, "setTimeout");
        const byDefault = ask(plain(port)).socket;
        expect(timers.mock.calls.map(([, ms]) => ms)).toContain(10_000);
        timers.mockClear();
        const without = ask(plain(port), { connectTimeoutMs: 0 }).socket;
        expect(timers).not.toHaveBeenCalled();
        await closed(byDefault);
        await closed(without);
      }));

    it("its timer ends with the connect", () =>
      withListener(
        4,
        (socket) => socket.resume(),
        async ({ port }) => {
          const { socket, answered } = ask(plain(port), { connectTimeoutMs: 50 });
          await answered;
          await new Promise((resolve) => setTimeout(resolve, 100));
          expect(socket.destroyed).toBe(false);
          await closed(socket);
        },
      ));
  });
});
