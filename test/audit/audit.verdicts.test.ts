/** What the audit must not get wrong: unknown is not clean, held is not at risk, and what was found has a cure. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Audit } from "../../lib/audit/index.ts";
import { audit, auditAllNamespaces } from "../../lib/audit/index.ts";
import { reserveCure } from "../../lib/audit/reserve-cure.ts";
import { assessPort } from "../../lib/audit/risk.ts";
import { findFourTuple, portFacts } from "../../lib/kernel/index.ts";
import { portAlgorithm, supposeAlgorithm } from "../../lib/ports/index.ts";
import { auditText } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import {
  command,
  deadPeer,
  deadPort,
  inNamespace,
  LOOPBACK,
  MAIN,
  needsNamespaces,
  withNative,
} from "../support/harness.ts";
import { keep, resetPlanted } from "../support/planted.ts";

const INDEX = new URL("../../dist/index.js", import.meta.url).pathname;

afterEach(resetPlanted);

/** Runs a program in another process, which prints a line when it is ready, while `use` runs. */
async function withProgram(
  source: string,
  args: readonly string[],
  use: (pid: number) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, ["-e", source, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  try {
    await use(child.pid!);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
}

const LISTEN = `
  const [host, port] = process.argv.slice(1);
  require("node:net").createServer().listen(Number(port), host, () => console.log("ready"));`;

describe("a listener", () => {
  test("is not at risk while another process is on its port too; the control: it is when that has ended", async () => {
    const local = deadPeer(4);
    keep(TcpSocket.open(4).bind(local).listen());
    const find = async () =>
      (await audit()).listeners.find((one) => one.local.port === local.port && one.local.host === local.host);
    await withProgram(LISTEN, ["127.0.0.3", String(local.port)], async (pid) => {
      expect(await find()).toMatchObject({ risk: "held", heldBy: [{ owner: { pid } }] });
    });
    expect(await find()).toMatchObject({ risk: "at-risk", heldBy: [] });
  });

  test("is at risk although this process has another socket on its port, which ends with it", async () => {
    const local = deadPeer(4);
    keep(TcpSocket.open(4).bind(local).listen());
    keep(
      TcpSocket.open(4)
        .bind({ ...local, host: "127.0.0.3" })
        .listen(),
    );
    const { listeners } = await audit();
    const found = listeners.find((one) => one.local.port === local.port && one.local.host === local.host);
    expect(found).toMatchObject({ risk: "at-risk", heldBy: [] });
  });
});

/** A client whose SYN is dropped for a second: the listener's backlog was full, and the listener has ended since. */
function plantKnocking(peer: Address, local?: Address): void {
  const listener = TcpSocket.open(4).bind(peer).listen(0);
  const clients = Array.from({ length: 4 }, () => keep(TcpSocket.open(4)));
  if (local) clients.at(-1)!.bind(local);
  for (const client of clients) client.connect(peer);
  listener.close();
}

describe("a client whose SYN is unanswered", () => {
  test("is at risk; a client with another address is not, and the reason is its address", async () => {
    const peer = deadPeer(4);
    const other = { family: 4, host: "127.0.0.9", port: deadPort("other") } as const;
    await vi.waitFor(
      async () => {
        plantKnocking(peer, other);
        const { knocking, verdict, reserve } = await audit();
        const mine = knocking.filter((one) => one.peer.port === peer.port);
        const bound = mine.find((one) => one.local.host === other.host);
        expect(bound).toMatchObject({ risk: "safe", because: expect.stringContaining(other.host) });
        expect(mine.filter((one) => one.risk === "at-risk").length).toBeGreaterThan(0);
        expect(verdict).toBe("found");
        expect(reserve!.ports).toContain(peer.port);
      },
      { timeout: 10_000, interval: 1100 },
    );
  });

  test("is not at risk while a listener holds its peer's port", async () => {
    const peer = deadPeer(4);
    keep(TcpSocket.open(4).bind(peer).listen(0));
    for (let count = 0; count < 4; count++) keep(TcpSocket.open(4)).connect(peer);
    const mine = (await audit()).knocking.filter((one) => one.peer.port === peer.port);
    expect(mine.length).toBeGreaterThan(0);
    for (const one of mine) expect(one).toMatchObject({ owner: { pid: process.pid }, risk: "held" });
  });

  test("alone is counted in the last line, and the cure follows", async () => {
    const facts = { ephemeralRange: { low: 40_000, high: 40_999 }, reservedPorts: [] };
    const peer = deadPeer(4);
    const client = {
      local: { ...peer, port: 40_002 },
      peer,
      owner: null,
      retransmits: 1,
      risk: "at-risk",
      because: null,
    } as const;
    const found: Audit = {
      ...facts,
      algorithm: "linux-5.18",
      source: "sock_diag",
      listeners: [],
      ports: [],
      joined: [],
      leftovers: [],
      knocking: [client],
      destinations: [],
      reserve: reserveCure([peer.port], facts),
      verdict: "found",
      unseen: [],
    };
    const text = auditText(found);
    expect(text.split("\n").at(-1)).toContain("1 client at risk");
    expect(text).toContain(`ip_local_reserved_ports=${peer.port}`);
  });
});

describe("the exit code", () => {
  /** Plants with the built package in a namespace, then audits there. */
  async function auditAfter(plant: string, ...flags: string[]) {
    const source = `
      const { TcpSocket } = await import(${JSON.stringify(INDEX)});
      const { spawnSync } = await import("node:child_process");
      const host = ${JSON.stringify(LOOPBACK[4])};
      ${plant}
      const { status } = spawnSync(process.execPath, [${JSON.stringify(MAIN)}, "audit", ...process.argv.slice(1)], { stdio: "inherit" });
      process.exit(status);`;
    return await inNamespace("40000 40039", process.execPath, [
      "--input-type=module",
      "-e",
      source,
      "--",
      ...flags,
    ]);
  }

  test("is 3 for a lone self-connect in TIME-WAIT", async (context) => {
    needsNamespaces(context);
    const { status, stdout } = await auditAfter(`
      const self = { family: 4, host, port: 40_000 };
      const socket = TcpSocket.open(4).bind(self);
      socket.connect(self);
      const { closeSync } = await import("node:fs");
      closeSync(socket.release());`);
    expect(stdout).toContain("TIME-WAIT, for");
    expect(stdout).toContain("1 left behind");
    expect(status).toBe(3);
  });

  /** Outside the namespace's range. */
  const SERVER = 8080;
  const CROWD = `
    const peer = { family: 4, host, port: ${SERVER} };
    const listener = TcpSocket.open(4).bind(peer);
    listener.listen();
    const all = Array.from({ length: 30 }, () => TcpSocket.open(4));
    for (const client of all) client.connect(peer);`;

  test("is 0 for a destination that runs out of ports, which is named with its share and with what helps", async (context) => {
    needsNamespaces(context);
    const words = await auditAfter(CROWD);
    const server = `${LOOPBACK[4]}:${SERVER}`;
    expect(words.stdout).toContain(`${LOOPBACK[4]} to ${server} 30 of 40 ports in use (75 %)`);
    expect(words.stdout).toContain("keep connections and use them again");
    expect(words.status).toBe(0);
    const metrics = await auditAfter(CROWD, "--openmetrics");
    expect(metrics.stdout).toContain(
      `selfconnect_destination_ports_in_use{address="${LOOPBACK[4]}",peer="${server}"} 30`,
    );
    expect(metrics.stdout).toContain(
      `selfconnect_destination_ports{address="${LOOPBACK[4]}",peer="${server}"} 40`,
    );
  });

  test("is 1 where the range cannot be read, without a metric; 3 when something was found all the same", async (context) => {
    needsNamespaces(context);
    const run = (...args: string[]) => runHiding("mount -t tmpfs none /proc/sys", args);
    const words = await run(MAIN, "audit");
    expect(words.stdout.trim().split("\n").at(-1)).toBe(UNSEEN_RANGE);
    expect(words.status).toBe(1);
    const plant = (joined: boolean) => `
      const { TcpSocket } = await import(${JSON.stringify(INDEX)});
      const { spawnSync } = await import("node:child_process");
      const at = (port) => ({ family: 4, host: ${JSON.stringify(LOOPBACK[4])}, port });
      const listener = TcpSocket.open(4).bind(at(50_000)).listen();
      if (${joined}) TcpSocket.open(4).bind(at(50_002)).connect(at(50_002));
      const { status, stdout } = spawnSync(process.execPath, [${JSON.stringify(MAIN)}, "audit", "--openmetrics"]);
      console.log(status + " " + stdout);`;
    const unknown = await run("--input-type=module", "-e", plant(false));
    expect(unknown.stdout).toMatch(/^1 /);
    expect(unknown.stdout).toContain("selfconnect_joined_sockets 0");
    expect(unknown.stdout).not.toMatch(/selfconnect_clean|at_risk/);
    const found = await run("--input-type=module", "-e", plant(true));
    expect(found.stdout).toMatch(/^3 /);
    expect(found.stdout).toContain("selfconnect_clean 0");
  });
});

test("a list of reserved ports that cannot be read is not an empty list: exit code 1", async (context) => {
  needsNamespaces(context);
  // Reading the start of a process's memory fails with EIO, as root too.
  const hide = "mount --bind /proc/$$/mem /proc/sys/net/ipv4/ip_local_reserved_ports";
  const { stdout, status } = await runHiding(hide, [MAIN, "audit"]);
  expect(stdout.trim().split("\n").at(-1)).toBe(UNSEEN_RANGE);
  expect(status).toBe(1);
});

const UNSEEN_RANGE =
  "unknown: not everything could be seen; " +
  "could not see net.ipv4.ip_local_port_range with ip_local_reserved_ports";

/** Runs Node in namespaces of its own, in which a script has hidden some files. */
function runHiding(hide: string, args: readonly string[]) {
  const script = `mount --make-rprivate / && ${hide} && ip link set lo up && exec "$@"`;
  return command("unshare", ["-rnm", "sh", "-c", script, "sh", process.execPath, ...args]);
}

describe("the table is read once, off the event loop", () => {
  test("two dumps and one for the ages, however many sockets are joined to themselves", async () => {
    for (let count = 0; count < 40; count++) {
      const self = deadPeer(count % 2 === 0 ? 4 : 6);
      keep(TcpSocket.open(self.family).bind(self)).connect(self);
    }
    const dump = vi.fn(loadNative().dump);
    const { joined } = await withNative({ dump }, () => audit());
    expect(joined.length).toBeGreaterThanOrEqual(40);
    for (const one of joined) expect(one.ageMs, JSON.stringify(one)).not.toBeNull();
    expect(dump).toHaveBeenCalledTimes(4);
  });

  test.each([
    "ENOSYS",
    "ENOENT",
    "EINTR",
  ] as const)("where sock_diag fails (%s), /proc has the same", async (code) => {
    const self = deadPeer(4);
    keep(TcpSocket.open(4).bind(self)).connect(self);
    const listening = deadPeer(6);
    keep(TcpSocket.open(6).bind(listening).listen());
    const dump = (...args: unknown[]) => {
      setImmediate(args.at(-1) as (result: number) => void, -os.constants.errno[code]);
      return 0;
    };
    const found = await withNative({ dump }, () => audit());
    expect(found.source).toBe("proc");
    expect(findFourTuple(self, self)).toHaveLength(1);
    expect(found.joined.find(({ local }) => local.port === self.port)).toMatchObject({
      local: self,
      ageMs: null,
    });
    expect(found.listeners.find(({ local }) => local.port === listening.port)).toMatchObject({
      risk: "at-risk",
    });
    expect(found.verdict).toBe("found");
  });

  test("any other failure is an error, and never an empty table", async () => {
    const dump = () => -os.constants.errno.EAGAIN;
    await expect(withNative({ dump }, () => audit())).rejects.toMatchObject({
      code: "EAGAIN",
      syscall: "sock_diag",
    });
  });
});

describe("other network namespaces", () => {
  test("a listener in one is found with its range and its reserve command; unreadable ones are unknown", async (context) => {
    needsNamespaces(context);
    if (process.getuid!() !== 0) context.skip("entering another network namespace needs root");
    const port = 40_000;
    const setUp = `ip link set lo up; echo "${port} 40999" > /proc/sys/net/ipv4/ip_local_port_range; exec "$@"`;
    const args = ["-n", "sh", "-c", setUp, "sh", process.execPath, "-e", LISTEN, LOOPBACK[4], String(port)];
    const child = spawn("unshare", args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    try {
      const { own, others, verdict } = await auditAllNamespaces();
      const mine = others.find(({ process }) => process?.pid === child.pid);
      expect(mine).toMatchObject({
        ephemeralRange: { low: port, high: 40_999 },
        listeners: [{ local: { port }, owner: { pid: child.pid }, risk: "at-risk" }],
        reserve: {
          now: `nsenter --net=/proc/${child.pid}/ns/net sysctl -w net.ipv4.ip_local_reserved_ports=${port}`,
        },
      });
      expect(own.ephemeralRange).toEqual(portFacts().ephemeralRange);
      expect(verdict).toBe("found");
      const readInNamespace = () => -os.constants.errno.EPERM;
      const blind = await withNative({ readInNamespace }, () => auditAllNamespaces());
      expect(blind.others).toEqual([]);
      expect(blind.unseen.join()).toContain(`pid ${child.pid}: setns EPERM`);
      expect(blind.verdict).not.toBe("clean");
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
});

describe("a port", () => {
  const facts = {
    ephemeralRange: { low: 40_000, high: 40_005 },
    reservedPorts: [{ low: 40_000, high: 40_000 }],
  };
  const situation = (heldPorts: number[]) => ({
    facts,
    algorithm: portAlgorithm("linux-5.18"),
    heldPorts: new Set(heldPorts),
    findLocal: (peer: Address) => peer,
  });
  const at = (port: number) => ({ family: 4, host: LOOPBACK[4], port }) as const;

  test("of the other parity is at risk from all clients when none of the first parity is left", () => {
    expect(assessPort(at(40_003), false, situation([40_002]))).toMatchObject({ risk: "bind-first" });
    expect(assessPort(at(40_003), false, situation([40_002, 40_004]))).toMatchObject({
      risk: "at-risk",
      never: null,
    });
  });

  test("on another address of loopback is reached by clients that bind to it", () => {
    const elsewhere = { ...situation([]), findLocal: () => at(0) };
    const risk = assessPort({ ...at(40_002), host: "127.0.0.2" }, false, elsewhere);
    expect(risk).toMatchObject({ risk: "bind-first", never: { reason: "address" } });
  });

  test.each([
    "4.19.0-27-amd64",
    "5.4.0-150-generic",
    "5.10.0-32-amd64",
    "5.15.0-91-generic",
    "5.15.41",
    "5.10.125",
  ])("on Linux %s takes as long as on the latest", (release) => {
    expect(supposeAlgorithm("connect", release).name).toBe("linux-5.18");
  });
});

describe("reserving", () => {
  const range = { low: 40_000, high: 40_009 };

  test("adds to what is reserved already", () => {
    const cure = reserveCure([40_004, 40_002], {
      ephemeralRange: range,
      reservedPorts: [{ low: 40_003, high: 40_003 }],
    });
    expect(cure).toMatchObject({ ports: [40_002, 40_004], value: "40002-40004" });
  });

  test("takes the last port of an odd number too, when the port two below makes the kernel reach it", () => {
    const odd = { ephemeralRange: { low: 40_000, high: 40_008 }, reservedPorts: [] };
    expect(reserveCure([40_006], odd)).toMatchObject({ ports: [40_006, 40_008] });
    expect(reserveCure([40_006], { ephemeralRange: range, reservedPorts: [] })).toMatchObject({
      ports: [40_006],
    });
  });

  test("is no cure where it leaves the kernel only ports of the other parity", () => {
    const facts = {
      ephemeralRange: { low: 40_000, high: 40_003 },
      reservedPorts: [{ low: 40_000, high: 40_000 }],
    };
    expect(reserveCure([40_002], facts)).toBeNull();
  });
});
