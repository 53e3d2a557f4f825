/** selfconnect run: the program, its signals, its exit code, and the guard wherever it starts Node. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, deadPort } from "../support/harness.ts";

const MAIN = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const INNOCENT = new URL("../support/programs/innocent.mjs", import.meta.url).pathname;

const run = (args: readonly string[], during?: (child: ChildProcess) => void) =>
  command(process.execPath, [MAIN, "run", ...args], during);

/** A program that prints "ready" and waits; `then` is what it does about SIGTERM. */
const waitAfter = (then: string) => `${then}; console.log("ready"); setInterval(() => {}, 1000);`;

/** Sends SIGTERM to the command itself when the program is ready. */
const terminate = (child: ChildProcess) => void child.stdout!.on("data", () => child.kill("SIGTERM"));

describe("selfconnect run", () => {
  it("guards the program and what it starts, also in another folder", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-run-"));
    const ports = new Set<number>();
    while (ports.size < 2) ports.add(deadPort());
    const [here, child] = [...ports];
    const start = `cd ${folder} && exec "${process.execPath}" ${INNOCENT} here=${here} "spawn with an environment"=${child}`;
    try {
      const { status, stdout, stderr } = await run(["--", "sh", "-c", start]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).not.toContain("to itself");
      expect(stdout.trim().split("\n")).toHaveLength(2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("has the guard and the log that its options ask for; the program has its own options", async () => {
    const { status, stdout, stderr } = await run([
      ...["--guard", "detect", "--log", "--"],
      ...[process.execPath, "-p", "process.argv[1]", "--", "--guard"],
    ]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "--guard\n" });
    expect(stderr).toMatch(/^selfconnect: process \d+ is guarded: detect\n$/);
  });

  it("exits with the program's code", async () => {
    expect((await run(["--", process.execPath, "-e", "process.exit(42)"])).status).toBe(42);
  });

  it("passes a signal on, and ends by the signal that ended the program", async () => {
    const handles = waitAfter('process.on("SIGTERM", () => process.exit(7))');
    expect((await run(["--", process.execPath, "-e", handles], terminate)).status).toBe(7);
    let signal: NodeJS.Signals | null = null;
    const dies = ["--", process.execPath, "-e", waitAfter("")];
    const { status } = await run(dies, (child) => {
      terminate(child);
      child.on("exit", (_, name) => {
        signal = name;
      });
    });
    expect({ status, signal }).toEqual({ status: null, signal: "SIGTERM" });
  });

  it("exits with 127 for a program that is not there, and with 126 for a file that cannot be executed", async () => {
    const { status, stderr } = await run(["--", "/nowhere/at/all"]);
    expect({ status, stderr }).toEqual({
      status: 127,
      stderr: "selfconnect: /nowhere/at/all: spawn /nowhere/at/all ENOENT\n",
    });
    expect((await run(["--", "/etc/passwd"])).status).toBe(126);
  });

  describe("--when-free", () => {
    const print = ["--", process.execPath, "-p", "'started'"];

    it("starts at once where nobody is in the way", async () => {
      const { status, stdout, stderr } = await run(["--when-free", String(deadPort()), ...print]);
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "started\n", stderr: "" });
    });

    it("says who is in the way, and starts when it is gone", async () => {
      const peer = deadPeer();
      const holder = TcpSocket.open(4).bind(peer);
      holder.connect(peer);
      const { status, stdout, stderr } = await run(
        ["--when-free", formatAddress(peer), ...print],
        (child) => {
          child.stderr!.once("data", () => holder.reset());
        },
      );
      expect({ status, stdout }).toEqual({ status: 0, stdout: "started\n" });
      expect(stderr).toContain("joined to itself");
    });

    it("waits until all of several ports are free, and says who holds each", async () => {
      const holders = [
        TcpSocket.open(4).bind(deadPeer()).listen(),
        TcpSocket.open(4).bind(deadPeer()).listen(),
      ];
      const names = holders.map((holder) => formatAddress(holder.getsockname()));
      let seen = "";
      const { status, stdout, stderr } = await run(["--when-free", names.join(), ...print], (child) => {
        child.stderr!.on("data", (text: string) => {
          seen += text;
          if (!names.every((name) => seen.includes(`server on ${name} cannot start`))) return;
          holders[1]!.close();
          setTimeout(() => holders[0]!.close(), 150);
        });
      });
      expect({ status, stdout }).toEqual({ status: 0, stdout: "started\n" });
      expect(stderr.match(/listens: pid /g)).toHaveLength(2);
    });

    it.each([
      "SIGINT",
      "SIGTERM",
    ] as const)("%s while it waits ends it, and starts nothing", async (signal) => {
      using listener = TcpSocket.open(4).bind(deadPeer()).listen(1);
      const target = formatAddress(listener.getsockname());
      const { status, stdout } = await run(["--when-free", target, ...print], (child) => {
        child.stderr!.once("data", () => child.kill(signal));
      });
      expect({ status, stdout }).toEqual({ status: 130, stdout: "" });
    });

    it("passes a signal on to the program that it started after it waited, and its code", async () => {
      const holder = TcpSocket.open(4).bind(deadPeer()).listen(1);
      const target = formatAddress(holder.getsockname());
      const handles = waitAfter('process.on("SIGINT", () => process.exit(9))');
      const { status } = await run(
        ["--when-free", target, "--", process.execPath, "-e", handles],
        (child) => {
          child.stderr!.once("data", () => holder.close());
          child.stdout!.once("data", () => child.kill("SIGINT"));
        },
      );
      expect(status).toBe(9);
    });

    it("starts nothing when the port is not free in time, and exits with 3", async () => {
      using listener = TcpSocket.open(4).bind(deadPeer()).listen(1);
      const target = formatAddress(listener.getsockname());
      const { status, stdout, stderr } = await run(["--when-free", target, "--wait", "200ms", ...print]);
      expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
      expect(stderr).toContain("not free after 0.2 s");
    });
  });
});
