/** The addon called directly, with arguments that TcpSocket never passes. */

import { once } from "node:events";
import fs from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import { describe, expect, it } from "vitest";
import { portFacts } from "../../lib/kernel/host.ts";
import { encodeAddress, parseAddress } from "../../lib/socket/address.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, random, requires, withNative } from "../support/harness.ts";

const raw = createRequire(import.meta.url)("../../build/Release/selfconnect.node") as Native;
const addressMemory = new Uint8Array(24);
const anyPort = encodeAddress(parseAddress("127.0.0.1:0"));
const { EALREADY, EBADF, EINVAL } = os.constants.errno;
const program = (name: string) => new URL(`../support/programs/${name}`, import.meta.url).pathname;
const openFds = () => fs.readdirSync("/proc/self/fd").length;

describe("the addon", () => {
  it("rejects an object that is not a socket handle", () => {
    const impostors = [{}, null, undefined, 7, "handle", new Uint8Array(8), Object.create(null)];
    for (const impostor of impostors) {
      expect(() => raw.fd(impostor as never)).toThrow("argument 0 must be a socket handle");
    }
  });

  it("names the wrong argument, and makes no system call", () => {
    const handle = raw.handle();
    expect(() => raw.socket(handle, "4" as never, 0)).toThrow("native.socket: argument 1 must be the family");
    expect(() => raw.getsockname(handle, new Uint8Array(23))).toThrow(
      "argument 1 must be memory for an address",
    );
    expect(() => raw.bind(handle, new Float64Array(3) as never)).toThrow("argument 1 must be an address");
    expect(() => raw.getsockopt(handle, 10_000, new BigInt64Array(2))).toThrow("a row of the option table");
    expect(raw.fd(handle)).toBe(-1);
  });

  it.each([
    NaN,
    Infinity,
    5,
    4.5,
    -4,
    2 ** 32 + 4,
    2 ** 64,
    undefined,
    null,
    "4",
    4n,
  ])("rejects the family %s", (family) => {
    const before = openFds();
    const expected = "argument 1 must be the family 4 or 6";
    expect(() => raw.socket(raw.handle(), family as never, 0)).toThrow(expected);
    expect(() => raw.bind(raw.handle(), addressMemory)).toThrow("argument 1 must be an address");
    expect(openFds()).toBe(before);
  });

  it("rejects a number that does not fit, instead of truncating it", () => {
    const handle = raw.handle();
    const records = new Uint8Array(96);
    const wrong = [
      () => raw.socketInRange(4, 70_000, 70_001),
      () => raw.setLocalPortRange(2 ** 32, 1, 2),
      () => raw.localPort(-(2 ** 32) - 1),
      () => raw.listen(handle, 2 ** 32),
      () => raw.getsockopt(handle, 2 ** 32, new BigInt64Array(1)),
      () => raw.ifIndexToName(2 ** 32 + 1, addressMemory),
      () => raw.watch(handle, 2 ** 53, 0, 1),
      () => raw.diag(4, 2 ** 32, 0, 1, 0, 0, records, -1),
      () => raw.diag(4, 1, -1, 1, 0, 0, records, -1),
      () => raw.diag(4, 1, 0, 1, 2, 0, records, -1),
      () => raw.diag(4, 1, 0, 1, 0, 0, records, 2 ** 31),
      () => raw.destroy(addressMemory, addressMemory, new Uint32Array(3), 2 ** 31),
      () => raw.disconnectJoined(1, 1, new Uint32Array(2)),
      () => raw.localNameOf(1, 2 ** 31, addressMemory),
      () => raw.dump(2 ** 31, 4, 1, 0, 1, 0, 0, records, () => {}),
      () => raw.dump(-1, 4, 1, 0, 1, 0, 0, records, undefined as never),
      () => raw.routeSource(-1, new Uint8Array(24), addressMemory),
      () => raw.readInNamespace(-1, undefined as never, records, new Uint32Array(1)),
      () => raw.captureOpen(handle, "lo", 65_536, 0, 1, new Uint32Array(1)),
      () => raw.captureOpen(handle, "lo", 1, 1, 4096, new Uint32Array(2)),
    ];
    for (const call of wrong) expect(call).toThrow(/^native\.\w+: argument \d must be /);
  });

  it("accepts three ways to shut down, and rejects any other", () => {
    const handle = raw.handle();
    for (const how of ["read", "write", "both"] as const) expect(raw.shutdown(handle, how)).toBe(-EBADF);
    const expected = 'native.shutdown: argument 1 must be "read", "write" or "both"';
    expect(() => raw.shutdown(handle, "sideways" as never)).toThrow(expected);
  });

  it("refuses to fill a handle twice, and leaks nothing", () => {
    const [handle, listener, client] = [raw.handle(), raw.handle(), raw.handle()];
    for (const one of [handle, listener, client]) expect(raw.socket(one, 4, 0)).toBe(0);
    expect(raw.bind(listener, anyPort)).toBe(0);
    expect(raw.listen(listener, 1)).toBe(0);
    expect(raw.getsockname(listener, addressMemory)).toBe(0);
    expect(raw.connect(client, addressMemory)).toBeGreaterThanOrEqual(0);
    const [fd, before] = [raw.fd(handle), openFds()];
    expect(raw.socket(handle, 4, 0)).toBe(-EALREADY);
    expect(raw.accept(listener, handle)).toBe(-EALREADY);
    expect(raw.captureOpen(handle, "lo", 1, 1, 4096, new Uint32Array(1))).toBe(-EALREADY);
    const report = new Uint32Array(6 + raw.outcomes);
    const done = () => expect.unreachable("done() was called after burst() returned -errno");
    const stop = new Int32Array(1);
    const limits = [1, 1, 1] as const;
    const outputs = [stop, null, report, 1, "auto", 0, 0, 0, 0, done] as const;
    expect(raw.burst(handle, "fresh", addressMemory, ...limits, ...outputs)).toBe(-EALREADY);
    expect([raw.fd(handle), openFds()]).toEqual([fd, before]);
    // The connection stayed in the queue: accept() with an empty handle still returns it.
    const accepted = raw.handle();
    expect(raw.accept(listener, accepted)).toBe(0);
    for (const one of [handle, listener, client, accepted]) expect(raw.close(one)).toBe(0);
  });

  it("returns EINVAL for a watch before the reactor is started", async () => {
    const script = `
      const native = require("./build/Release/selfconnect.node");
      const handle = native.handle();
      native.socket(handle, 4, 0);
      console.log(native.watch(handle, 1, 0, 1), native.unwatch(handle), native.close(handle));`;
    const { stdout } = await command(process.execPath, ["-e", script]);
    expect(stdout.trim()).toBe(`${-EINVAL} 0 0`);
  });

  it("returns an integer or throws a TypeError that names the call, for any arguments", async () => {
    const { seed } = random();
    const args = [program("fuzz.mjs"), String(seed), "30000"];
    const { status, stdout, stderr } = await command(process.execPath, args);
    expect({ status, stderr }, `SEED=${seed}`).toEqual({ status: 0, stderr: "" });
    const { integers, refusals, functions } = JSON.parse(stdout);
    const all = Object.values(raw).filter((value) => typeof value === "function");
    expect(functions).toBe(all.length);
    expect(integers).toBeGreaterThan(100);
    expect(refusals).toBeGreaterThan(1000);
  });

  it("reports EAGAIN and names the limit when no thread can be created, and does not crash", async (context) => {
    const { status, stdout, stderr } = await command(process.execPath, [program("no-thread.mjs")]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const errors = JSON.parse(stdout);
    if (errors === null) return context.skip("needs prlimit (util-linux)");
    const expected = {
      kind: "SocketError",
      code: "EAGAIN",
      syscall: "clone",
      message: expect.stringMatching(/ulimit -u.*pids limit/),
    };
    expect(errors).toEqual({ connected: expected, loop: expected, meet: expected });
  });

  it("names the wrong argument of a burst, before any attempt", () => {
    const handle = raw.handle();
    const report = new Uint32Array(6 + raw.outcomes);
    const burst = (...values: unknown[]) => (raw.burst as (...all: unknown[]) => number)(...values);
    const stop = new Int32Array(1);
    const done = () => {};
    expect(() => burst(handle, "frehs", addressMemory, 1, 1, 1, stop, null, report, done)).toThrow(
      "a strategy",
    );
    expect(() =>
      burst(handle, "fresh", addressMemory, 9, 1, 1, stop, new Uint16Array(8), report, done),
    ).toThrow("all ports");
    expect(() =>
      burst(handle, "fresh", addressMemory, 1, 1, 1, stop, null, new Uint32Array(3), done),
    ).toThrow("whole report");
    expect(() =>
      burst(handle, "fresh", addressMemory, 1, 1, 1, new Int32Array(0), null, report, done),
    ).toThrow("stop flag");
  });

  it("returns EBADF for an empty handle, and 0 for closing, resetting or releasing it", () => {
    const handle = raw.handle();
    expect(raw.getsockname(handle, addressMemory)).toBe(-EBADF);
    expect(raw.bind(handle, anyPort)).toBe(-EBADF);
    expect(raw.close(handle)).toBe(0);
    expect(raw.reset(handle)).toBe(0);
    expect(raw.release(handle)).toBe(0);
  });

  it.for([
    "at once",
    "afterwards",
  ])("sets the range of a descriptor that libuv owns %s", async (when, context) => {
    requires(context, "6.3", "localPortRange");
    const { host, port } = deadPeer();
    const { low, high } = portFacts().ephemeralRange!;
    const fd = when === "at once" ? raw.socketInRange(4, port, port) : raw.socketInRange(4, low, high);
    if (when === "afterwards") expect(raw.setLocalPortRange(fd, port, port)).toBe(0);
    expect(raw.localPort(fd)).toBe(0);
    const stream = new net.Socket({ fd }).connect(port, host);
    await once(stream, "connect");
    expect(raw.localPort(fd)).toBe(port);
    stream.resetAndDestroy();
    await once(stream, "close");
  });

  it("returns EBADF for the descriptor -1", () => {
    expect(raw.localPort(-1)).toBe(-EBADF);
    expect(raw.setLocalPortRange(-1, 1, 2)).toBe(-EBADF);
  });

  it("closes the descriptor when the kernel refuses the range", (context) => {
    requires(context, "6.3", "localPortRange");
    const before = openFds();
    // The low end above the high end.
    for (let i = 0; i < 10; i++) expect(raw.socketInRange(4, 2, 1)).toBe(-EINVAL);
    expect(openFds()).toBe(before);
  });

  it("closes a forgotten socket at garbage collection, and counts it", async () => {
    // Forcing a collection needs a new process with --expose-gc.
    const script = `
      const native = require("./build/Release/selfconnect.node");
      (() => { for (let i = 0; i < 100; i++) native.socket(native.handle(), 4, 0); })();
      globalThis.gc();
      setImmediate(() => { globalThis.gc(); setImmediate(() => console.log(native.leaks())); });`;
    const { stdout } = await command(process.execPath, ["--expose-gc", "-e", script]);
    expect(Number(stdout)).toBeGreaterThan(90);
  });
});

describe("loadNative", () => {
  it("returns the addon itself, frozen", () => {
    const native = loadNative();
    expect(native.fd).toBe(raw.fd);
    expect(Object.isFrozen(native)).toBe(true);
  });

  it("returns a test's stand-in to TcpSocket", async () => {
    await withNative({ socket: () => -1 }, () => {
      expect(() => TcpSocket.open(4)).toThrow(expect.objectContaining({ syscall: "socket" }));
    });
    TcpSocket.open(4).close();
  });

  it("a wait ends with the errno when the reactor fails", async () => {
    let report: (count: number) => void = () => {};
    let watchResult = 0;
    const reactorStart: Native["reactorStart"] = (ready) => {
      report = ready;
      return 0;
    };
    await withNative({ reactorStart, watch: () => watchResult, unwatch: () => 0 }, async () => {
      // A listener whose backlog is full does not reply to the last client.
      const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen(0);
      const clients = Array.from({ length: 4 }, () => TcpSocket.open(4));
      for (const client of clients) client.connect(listener.getsockname());
      const wait = clients[3]!.connected();
      watchResult = -EINVAL;
      setImmediate(() => report(-EINVAL));
      await expect(wait).rejects.toMatchObject({
        name: "SocketError",
        code: "EINVAL",
        syscall: "epoll_wait",
      });
      for (const socket of [listener, ...clients]) socket.close();
    });
  });
});
