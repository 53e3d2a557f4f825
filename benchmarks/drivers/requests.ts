/**
 * Requests to a server of this process, each on a connection of its own. Arguments: a free port for the server,
 * milliseconds, "http", "tls" (the handshake alone) or "undici", and "guarded" or "plain".
 */
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import tls from "node:tls";
import { connectTls, guardAgent, undiciConnect } from "../../lib/index.ts";
import { measure } from "../measure.ts";

const HOST = "127.0.0.1";
const [port, milliseconds, protocol = "http", kind = "plain"] = process.argv.slice(2);
const isGuarded = kind === "guarded";
const to = { host: HOST, port: Number(port) };

/** A key that both sides know (RFC 4279), so that no certificate is needed. */
const PRE_SHARED = { psk: Buffer.alloc(32, 1), identity: "bench" };
const SHARED_KEY_TLS = { ciphers: "PSK", minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;

const protocols: Readonly<Record<string, () => Promise<readonly [net.Server, () => Promise<unknown>]>>> = {
  http: async () => [httpServer(), httpRequest()],
  tls: async () => [tlsServer(), tlsHandshake],
  undici: async () => [httpServer(), await undiciRequest()],
};

const [server, request] = await protocols[protocol]!();
await once(server.listen(to.port, HOST), "listening");
await measure(async (durationMs) => {
  const endsAt = performance.now() + durationMs;
  let count = 0;
  for (; performance.now() < endsAt; count++) await request();
  return count;
}, Number(milliseconds));
process.exit();

function httpServer(): http.Server {
  return http.createServer((_, response) => response.setHeader("connection", "close").end("ok"));
}

function httpRequest(): () => Promise<void> {
  const agent = new http.Agent();
  if (isGuarded) guardAgent(agent);
  return () =>
    new Promise((resolve, reject) => {
      const get = http.get({ ...to, agent }, (response) => response.resume().on("close", resolve));
      get.on("error", reject);
    });
}

function tlsServer(): tls.Server {
  return tls.createServer({ ...SHARED_KEY_TLS, pskCallback: () => PRE_SHARED.psk }, (socket) => {
    socket.on("error", () => socket.destroy()).end("ok");
  });
}

async function tlsHandshake(): Promise<void> {
  const connect = isGuarded ? connectTls : tls.connect;
  const options = {
    ...to,
    ...SHARED_KEY_TLS,
    pskCallback: () => PRE_SHARED,
    checkServerIdentity: () => undefined,
  };
  const socket = connect(options);
  await once(socket, "secureConnect");
  socket.destroy();
}

async function undiciRequest(): Promise<() => Promise<void>> {
  const { Agent, buildConnector, request } = await import("undici");
  const dispatcher = new Agent(isGuarded ? { connect: undiciConnect(buildConnector) } : {});
  return async () => {
    const { body } = await request(`http://${HOST}:${to.port}`, { dispatcher });
    await body.dump();
  };
}
