/** HTTP and TLS through the guard's doors, against real servers of Node's: http.Agent, https.Agent, undici, fetch, tls. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo, Server } from "node:net";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import undici from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GuardOptions } from "../../lib/guard/guard.ts";
import { guardAgent } from "../../lib/guard/http.ts";
import { connect } from "../../lib/guard/net.ts";
import { connectTls } from "../../lib/guard/tls.ts";
import { undiciConnect } from "../../lib/guard/undici.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { deadPeer, requires } from "../support/harness.ts";

let folder: string;
let identity: { key: string; cert: string };

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-tls-"));
  const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`];
  const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const made = spawnSync("openssl", ["req", "-x509", ...how, "-keyout", key, "-out", cert, ...name]);
  if (made.status !== 0)
    throw new Error(`no certificate: apt-get install openssl (${made.error ?? made.stderr})`);
  identity = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One request through a door, its connections closed afterwards. */
type Ask = (port: number, guard: GuardOptions) => Promise<string>;

function request(agent: http.Agent, get: typeof http.get, port: number): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const ca = identity.cert;
    const sent = get({ host: "127.0.0.1", port, agent, ca } as https.RequestOptions, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => (text += part));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject);
  }).finally(() => agent.destroy());
}

async function fetched(
  url: string,
  options: Parameters<typeof undiciConnect>[0],
  fetch: typeof undici.fetch,
) {
  const dispatcher = new undici.Agent({ connect: undiciConnect(options) as never });
  try {
    return await (await fetch(url, { dispatcher })).text();
  } catch (error) {
    throw (error as Error).cause ?? error;
  } finally {
    await dispatcher.destroy();
  }
}

function secured(make: (socket?: never) => tls.TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = make();
    let text = "";
    socket.setEncoding("utf8").on("data", (part) => (text += part));
    socket.on("secureConnect", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.on("end", () => resolve(text.split("\r\n\r\n")[1] ?? ""));
    socket.on("error", reject);
  });
}

const PLAIN: Record<string, Ask> = {
  "http.Agent": (port, guard) => request(guardAgent(new http.Agent(), guard), http.get, port),
  "http.Agent, keepAlive": (port, guard) =>
    request(guardAgent(new http.Agent({ keepAlive: true }), guard), http.get, port),
  undici: (port, guard) => fetched(`http://127.0.0.1:${port}/`, guard, undici.fetch),
};

const SECURE: Record<string, Ask> = {
  "https.Agent": (port, guard) =>
    request(guardAgent(new https.Agent(), guard), https.get as typeof http.get, port),
  "undici over TLS": (port, guard) =>
    fetched(`https://127.0.0.1:${port}/`, { ...guard, tls: { ca: identity.cert } }, undici.fetch),
  connectTls: (port, guard) =>
    secured(() => connectTls({ host: "127.0.0.1", port, ca: identity.cert, ...guard })),
  "tls.connect({ socket })": (port, guard) =>
    secured(() => {
      const socket = connect({ host: "127.0.0.1", port, ...guard });
      const secure = tls.connect({ socket, ca: identity.cert, servername: "localhost" });
      // The stream below tells its own error; the one above then only hears that it is over.
      socket.on("error", (error) => secure.destroy(error));
      return secure;
    }),
};

const DOORS = { ...PLAIN, ...SECURE };

async function withServer(isSecure: boolean, use: (port: number) => Promise<void>): Promise<void> {
  const answer: http.RequestListener = (_request, response) => response.end("served");
  const server = isSecure ? https.createServer(identity, answer) : http.createServer(answer);
  await new Promise<void>((resolve) => (server as Server).listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe.each(Object.entries(DOORS))("%s", (name, ask) => {
  it("gets its answer", () =>
    withServer(name in SECURE, async (port) => {
      expect(await ask(port, {})).toBe("served");
    }));

  it("rejects a self-connect, and leaves the port free", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    await expect(ask(peer.port, { options })).rejects.toMatchObject({ code: "ERR_SELF_CONNECT" });
    expect(listenRefusal(peer)).toBe(null);
  });

  it("control: is joined to itself with the guard off, and never gets an answer of a server's", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    // What it sent comes back to it: no HTTP response, no TLS handshake. The error is a parser's, not a refusal.
    const error = await ask(peer.port, { guard: "off", options }).catch((caught) => caught);
    expect(error).toBeInstanceOf(Error);
    expect(["ECONNREFUSED", "ERR_SELF_CONNECT"]).not.toContain(error.code);
  });
});

describe("fetch of Node's own", () => {
  it("takes a guarded dispatcher", () =>
    withServer(false, async (port) => {
      const dispatcher = new undici.Agent({ connect: undiciConnect() as never });
      const response = await fetch(`http://127.0.0.1:${port}/`, { dispatcher } as never);
      expect(await response.text()).toBe("served");
      await dispatcher.close();
    }));
});
