/** The forms in which people write where to connect: every function that takes an address takes the same ones. */
import { describe, expect, it } from "vitest";
import { explainBind, free } from "../../lib/audit/index.ts";
import { connectMany, dial, punch } from "../../lib/guard/index.ts";
import {
  canSelfConnect,
  exhaustion,
  findFourTuple,
  isOwnAddress,
  localAddressTowards,
  sourceAddress,
} from "../../lib/kernel/index.ts";
import { ReconnectLoop } from "../../lib/loop/index.ts";
import { trace } from "../../lib/packets/index.ts";
import {
  expectedAttempts,
  expectedRemaining,
  findDeadPort,
  portSituation,
  predict,
  samplePorts,
  situationFor,
  whyNever,
} from "../../lib/ports/index.ts";
import { hideCredentials, parseHostAndPort } from "../../lib/socket/address-forms.ts";
import { listen, parseAddress, TcpSocket } from "../../lib/socket/index.ts";
import { deadPeer } from "../support/harness.ts";

describe("parseHostAndPort", () => {
  it.each([
    ["127.0.0.1:80", "127.0.0.1", 80],
    ["[fe80::1%lo]:80", "fe80::1%lo", 80],
    ["localhost:50000", "localhost", 50_000],
    [":8080", "localhost", 8080],
    ["8080", "localhost", 8080],
    ["http://host:8080", "host", 8080],
    ["http://host", "host", 80],
    ["HTTPS://Host/path?query#part", "Host", 443],
    ["redis://cache", "cache", 6379],
    ["postgres://user:p@ss@db.internal/name", "db.internal", 5432],
    ["amqp://user:secret@[::1]:7/vhost", "::1", 7],
    ["mqtt://[::1]", "::1", 1883],
    ["tcp://127.0.0.1:9", "127.0.0.1", 9],
    ["a_b.c-d.test.:1", "a_b.c-d.test.", 1],
  ])("%s is %s and %i", (text, host, port) => {
    expect(parseHostAndPort(text)).toEqual({ host, port });
  });

  it.each([
    ["127.1:8080", 'write "127.0.0.1:8080"'],
    ["10.1.258:80", 'write "10.1.1.2:80"'],
    ["2130706433:80", 'write "127.0.0.1:80"'],
    ["http://127.1", 'write "127.0.0.1:80"'],
    ["256.1.1.1:80", "from 0 to 255"],
    ["010.0.0.1:80", "without leading zeros"],
    ["0x7f.1:80", "from 0 to 255"],
    ["::1:8080", "in brackets"],
    ["localhost", 'write "address:port"'],
    ["host:http", "is not a port"],
    ["70000", "0 to 65535"],
    ["tcp://host", "has no port"],
    ["mongodb+srv://cluster.test", "has no port"],
    ["unix:///run/socket", "has no host"],
    ["http://:8080", "has no host"],
    ["mongodb://one,two:27017", "neither an IP address nor a name"],
    ["a b:80", "neither an IP address nor a name"],
    ["[host]:80", "only IPv6 addresses"],
    ["", 'write "address:port"'],
  ])("%j is refused: %s", (text, fix) => {
    expect(() => parseHostAndPort(text)).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^ERR_INVALID_(ADDRESS|PORT)$/),
        message: expect.stringContaining(fix),
      }),
    );
  });

  it("never shows the password of a URL", () => {
    expect(() => parseHostAndPort("foo://user:secret@host")).toThrow(/^"foo:\/\/\*\*\*@host" has no port/);
    expect(() => parseHostAndPort("http://user:secret@host:x")).toThrow(/^(?!.*secret)/);
    expect(hideCredentials("redis://:secret@cache:1/2")).toBe("redis://***@cache:1/2");
    expect(hideCredentials("cache:1")).toBe("cache:1");
  });
});

/** Calls a function with a peer, and throws what it throws or rejects with; leaves nothing open. */
type Call = (peer: string) => unknown;

const CALLS: Readonly<Record<string, Call>> = {
  parseAddress,
  "TcpSocket.connect": (peer) => {
    using socket = TcpSocket.open(4);
    socket.connect(peer);
  },
  dial: async (peer) => (await dial(peer)).socket.reset(),
  connectMany: async (peer) => {
    for await (const { socket } of connectMany([peer])) socket?.reset();
  },
  punch: (peer) => punch("127.0.0.1:0", peer, { deadlineMs: 1, listen: false }),
  ReconnectLoop: (peer) => new ReconnectLoop({ peer, attempts: 1 }),
  trace: (peer) => trace({ peer, closing: "nonsense" } as never),
  samplePorts: (peer) => samplePorts({ peer: peer as never, count: 1 }),
  predict: (peer) => predict({ peer, algorithm: {} as never }),
  whyNever: (peer) => whyNever(peer, "fresh", situationFor("127.0.0.1:1", "fresh")),
  expectedAttempts: (peer) => expectedAttempts(peer, "fresh", situationFor("127.0.0.1:1", "fresh")),
  expectedRemaining: (peer) => expectedRemaining(peer, "fresh", situationFor("127.0.0.1:1", "fresh")),
  situationFor: (peer) => situationFor(peer, "fresh"),
  portSituation: (peer) => portSituation(peer, "connect"),
  findDeadPort,
  explainBind,
  free,
  exhaustion,
  canSelfConnect,
  sourceAddress,
  isOwnAddress,
  localAddressTowards,
  findFourTuple: (peer) => findFourTuple("127.0.0.1:1", peer),
};

/** The code of the error, when it is about the address; undefined otherwise. */
async function refusalOf(call: Call, peer: string): Promise<Error | undefined> {
  try {
    await call(peer);
  } catch (error) {
    if (/^ERR_INVALID_(ADDRESS|PORT)$/.test((error as NodeJS.ErrnoException).code ?? ""))
      return error as Error;
  }
  return undefined;
}

describe.each(Object.entries(CALLS))("%s()", (name, call) => {
  it("takes every form of an address", async () => {
    const { port } = deadPeer(4, "other");
    const forms = ["127.0.0.1:P", "localhost:P", ":P", "P", "http://127.0.0.1:P/path", "x://u:p@localhost:P"];
    for (const form of forms) {
      const peer = form.replace("P", String(port));
      expect(await refusalOf(call, peer), peer).toBeUndefined();
    }
  });

  it("refuses others with an error about that spelling, which sends nobody back here", async () => {
    for (const peer of ["127.1:80", "::1:80", "localhost", "127.0.0.1:http", "foo://bar", "a b:80"]) {
      const error = await refusalOf(call, peer);
      expect(error?.message, peer).toContain(`"${peer}"`);
      expect(error!.message).not.toContain(`${name.split(".").pop()}()`);
    }
  });
});

describe("an address to bind to", () => {
  const bound = (local: string) => {
    using socket = TcpSocket.open(local.includes("::") ? 6 : 4);
    return socket.bind(local).getsockname();
  };
  it.each([
    "127.0.0.1",
    "127.0.0.1:0",
    "::1",
    "[::1]",
    "[::1]:0",
    "localhost:0",
    "localhost",
  ])("may be %s", (local) => {
    expect(bound(local)).toMatchObject({ host: local.includes("::") ? "::1" : "127.0.0.1" });
  });

  it.each([":8080", "8080"])("is not %s: it could be this host alone, or every address", (local) => {
    const fix = /has no host to bind to: write "127\.0\.0\.1:8080", or "0\.0\.0\.0:8080"/;
    expect(() => bound(local)).toThrow(fix);
    expect(() => listen(local)).toThrow(fix);
    return expect(dial("127.0.0.1:9", { local })).rejects.toThrow(fix);
  });

  it("is no name, and the error does not send the caller of dial() to dial()", async () => {
    await expect(dial("127.0.0.1:9", { local: "db:0" })).rejects.toThrow(/^(?!.*dial\(\)).*"db" is a name/);
    await expect(dial("127.0.0.1:9", { local: { host: "db" } })).rejects.toThrow(/^(?!.*dial\(\)).*"db"/);
  });
});

it("dial() takes an object with a name", async () => {
  const { port } = deadPeer(4, "other");
  await expect(dial({ host: "localhost", port })).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await expect(dial({ host: "a b", port })).rejects.toMatchObject({ code: "ERR_INVALID_ADDRESS" });
  await expect(dial({ host: "localhost", port: 70_000 })).rejects.toMatchObject({ code: "ERR_INVALID_PORT" });
});
