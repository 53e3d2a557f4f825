/** Facts about the host, compared with a second source. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { describe, expect, it } from "vitest";
import { sysctl } from "../../lib/kernel/host.ts";
import {
  environment,
  findFourTuple,
  isOwnAddress,
  portFacts,
  socketOwner,
  socketTable,
} from "../../lib/kernel/index.ts";
import { parseSocketTable } from "../../lib/kernel/tables.ts";
import { netstatText } from "../../lib/report/netstat.ts";
import { parsePortList } from "../../lib/socket/port-range.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, LOOPBACK, MAIN, needsNamespaces, runInNamespace } from "../support/harness.ts";

describe("the host", () => {
  it("has the ephemeral range that /proc/sys has", () => {
    const [low, high] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
      .split(/\s+/)
      .map(Number);
    expect(portFacts().ephemeralRange).toEqual({ low, high });
    expect(sysctl("net.ipv4.no_such_thing")).toBeNull();
  });

  it("has an environment with the kernel, the versions and the sysctls", () => {
    const now = environment();
    expect(now).toMatchObject({ kernel: os.release(), machine: "host", node: process.version });
    expect(now.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(now.sysctls["net.ipv4.ip_local_port_range"]).toMatch(/^\d+ \d+$/);
  });

  it("has reserved ports, whose list is parsed", () => {
    expect(parsePortList("8080,9148-9150")).toEqual([
      { low: 8080, high: 8080 },
      { low: 9148, high: 9150 },
    ]);
    expect(parsePortList("")).toEqual([]);
  });

  it.each([
    ["127.0.0.1", true],
    ["127.9.9.9", true],
    ["0.0.0.0", true],
    ["192.0.2.1", false],
    ["8.8.8.8", false],
  ])("has the address %s: %s", (host, own) => {
    expect(isOwnAddress({ family: 4, host, port: 1 })).toBe(own);
    expect(isOwnAddress({ family: 6, host: `::ffff:${host}`, port: 1 })).toBe(own);
  });

  it("has the addresses of its interfaces", () => {
    for (const [name, list] of Object.entries(os.networkInterfaces())) {
      for (const { address, family } of list ?? []) {
        const host = address.split("%")[0]!;
        const scope = host.startsWith("fe80") ? { scope: name } : {};
        expect(isOwnAddress({ family: family === "IPv4" ? 4 : 6, host, port: 1, ...scope }), host).toBe(true);
      }
    }
  });
});

describe.each(FAMILIES)("the socket table, IPv%i", (family) => {
  it("has a socket joined to itself with its owner, as ss does", (context) => {
    const self = deadPeer(family);
    using socket = TcpSocket.open(family).bind(self);
    socket.connect(self);
    const [row] = findFourTuple(self, self);
    expect(row).toMatchObject({ local: self, peer: self, state: "ESTABLISHED", uid: process.getuid?.() });
    expect(socketOwner(row!.inode)).toMatchObject({ pid: process.pid });
    expect(netstatText(row!, { pid: 7, command: "x" })).toMatch(/^tcp6? .*ESTABLISHED 7\/x$/);
    socket.send(new Uint8Array(5));
    expect(findFourTuple(self, self)[0]!.receiveQueueBytes).toBe(5);
    const ss = runSs(self.port);
    if (ss === null) context.skip("no ss here: apt-get install iproute2");
    expect(ss).toContain("ESTAB");
    expect(ss).toContain(`pid=${process.pid}`);
    socket.reset();
  });

  it("has a listener, whose owner is null after close()", () => {
    const listener = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 }).listen();
    const local = listener.getsockname();
    const row = socketTable().find((one) => one.state === "LISTEN" && one.local.port === local.port)!;
    expect(row.local).toEqual(local);
    listener.close();
    expect(socketOwner(row.inode)).toBeNull();
  });
});

function runSs(port: number): string | null {
  try {
    return execFileSync("ss", ["-tanpH", `sport = :${port}`], { encoding: "utf8" });
  } catch {
    return null;
  }
}

it("an empty table has no rows", () => {
  expect(parseSocketTable("  sl  local_address rem_address   st\n")).toEqual([]);
});

it("in another network namespace the range is the namespace's", async (context) => {
  needsNamespaces(context);
  const args = [MAIN, "reconnect", "--strategy", "bind", "--json"];
  const { stdout } = await runInNamespace("50000 50003", process.execPath, args);
  expect(JSON.parse(stdout).environment.ephemeralRange).toEqual({ low: 50_000, high: 50_003 });
});
