/** The guard beside its neighbours, and when a system call of its own fails: each in a namespace of its own. */
import { describe, expect, it } from "vitest";
import { needsNamespaces, requires, runInNamespace } from "../support/harness.ts";

const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);

async function run<T>(range: string, program: string): Promise<T> {
  const script = `import net from "node:net"; import { connect, guardStream } from ${library}; ${program}`;
  const args = ["--input-type=module", "-e", script];
  const { stdout, stderr } = await runInNamespace(range, process.execPath, args);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

describe("a rejected self-connect", () => {
  /** Makes Node's own reset fail as it does when setsockopt(SO_LINGER) fails: nothing is closed, and nothing can be. */
  const program = `
    import { readFileSync } from "node:fs";
    const socket = connect({ host: "127.0.0.1", port: 40100, guard: "detect" });
    let resets = 0;
    Object.getPrototypeOf(socket._handle).reset = () => { resets++; return -1; };
    const events = [];
    for (const name of ["connect", "error", "close"]) socket.on(name, () => events.push(name));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const rows = readFileSync("/proc/net/tcp", "utf8").split("\\n").filter((row) => row.includes(":9CA4"));
    console.log(JSON.stringify({ events, rows: rows.length, resets }));`;

  it("is closed although Node's reset would fail, and its port is free", async (context) => {
    needsNamespaces(context);
    expect(await run("40100 40100", program)).toEqual({ events: ["error", "close"], rows: 0, resets: 0 });
  });
});

describe("the local ports of guarded connects", () => {
  /** Connects 200 times to a listener in the range. Returns how many local ports were of the servers' parity. */
  const program = (options: string, port: number, held = false) => `
    const server = net.createServer((socket) => socket.on("error", () => {}).resume()).listen(${port}, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const ports = [], errors = [];
    const sockets = [];
    for (let i = 0; i < 200; i++) await new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port: ${port}, ${options} });
      sockets.push(socket);
      socket.on("error", ({ code }) => { errors.push(code); resolve(); });
      socket.on("connect", () => {
        ports.push(socket.localPort);
        if (${held}) resolve();
        else socket.resetAndDestroy();
      });
      socket.on("close", resolve);
    });
    console.log(JSON.stringify({ odd: ports.filter((port) => port % 2).length, all: ports.length, errors }));
    process.exit();`;

  it("have the parity of plain connects, for a peer of either; control: with a range they have both", async (context) => {
    needsNamespaces(context);
    requires(context, "6.8", "localPortRange");
    for (const port of [40_100, 40_101])
      expect(await run("40000 40999", program("", port))).toEqual({ odd: 0, all: 200, errors: [] });
    const wide = await run<{ odd: number }>(
      "40000 40999",
      program("options: { localPortRange: { low: 0, high: 0 } }", 40_100),
    );
    expect(wide.odd, "control").toBeGreaterThan(0);
  });

  it("are all that the kernel has: the other parity when the first is exhausted", async (context) => {
    needsNamespaces(context);
    requires(context, "6.3", "localPortRange");
    const { all, errors } = await run<{ all: number; errors: string[] }>(
      "40000 40020",
      program("", 40_010, true),
    );
    expect(all, "21 ports without the listener's").toBe(20);
    expect(new Set(errors)).toEqual(new Set(["EADDRNOTAVAIL"]));
  });
});
