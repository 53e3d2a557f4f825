/** The native door from inside: what no user can reach through TcpSocket. */

import { once } from "node:events";
import fs from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import { describe, expect, it } from "vitest";
import { portFacts } from "../lib/kernel/host.ts";
import type { Native } from "../lib/socket/native.ts";
import { loadNative } from "../lib/socket/native.ts";
import { TcpSocket } from "../lib/socket/socket.ts";
import { command, deadPeer, requires, withNative } from "./harness.ts";

const raw = createRequire(import.meta.url)("../build/Release/selfconnect.node") as Native;
const room = new Uint8Array(24);

describe("the addon", () => {
  it("is not fooled by an object that is no socket handle", () => {
    const impostors = [{}, null, undefined, 7, "handle", new Uint8Array(8), Object.create(null)];
    for (const impostor of impostors) {
      expect(() => raw.fd(impostor as never)).toThrow("argument 0 must be a socket handle");
    }
  });

  it("names the argument that is wrong, and does nothing", () => {
    const handle = raw.handle();
    expect(() => raw.socket(handle, "4" as never)).toThrow("argument 1 must be a number");
    expect(() => raw.getsockname(handle, new Uint8Array(23))).toThrow(
      "argument 1 must be room for an address",
    );
    expect(() => raw.bind(handle, new Float64Array(3) as never)).toThrow("argument 1 must be an address");
    expect(() => raw.getsockopt(handle, 10_000, new BigInt64Array(2))).toThrow("a row of the option table");
    expect(raw.fd(handle)).toBe(-1);
  });

  it("names the argument of a burst that is wrong, before any attempt", () => {
    const handle = raw.handle();
    const report = new Uint32Array(3 + raw.outcomes);
    const burst = (...values: unknown[]) => (raw.burst as (...all: unknown[]) => number)(...values);
    const stop = new Int32Array(1);
    const done = () => {};
    expect(() => burst(handle, "frehs", room, 1, 1, 1, stop, null, report, done)).toThrow("a strategy");
    expect(() => burst(handle, "fresh", room, 9, 1, 1, stop, new Uint16Array(8), report, done)).toThrow(
      "all ports",
    );
    expect(() => burst(handle, "fresh", room, 1, 1, 1, stop, null, new Uint32Array(3), done)).toThrow(
      "whole report",
    );
    expect(() => burst(handle, "fresh", room, 1, 1, 1, new Int32Array(0), null, report, done)).toThrow(
      "stop flag",
    );
  });

  it("an empty handle answers EBADF, and ending it is no error", () => {
    const handle = raw.handle();
    const socket = TcpSocket.open(4);
    socket.close();
    expect(raw.getsockname(handle, room)).toBe(raw.bind(handle, room));
    expect(raw.close(handle)).toBe(0);
    expect(raw.reset(handle)).toBe(0);
    expect(raw.release(handle)).toBe(0);
  });

  it.for(["at once", "afterwards"])("gives a descriptor of libuv's its range %s", async (when, context) => {
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

  it("answers EBADF for a descriptor that is none", () => {
    const EBADF = -os.constants.errno.EBADF;
    expect(raw.localPort(-1)).toBe(EBADF);
    expect(raw.setLocalPortRange(-1, 1, 2)).toBe(EBADF);
  });

  it("leaves no descriptor behind when the range is refused", (context) => {
    requires(context, "6.3", "localPortRange");
    const count = () => fs.readdirSync("/proc/self/fd").length;
    const before = count();
    // The low end above the high end.
    for (let i = 0; i < 10; i++) expect(raw.socketInRange(4, 2, 1)).toBe(-os.constants.errno.EINVAL);
    expect(count()).toBe(before);
  });

  it("garbage collection closes what was forgotten, and counts it", async () => {
    // Only a process of its own can force a collection.
    const script = `
      const native = require("./build/Release/selfconnect.node");
      (() => { for (let i = 0; i < 100; i++) native.socket(native.handle(), 4); })();
      globalThis.gc();
      setImmediate(() => { globalThis.gc(); setImmediate(() => console.log(native.leaks())); });`;
    const { stdout } = await command(process.execPath, ["--expose-gc", "-e", script]);
    expect(Number(stdout)).toBeGreaterThan(90);
  });
});

describe("the door", () => {
  it("holds the addon to its promise: every call answers an integer", () => {
    const native = loadNative();
    for (const [name, value] of Object.entries(native)) {
      if (typeof value !== "function" || name === "handle") continue;
      expect(typeof value, name).toBe("function");
    }
    expect(Object.isFrozen(native)).toBe(true);
    expect(native.fd(native.handle())).toBe(-1);
  });

  it("a TcpSocket stands on any door of that shape", async () => {
    await withNative({ socket: () => -1 }, () => {
      expect(() => TcpSocket.open(4)).toThrow(expect.objectContaining({ syscall: "socket" }));
    });
    TcpSocket.open(4).close();
  });
});
