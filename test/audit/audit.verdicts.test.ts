/** What the audit must not get wrong: unknown is not clean, held is not at risk, and what was found has a cure. */
import type { StdioOptions } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import { afterEach, describe, expect, test, vi } from "vitest";
import { HIDDEN_OWNER } from "../../lib/audit/holder-words.ts";
import { audit, auditAllNamespaces } from "../../lib/audit/index.ts";
import { reserveCure } from "../../lib/audit/reserve-cure.ts";
import { findFourTuple, portFacts } from "../../lib/kernel/index.ts";
import { auditText } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { CLEAN_AUDIT } from "../support/audits.ts";
import {
  command,
  deadPeer,
  deadPort,
  FAMILIES,
  LOOPBACK,
  MAIN,
  needsNamespaces,
  needsRoot,
  requires,
  runInNamespace,
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
  stdio: StdioOptions = ["ignore", "pipe", "inherit"],
): Promise<void> {
  const child = spawn(process.execPath, ["-e", source, ...args], { stdio });
  await once(child.stdout!, "data");
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

/** Binds with SO_REUSEADDR, and does not listen. */
const BIND = `
  const [host, port] = process.argv.slice(1);
  import(${JSON.stringify(INDEX)}).then(({ TcpSocket }) => {
    const socket = TcpSocket.open(4, { reuseAddress: true }).bind({ family: 4, host, port: Number(port) });
    console.log("ready");
    setInterval(() => socket.fd, 60_000);
  });`;

/** Connects from a port that the kernel picks at connect(2), from a range of one, with SO_REUSEADDR. */
const CONNECT = `
  const [host, port, peer] = process.argv.slice(1);
  import(${JSON.stringify(INDEX)}).then(async ({ TcpSocket }) => {
    const range = { low: Number(port), high: Number(port) };
    const options = { bindAddressNoPort: true, localPortRange: range, reuseAddress: true };
    const client = TcpSocket.open(4, options);
    client.bind({ family: 4, host, port: 0 }).connect({ family: 4, host: "${LOOPBACK[4]}", port: Number(peer) });
    await client.connected();
    console.log("ready");
    setInterval(() => client.fd, 60_000);
  });`;

/** Accepts one connection from a socket that it inherits, closes its copy of the listener, and keeps the connection. */
const ACCEPT = `
  const { createRequire } = require("node:module");
  const koffi = createRequire(process.argv[1])("koffi");
  const libc = koffi.load("libc.so.6");
  libc.func("int accept(int fd, void *address, void *length)")(3, null, null);
  libc.func("int close(int fd)")(3);
  console.log("ready");
  setInterval(() => {}, 60_000);`;

describe("a listener", () => {
  test("is not at risk while another process has a connection that it accepted; the control: it is afterwards", async () => {
    const local = deadPeer(4);
    const listener = keep(TcpSocket.open(4).bind(local).listen());
    keep(TcpSocket.open(4)).connect(local);
    const find = async () => (await audit()).listeners.find((one) => one.local.port === local.port);
    const args = [new URL(import.meta.url).pathname];
    const stdio = ["ignore", "pipe", "inherit", listener.fd] satisfies StdioOptions;
    await withProgram(
      ACCEPT,
      args,
      async (pid) => {
        expect(await find()).toMatchObject({
          risk: "held",
          heldBy: [{ owner: { pid }, is: expect.stringContaining("is connected to") }],
        });
      },
      stdio,
    );
    expect(await find()).toMatchObject({ risk: "at-risk", heldBy: [] });
  });

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

  test("is not at risk while another process is bound to its address; the control: it is when that has ended", async () => {
    const local = deadPeer(4);
    const find = async () => (await audit()).listeners.find((one) => one.local.port === local.port);
    await withProgram(BIND, [local.host, String(local.port)], async (pid) => {
      keep(TcpSocket.open(4, { reuseAddress: true }).bind(local).listen());
      expect(await find()).toMatchObject({ risk: "held", heldBy: [{ owner: { pid } }] });
    });
    expect(await find()).toMatchObject({ risk: "at-risk", heldBy: [] });
  });

  test.for([
    ["another address", "127.0.0.3"],
    ["its address, with SO_REUSEADDR", LOOPBACK[4]],
  ] as const)("is at risk although another process has an outgoing connection from its port and %s", async ([
    ,
    host,
  ], context) => {
    requires(context, "6.3", "localPortRange");
    const server = keep(TcpSocket.open(4).bind(deadPeer(4, "other")).listen());
    const local = deadPeer(4);
    const args = [host, String(local.port), String(server.getsockname().port)];
    // The kernel has picked the port, by a range of one: so it gives the port to other clients too.
    await withProgram(CONNECT, args, async () => {
      keep(TcpSocket.open(4, { reuseAddress: true }).bind(local).listen());
      const found = (await audit()).listeners.find((one) => one.local.port === local.port);
      expect(found).toMatchObject({ risk: "at-risk", heldBy: [] });
    });
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
      is: "connects to it",
      peer,
      owner: null,
      retransmits: 1,
      risk: "at-risk",
      because: null,
    } as const;
    const reserve = reserveCure([peer.port], facts);
    const verdict = "found" as const;
    const found = { ...CLEAN_AUDIT, ...facts, knocking: [client], reserve, verdict };
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
    return await runInNamespace("40000 40039", process.execPath, [
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
    expect(stdout).toMatch(/is in TIME-WAIT after a socket joined to itself, \d+ s left/);
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
      const self = deadPeer(FAMILIES[count % FAMILIES.length]);
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
    const listening = deadPeer(FAMILIES.at(-1));
    keep(TcpSocket.open(listening.family).bind(listening).listen());
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
    needsRoot(context, "to enter another network namespace");
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

test("where /proc hides the processes of others, all namespaces are unknown, and the text says that owners are", async (context) => {
  needsRoot(context, "to mount /proc with hidepid");
  const source = `
    const { TcpSocket } = await import(${JSON.stringify(INDEX)});
    const { spawnSync } = await import("node:child_process");
    const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", process.execPath];
    const run = (...args) => {
      const { status, stdout } = spawnSync("setpriv", [...nobody, ${JSON.stringify(MAIN)}, ...args], { encoding: "utf8" });
      return { status, stdout };
    };
    const all = run("audit", "--all-namespaces");
    const listener = TcpSocket.open(4).bind("${LOOPBACK[4]}:50000").listen();
    console.log(JSON.stringify({ all, audit: run("audit"), who: run("who", "${LOOPBACK[4]}:50000") }));
    process.exit();`;
  const hide = "mount -t proc -o hidepid=2 proc /proc";
  const set = `mount --make-rprivate / && ${hide} && ip link set lo up && exec "$@"`;
  const node = [process.execPath, "--input-type=module", "-e", source];
  const { stdout } = await command("unshare", ["-nm", "sh", "-c", set, "sh", ...node]);
  const { all, audit, who } = JSON.parse(stdout);
  expect(all.stdout).toContain("could not see the network namespaces of some processes");
  expect(all.status).toBe(1);
  expect(audit.stdout).toContain(HIDDEN_OWNER);
  expect(who.stdout).toContain(HIDDEN_OWNER);
  // A kernel that lists the listener without its process: the same words in both.
  const is = "listens: no visible process, of user root";
  for (const { stdout } of [audit, who]) expect(stdout).toContain(`${LOOPBACK[4]}:50000 ${is}`);
});
