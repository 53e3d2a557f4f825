/** Options under guard: none is ignored. What the guard cannot do, or the kernel would ignore, is refused at once. */
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { describe, expect, it } from "vitest";
import { connectMany } from "../../lib/guard/connect-many.ts";
import { dial } from "../../lib/guard/dial.ts";
import { checkGuardOptions } from "../../lib/guard/guard-options.ts";
import { guardAgent } from "../../lib/guard/http.ts";
import { connect } from "../../lib/guard/net.ts";
import { guardStream, streamFactory } from "../../lib/guard/streams.ts";
import { connectTls } from "../../lib/guard/tls.ts";
import { portFacts } from "../../lib/kernel/host.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { socketOptions } from "../../lib/socket/stream-options.ts";
import {
  catchError,
  deadPeer,
  needsNamespaces,
  requires,
  runInNamespace,
  withListener,
} from "../support/harness.ts";

const peer = { host: "127.0.0.1", port: 9 };

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error) => error,
  );
}

describe("a misspelt key", () => {
  const doors: Record<string, (wrong: never) => unknown> = {
    "guardStream()": (wrong) => guardStream(new net.Socket(), wrong),
    "streamFactory()": (wrong) => streamFactory(wrong),
    "guardAgent()": (wrong) => guardAgent(new http.Agent(), wrong),
    "connect()": (wrong) => connect({ ...peer, ...(wrong as object) }),
    "connectTls()": (wrong) => connectTls({ ...peer, ...(wrong as object) }),
    "connectMany()": (wrong) => connectMany([], wrong),
  };
  it.each(Object.entries(doors))("of %s is an error that names the one that was meant", (name, door) => {
    for (const [wrong, meant] of [
      ["gaurd", "guard"],
      ["option", "options"],
    ] as const)
      expect(catchError(() => door({ [wrong]: "off" } as never))).toMatchObject({
        code: "ERR_UNKNOWN_OPTION",
        message: `"${wrong}" is not an option of ${name}: did you mean "${meant}"?`,
      });
  });

  it("of dial() and of the loop too, and in retryOn", async () => {
    const rejectDial = (options: object) => rejection(dial(deadPeer(), options));
    expect(await rejectDial({ deadlinMs: 5 })).toMatchObject({
      message: expect.stringContaining('"deadlineMs"'),
    });
    expect(await rejectDial({ retryOn: ["ECONREFUSED"] })).toMatchObject({
      code: "ERR_UNKNOWN_ERRNO",
      message: expect.stringContaining('did you mean "ECONNREFUSED"?'),
    });
    const loop = catchError(() => new ReconnectLoop({ peer: deadPeer(), attempt: 5 } as never));
    expect(loop).toMatchObject({ message: expect.stringContaining('"attempts"') });
  });

  it("is not what net.connect and agents pass besides", async () => {
    const request = {
      ...peer,
      agent: null,
      auth: "a:b",
      hash: "",
      query: "",
      protocol: "http:",
      session: null,
    };
    const socket = connect(request as never);
    await once(socket, "error");
  });
});

describe("options of a socket that is there already", () => {
  const options = { userTimeoutMs: 5000 };

  it("are set on a connected stream, an accepted one and a descriptor of the caller's", async () => {
    const accepted: (number | undefined)[] = [];
    const serve = (socket: net.Socket) => {
      accepted.push(socketOptions(guardStream(socket, { options })).get("userTimeoutMs"));
      socket.resume();
    };
    await withListener(4, serve, async ({ port, host }) => {
      const plain = net.connect(port, host);
      await once(plain, "connect");
      expect(socketOptions(plain).get("userTimeoutMs"), "control").toBe(0);
      expect(socketOptions(guardStream(plain, { options })).get("userTimeoutMs")).toBe(5000);
      const own = new net.Socket({ fd: TcpSocket.open(4).release() });
      guardStream(own, { options }).connect(port, host);
      await once(own, "connect");
      expect(socketOptions(own).get("userTimeoutMs")).toBe(5000);
      for (const socket of [plain, own]) await once(socket.destroy(), "close");
    });
    expect(accepted).toEqual([5000, 5000]);
  });

  it("of a Unix domain socket, or of a socket below TLS, are an error", () => {
    const pipe = new net.Socket();
    guardStream(pipe, { options });
    expect(() => pipe.connect("/nowhere/at/all")).toThrow(
      expect.objectContaining({ code: "ERR_OPTION_UNSUPPORTED" }),
    );
    expect(() => connectTls({ socket: new net.Socket(), options })).toThrow(/with `socket`, guard that one/);
  });
});

describe("localPortRange outside the kernel's own range", () => {
  const { low, high } = portFacts().ephemeralRange!;
  const codeOf = (localPortRange: { low: number; high: number }) =>
    (catchError(() => checkGuardOptions({ options: { localPortRange } })) as { code?: string })?.code;

  it("is a RangeError, because the kernel ignores it; control: a plain socket connects from any port", (context) => {
    requires(context, "6.3", "localPortRange");
    const outside = { low: low - 20, high: low - 10 };
    expect(codeOf(outside)).toBe("ERR_OPTION_VALUE");
    using socket = TcpSocket.open(4, { localPortRange: outside });
    socket.connect(deadPeer(4, "other"));
    expect(socket.getsockname().port, "control").toBeGreaterThanOrEqual(low);
  });

  it("passes where the two share a port, or a bound is the kernel's", () => {
    for (const range of [
      { low: low - 10, high: low },
      { low: high, high: 65_535 },
      { low: 0, high: 0 },
      { low: high, high: 0 },
    ])
      expect(codeOf(range)).toBe(undefined);
  });
});

describe("TCP Fast Open, whose connect(2) succeeds before a SYN has left", () => {
  const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
  const program = `
    import { writeFileSync } from "node:fs";
    import net from "node:net";
    import { connect, guardStream, TcpSocket } from ${library};
    writeFileSync("/proc/sys/net/ipv4/tcp_fastopen", "5");
    const peer = { family: 4, host: "127.0.0.1", port: 40100 };
    const options = { fastOpenConnect: true };
    const outcomeOf = (stream) => new Promise((resolve) => {
      stream.on("connect", () => stream.write("hello"));
      stream.on("data", (data) => { resolve("read its own " + data); stream.resetAndDestroy(); });
      stream.on("error", ({ code }) => resolve(code));
    });
    const own = () => new net.Socket({ fd: TcpSocket.open(4, options).release() });
    const results = {
      off: await outcomeOf(connect({ ...peer, guard: "off", options })),
      foreign: await outcomeOf(guardStream(own()).connect(peer.port, peer.host)),
    };
    using(TcpSocket.open(4, options));
    function using(socket) {
      results.raw = socket.connect(peer);
      results.wait = socket.connected({ deadlineMs: 20 }).catch(({ code }) => code);
      results.wait = Promise.resolve(results.wait).then(async (code) => {
        socket.send(new Uint8Array(1));
        await socket.connected({ deadlineMs: 1000 });
        const isJoined = socket.isSelfConnected();
        socket.reset();
        return [code, isJoined];
      });
    }
    results.wait = await results.wait;
    console.log(JSON.stringify(results));`;

  it("is refused under guard, and never handed out; control: with the guard off it reads its own", async (context) => {
    needsNamespaces(context);
    for (const guard of ["prevent", "detect"] as const)
      expect(catchError(() => connect({ ...peer, guard, options: { fastOpenConnect: true } }))).toMatchObject(
        {
          code: "ERR_OPTION_UNSUPPORTED",
        },
      );
    const args = ["--input-type=module", "-e", program];
    const { stdout, stderr } = await runInNamespace("40100 40100", process.execPath, args);
    expect(stderr).toBe("");
    const { off, foreign, raw, wait } = JSON.parse(stdout);
    expect(off, "control").toBe("read its own hello");
    expect(foreign, "a descriptor with the option is rejected when the guard looks").toBe("ENOTCONN");
    expect(raw, "no peer exists yet").toBe("in-progress");
    expect(wait, "connected() waits until one does").toEqual(["ERR_DEADLINE", true]);
  });
});
