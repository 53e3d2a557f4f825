import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import net from "node:net";
import os from "node:os";
import { Duplex } from "node:stream";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { socketOptions } from "../../lib/socket/stream-options.ts";
import { FAMILIES, LOOPBACK, withListener, withNative } from "../support/harness.ts";

async function listen<S extends net.Server>(server: S): Promise<{ server: S; port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

describe.each(FAMILIES)("socketOptions() over IPv%i", (family) => {
  it("gets and sets options of a net.Socket and its server side, and reads TCP_INFO", async () => {
    const accepted: net.Socket[] = [];
    await withListener(
      family,
      (socket) => accepted.push(socket),
      async (peer) => {
        const socket = net.connect(peer.port, peer.host);
        await once(socket, "connect");
        const options = socketOptions(socket);
        expect(options.get("noDelay")).toBe(false);
        socket.setNoDelay(true);
        expect(options.get("noDelay"), "what Node set").toBe(true);
        expect(options.set("userTimeoutMs", 4321).get("userTimeoutMs")).toBe(4321);
        expect(options.information()).toMatchObject({ state: "ESTABLISHED" });
        expect(socketOptions(accepted[0]!).information().state).toBe("ESTABLISHED");
        socket.destroy();
        await once(socket, "close");
        expect(() => options.get("noDelay")).toThrow(expect.objectContaining({ code: "ERR_STREAM_CLOSED" }));
      },
    );
  });
});

describe("socketOptions()", () => {
  it("finds the socket of a server, of http requests and responses on both sides", async () => {
    const seen: unknown[] = [];
    const { server, port } = await listen(
      http.createServer((request, response) => {
        seen.push(socketOptions(request).get("timeToLive"), socketOptions(response).get("timeToLive"));
        response.end();
      }),
    );
    expect(socketOptions(server).get("listening")).toBe(true);
    const request = http.get({ port, host: LOOPBACK[4], agent: false });
    expect(() => socketOptions(request).get("timeToLive")).toThrow(
      expect.objectContaining({ code: "ERR_STREAM_NOT_CONNECTED" }),
    );
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    const ttl = socketOptions(request).get("timeToLive");
    expect(seen).toEqual([ttl, ttl]);
    expect(socketOptions(response).information().segmentsOut).toBeGreaterThan(0);
    await response.resume().toArray();
    server.close();
    await once(server, "close");
  });

  it("finds the TCP socket below TLS", async () => {
    const psk = Buffer.alloc(32, 7);
    const { server, port } = await listen(
      tls.createServer({ pskCallback: () => psk, ciphers: "PSK", maxVersion: "TLSv1.2" }, (socket) => {
        expect(socketOptions(socket).information().state).toBe("ESTABLISHED");
        socket.end("secret");
      }),
    );
    const client = tls.connect({
      port,
      host: LOOPBACK[4],
      pskCallback: () => ({ psk, identity: "test" }),
      ciphers: "PSK",
      checkServerIdentity: () => undefined,
    });
    await once(client, "secureConnect");
    expect(socketOptions(client).set("timeToLive", 42).get("timeToLive")).toBe(42);
    expect(Buffer.concat(await client.toArray()).toString()).toBe("secret");
    server.close();
    await once(server, "close");
  });

  it("finds the socket of http2 sessions and streams", async () => {
    const { server, port } = await listen(http2.createServer());
    server.on("stream", (stream) => {
      stream.respond();
      stream.end(socketOptions(stream).information().state);
    });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ":path": "/" });
    expect(Buffer.concat(await stream.toArray()).toString()).toBe("ESTABLISHED");
    expect(socketOptions(session).set("timeToLive", 42).get("timeToLive")).toBe(42);
    session.close();
    server.close();
    await once(server, "close");
  });

  it("of a stream without a TCP socket says why", async () => {
    const code = (stream: object) => {
      try {
        return socketOptions(stream).get("noDelay");
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code(new net.Socket()), "before connect").toBe("ERR_STREAM_NOT_CONNECTED");
    const unix = net.createServer().listen(`\0selfconnect-options-${process.pid}`);
    await once(unix, "listening");
    expect(code(unix)).toBe("ERR_NOT_TCP");
    unix.close();
    const overDuplex = tls.connect({ socket: new Duplex({ read() {}, write() {} }) as net.Socket });
    expect(code(overDuplex)).toBe("ERR_STREAM_WITHOUT_FD");
    overDuplex.destroy();
    using socket = TcpSocket.open(4);
    for (const wrong of [{}, socket, null, 7, "fd"]) expect(code(wrong as object)).toBe("ERR_INVALID_STREAM");
  });

  it("of a stream that connects again asks anew what it is, also behind the same descriptor number", () => {
    const kinds = [0, -os.constants.errno.EPROTONOSUPPORT];
    return withNative({ checkTcp: () => kinds.shift()!, getsockoptOf: () => 0 }, () => {
      const stream = { _handle: { fd: 9 } };
      const options = socketOptions(stream);
      options.get("noDelay");
      stream._handle = { fd: 9 };
      expect(() => options.get("noDelay")).toThrow(expect.objectContaining({ code: "ERR_NOT_TCP" }));
    });
  });

  it("where a runtime does not report the descriptor, says so", () => {
    // Bun's net.Socket has no _handle.
    const bunSocket = Object.create(net.Socket.prototype, { _handle: { value: undefined } });
    expect(() => socketOptions(bunSocket).get("noDelay")).toThrow(
      expect.objectContaining({ code: "ERR_STREAM_WITHOUT_FD" }),
    );
  });
});
