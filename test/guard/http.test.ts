/** Guarded HTTP and TLS against real servers of Node: http.Agent, https.Agent, undici, fetch, tls. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { AddressInfo, LookupFunction, Server } from "node:net";
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
  const openssl = spawnSync("openssl", ["req", "-x509", ...how, "-keyout", key, "-out", cert, ...name]);
  if (openssl.status !== 0)
    throw new Error(`no certificate: apt-get install openssl (${openssl.error ?? openssl.stderr})`);
  identity = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Makes one guarded request, and closes its connections afterwards. */
type Get = (port: number, guard: GuardOptions) => Promise<string>;

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

async function fetchThrough(
  url: string,
  guard: GuardOptions,
  fetch: typeof undici.fetch,
  options: undici.buildConnector.BuildOptions = {},
) {
  const dispatcher = new undici.Agent({ connect: undiciConnect(undici.buildConnector, options, guard) });
  try {
    return await (await fetch(url, { dispatcher })).text();
  } catch (error) {
    throw (error as Error).cause ?? error;
  } finally {
    await dispatcher.destroy();
  }
}

function requestOverTls(make: (socket?: never) => tls.TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = make();
    let text = "";
    socket.setEncoding("utf8").on("data", (part) => (text += part));
    socket.on("secureConnect", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.on("end", () => resolve(text.split("\r\n\r\n")[1] ?? ""));
    socket.on("error", reject);
  });
}

/** What every client gets for a self-connect: the error of a refusal, with the verdict as its cause. */
const REFUSAL = { code: "ECONNREFUSED", isSelfConnect: true, cause: { code: "ERR_SELF_CONNECT" } };

const PLAIN: Record<string, Get> = {
  "http.Agent": (port, guard) => request(guardAgent(new http.Agent(), guard), http.get, port),
  "http.Agent, keepAlive": (port, guard) =>
    request(guardAgent(new http.Agent({ keepAlive: true }), guard), http.get, port),
  undici: (port, guard) => fetchThrough(`http://127.0.0.1:${port}/`, guard, undici.fetch),
};

const SECURE: Record<string, Get> = {
  "https.Agent": (port, guard) =>
    request(guardAgent(new https.Agent(), guard), https.get as typeof http.get, port),
  "undici over TLS": (port, guard) =>
    fetchThrough(`https://127.0.0.1:${port}/`, guard, undici.fetch, { ca: identity.cert }),
  connectTls: (port, guard) =>
    requestOverTls(() => connectTls({ host: "127.0.0.1", port, ca: identity.cert, ...guard })),
  "tls.connect({ socket })": (port, guard) =>
    requestOverTls(() => {
      const socket = connect({ host: "127.0.0.1", port, ...guard });
      const secure = tls.connect({ socket, ca: identity.cert, servername: "localhost" });
      // tls.connect() does not forward an error of the stream below: the TLSSocket would only be closed.
      socket.on("error", (error) => secure.destroy(error));
      return secure;
    }),
};

const WAYS = { ...PLAIN, ...SECURE };

async function withServer(isSecure: boolean, use: (port: number) => Promise<void>): Promise<void> {
  const respond: http.RequestListener = (_request, response) => response.end("served");
  const server = isSecure ? https.createServer(identity, respond) : http.createServer(respond);
  await new Promise<void>((resolve) => (server as Server).listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe.each(Object.entries(WAYS))("%s", (name, get) => {
  it("gets the response", () =>
    withServer(name in SECURE, async (port) => {
      expect(await get(port, {})).toBe("served");
    }));

  it("rejects a self-connect, and leaves the port free", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    await expect(get(peer.port, { options })).rejects.toMatchObject(REFUSAL);
    expect(listenRefusal(peer)).toBe(null);
  });

  it("control: with the guard off it is joined to itself, and gets no response", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    // It receives what it sent, which is no HTTP response and no TLS handshake: the parser fails, not the connect.
    const error = await get(peer.port, { guard: "off", options }).catch((caught) => caught);
    expect(error).toBeInstanceOf(Error);
    expect(["ECONNREFUSED", "ERR_SELF_CONNECT"]).not.toContain(error.code);
  });
});

describe("Node's fetch", () => {
  it("works with a guarded dispatcher", () =>
    withServer(false, async (port) => {
      const dispatcher = new undici.Agent({ connect: undiciConnect(undici.buildConnector) });
      const response = await fetch(`http://127.0.0.1:${port}/`, { dispatcher } as never);
      expect(await response.text()).toBe("served");
      await dispatcher.close();
    }));
});

/** Requests by undici, each over a connection of its own, to a server that says the HTTP version and the TLS session. */
async function askOverTls(options: undici.buildConnector.BuildOptions, requests: number): Promise<string[]> {
  const server = http2.createSecureServer(
    { ...identity, allowHTTP1: true },
    ({ httpVersion, socket }, response) => {
      const isReused = (socket as tls.TLSSocket).isSessionReused();
      response.end(`HTTP/${httpVersion}, ${isReused ? "a known" : "a new"} session`);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const lookup: LookupFunction = (_host, { all }, answer) =>
    all ? answer(null, [{ address: "127.0.0.1", family: 4 }]) : answer(null, "127.0.0.1", 4);
  const connector = undiciConnect(undici.buildConnector, { ca: identity.cert, lookup, ...options });
  const answers: string[] = [];
  try {
    for (let count = 0; count < requests; count++) {
      const dispatcher = new undici.Agent({ connect: connector, allowH2: options.allowH2 === true });
      const { body } = await dispatcher.request({
        origin: `https://localhost:${port}`,
        path: "/",
        method: "GET",
      });
      answers.push(await body.text());
      await dispatcher.close();
    }
  } finally {
    await new Promise((closed) => server.close(closed));
  }
  return answers;
}

describe("the options of undici's connector", () => {
  it("have their effect: allowH2", async () => {
    expect(await askOverTls({ allowH2: true }, 1)).toEqual(["HTTP/2.0, a new session"]);
    expect(await askOverTls({}, 1), "control").toEqual(["HTTP/1.1, a new session"]);
  });

  it("have their effect: TLS sessions are kept for the next connection, as many as are asked for", async () => {
    const [first, second] = ["HTTP/1.1, a new session", "HTTP/1.1, a known session"];
    expect(await askOverTls({}, 2)).toEqual([first, second]);
    expect(await askOverTls({ maxCachedSessions: 0 }, 2), "control").toEqual([first, first]);
  });

  it("have their effect: autoSelectFamily goes on to the next address", () =>
    withServer(false, async (port) => {
      const lookup: LookupFunction = (_host, { all }, answer) => {
        const addresses = [
          { address: "::1", family: 6 },
          { address: "127.0.0.1", family: 4 },
        ];
        if (all) answer(null, addresses);
        else answer(null, "::1", 6);
      };
      const ask = async (autoSelectFamily: boolean) => {
        const connect = undiciConnect(undici.buildConnector, { lookup, autoSelectFamily } as object);
        const dispatcher = new undici.Agent({ connect });
        const origin = `http://name.test:${port}`;
        const asked = dispatcher.request({ origin, path: "/", method: "GET" });
        const answer = await asked.then(({ body }) => body.text()).catch(({ code }) => code);
        await dispatcher.destroy();
        return answer;
      };
      expect(await ask(true)).toBe("served");
      expect(await ask(false), "control").toMatch(/^E[A-Z]+$/);
    }));
});
