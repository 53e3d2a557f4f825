/** The truth table: each kind of holder is planted, named, and bind and listen are tried with what was named. */
import { spawn, spawnSync } from "node:child_process";
import { closeSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import type { TestContext } from "vitest";
import { afterEach, describe, expect, test } from "vitest";
import type { BindExplanation, BindTry } from "../../lib/audit/explain-bind.ts";
import { findObstacles } from "../../lib/audit/explain-bind.ts";
import { explainBind, free, waitUntilFree } from "../../lib/audit/index.ts";
import { readNamespaceId } from "../../lib/kernel/namespaces.ts";
import { showsBoundSockets } from "../../lib/kernel/port-holders.ts";
import { whoText } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { Asked, Holding } from "../support/bind-scenarios.ts";
import { describeScenario, judge } from "../support/bind-scenarios.ts";
import {
  deadPeer,
  FAMILIES,
  LOOPBACK,
  needsIpv6,
  needsRoot,
  withListener,
  withNative,
} from "../support/harness.ts";
import { openRing, PLANTINGS, removeHolders, waitForState } from "../support/holders.ts";

const native = loadNative();
const ANY: Address = { family: 4, host: "0.0.0.0", port: 0 };

afterEach(removeHolders);

const OPTIONS: readonly OpenOptions[] = [{}, { reuseAddress: true }, { reusePort: true }];

/** bind(2) and listen(2) agree with what was said of one address. */
function expectTruth({ local, refusal, needs }: BindTry): void {
  const base: OpenOptions = local.host === "::" ? { ipv6Only: false } : {};
  const refusals = OPTIONS.map((options) => listenRefusal(local, { ...base, ...options }));
  const where = `${local.host} ${JSON.stringify(needs)} ${refusals}`;
  expect(refusals[0], where).toBe(refusal);
  const isMissing = local.host === LOOPBACK[6] && !FAMILIES.includes(6);
  if (isMissing) expect([needs, ...refusals], where).toEqual([null, ...OPTIONS.map(() => "EADDRNOTAVAIL")]);
  else if (needs === null) expect(refusals, where).toEqual(["EADDRINUSE", "EADDRINUSE", "EADDRINUSE"]);
  else
    expect(listenRefusal(local, { ...base, ...Object.fromEntries(needs.map((n) => [n, true])) }), where).toBe(
      null,
    );
  if (needs?.includes("reusePort")) expect(refusals[1], where).toBe("EADDRINUSE");
}

/** Whether listen(port) of Node starts. */
function startsInNode(port: number): Promise<boolean> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

/** Ends the connection as the remedy's command does. False where this kernel or host cannot. */
function killAsAdvised(remedy: string): boolean {
  const [command] = /ss -K .*'$/.exec(remedy)!;
  const { stdout } = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  return stdout.split("\n").filter(Boolean).length > 1;
}

/** Does what a remedy says. Returns false where that is an option of the server, which was tried already. */
async function follow(
  remedy: string,
  local: Address,
  close: () => void,
  context: TestContext,
): Promise<boolean> {
  if (remedy.startsWith("set ")) return false;
  if (remedy.includes('free("')) {
    const [freed] = (await free(local, { settleMs: 0 })).sockets;
    if (!freed?.by) context.skip(`SOCK_DESTROY is not possible here: ${freed?.refusals.SOCK_DESTROY}`);
    // The owner of a socket that it had bound itself keeps the port until it closes the socket.
  } else if (remedy.includes("ss -K") && !killAsAdvised(remedy)) {
    context.skip("ss -K needs iproute2, root, and a kernel with INET_DIAG_DESTROY");
  }
  close();
  return true;
}

function describeTry(found: BindExplanation, host: string): BindTry | undefined {
  return found.tries.find(({ local }) => local.host === host);
}

/** Skips where this host cannot hold a port in this way. */
function requirePlanting(title: string, context: TestContext): void {
  if (title.includes("bound") && title.includes("does not listen") && !showsBoundSockets()) {
    context.skip(`sock_diag reports bound sockets since Linux 6.8; this is ${os.release()}`);
  }
  if (!title.includes("io_uring")) return;
  const ring = openRing();
  if (ring < 0) context.skip("this kernel permits no io_uring (kernel.io_uring_disabled)");
  closeSync(ring);
}

describe.each(PLANTINGS)("$title", ({ title, kind, needs, remedy, plant }) => {
  test("is named with owner and remedy, the tries are true, and the remedy works", async (context) => {
    requirePlanting(title, context);
    const { port, close } = await plant();
    const found = explainBind(port);
    const holder = found.holders.find(({ isInTheWay }) => isInTheWay)!;
    expect(holder).toMatchObject({ kind, local: { port }, remedy: expect.stringMatching(remedy) });
    const isOwned = !/time-wait|orphan/.test(kind);
    expect(holder.processes).toMatchObject(isOwned ? [{ pid: process.pid }] : []);
    expect(describeTry(found, "127.0.0.1")?.needs).toEqual(needs);
    for (const one of found.tries) expectTruth(one);
    expect(await startsInNode(port)).toBe(found.canListen);
    if (await follow(holder.remedy!, holder.local, close, context)) {
      expect(await waitUntilFree(port, { deadlineMs: 2000 })).toBe(true);
      expect(await startsInNode(port)).toBe(true);
    }
    close();
  });
});

/** One of each answer, and those that were wrong once: the deep test draws many more. */
const SCENARIOS: readonly (readonly [Asked, ...Holding[]])[] = [
  [null, { role: "outgoing", host: "127.0.0.1", options: {} }],
  ["localhost", { role: "listener", host: "0.0.0.0", options: { reusePort: true } }],
  ["::ffff:127.0.0.1", { role: "joined", host: "127.0.0.1", options: { reuseAddress: true } }],
  ["127.0.0.2", { role: "accepted and listener", host: "127.0.0.1", options: {} }],
  ["::1", { role: "listener", host: "::", options: { ipv6Only: true } }],
  // An IPv6 connection that is not for IPv6 only keeps 0.0.0.0.
  ["0.0.0.0", { role: "joined, picked", host: "::1", options: {} }],
  ["0.0.0.0", { role: "joined", host: "::", options: { reusePort: true } }],
  ["0.0.0.0", { role: "accepted", host: "::", options: { reuseAddress: true } }],
  [
    "0.0.0.0",
    { role: "accepted", host: "127.0.0.1", options: { reuseAddress: true } },
    { role: "joined, picked", host: "::1", options: {} },
  ],
];

test.for(SCENARIOS)("%s: explainBind() says what bind, listen and Node do", async (scenario, context) => {
  const [asked, ...holdings] = scenario;
  needsIpv6(context);
  expect(await judge(holdings, asked), describeScenario(holdings, asked)).toEqual([]);
});

/** A kernel before 6.8, which ignores the bit of the bound sockets in a request. */
const BEFORE_6_8: Partial<Native> = {
  diag: (family, states, ...rest) => native.diag(family, states & 0x1fff, ...rest),
};

/** A kernel that reports no TCP_INFO with its table. */
const WITHOUT_INFORMATION: Partial<Native> = {
  diag: (family, states, low, high, joinedOnly, _details, ...rest) =>
    native.diag(family, states, low, high, joinedOnly, 0, ...rest),
};

describe("on a kernel that does not report bound sockets", () => {
  test("one is found among the descriptors of the processes", async () => {
    const local = deadPeer();
    using bound = TcpSocket.open(4).bind(local);
    expect(bound.getsockname()).toEqual(local);
    const found = await withNative(BEFORE_6_8, () => explainBind(local));
    expect(found.holders).toMatchObject([
      {
        kind: "bound",
        local,
        state: null,
        processes: [{ pid: process.pid, fd: bound.fd }],
        isInTheWay: true,
      },
    ]);
    expect(found.unseen).toEqual([]);
  });

  test("one of another network namespace is not named", async (context) => {
    needsRoot(context, "to enter another network namespace");
    const { port } = deadPeer();
    const script = `const { TcpSocket } = await import("./dist/index.js");
      globalThis.held = TcpSocket.open(4).bind("127.0.0.1:${port}"); // What nobody holds is collected, and closed.
      console.log("bound"); process.stdin.resume();`;
    const node = `ip link set lo up; exec "${process.execPath}" --input-type=module -e '${script}'`;
    const child = spawn("unshare", ["-rn", "sh", "-c", node], { stdio: ["pipe", "pipe", "inherit"] });
    const exited = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const found = await withNative(BEFORE_6_8, () => explainBind(port));
    expect(found.holders).toEqual([]);
    const inside = await withNative(BEFORE_6_8, () =>
      findObstacles([{ ...ANY, port }], { pid: child.pid!, id: readNamespaceId(child.pid!) as number }),
    );
    expect(inside, "control: it is found in that namespace").toMatchObject([
      [{ kind: "bound", processes: [{ pid: child.pid }] }],
    ]);
    child.stdin.end();
    await exited;
  });

  test("one whose process is not readable is unknown, and never nothing", async () => {
    const local = deadPeer();
    using _ = TcpSocket.open(4).bind(local);
    const calls = { ...BEFORE_6_8, localNameOf: () => -os.constants.errno.EPERM };
    const found = await withNative(calls, () => explainBind(local));
    expect(found).toMatchObject({ canListen: false, waitMs: null });
    expect(found.holders).toMatchObject([{ kind: "unknown", local, processes: [], isInTheWay: true }]);
    expect(found.unseen).toEqual([expect.stringContaining("Linux 6.8")]);
  });
});

test("without sock_diag the rows of /proc/net/tcp are named", () =>
  withListener(
    4,
    () => {},
    async ({ port }) => {
      const calls = { diag: () => -os.constants.errno.ENOENT };
      const found = await withNative(calls, () => explainBind(port));
      expect(found.holders).toMatchObject([{ kind: "listener", processes: [{ pid: process.pid }] }]);
    },
  ));

test("without sock_diag nobody knows whether a listener on [::] takes IPv4 too, and no word says so", async (context) => {
  needsIpv6(context);
  using listener = TcpSocket.open(6, { ipv6Only: true })
    .bind({ ...deadPeer(6), host: "::" })
    .listen();
  const { port } = listener.getsockname();
  const listTypes = () => explainBind(port).holders.map(({ is, isV6Only }) => [is.split(": ")[0], isV6Only]);
  expect(listTypes(), "control").toEqual([["listens, for IPv6 only", true]]);
  const calls = { diag: () => -os.constants.errno.ENOENT };
  expect(await withNative(calls, listTypes)).toEqual([["listens, for IPv6, and maybe for IPv4", null]]);
});

test("a connection that its peer has closed before accept(2) belongs to the listener", async () => {
  using listener = TcpSocket.open(4).bind(deadPeer()).listen();
  const peer = listener.getsockname();
  const client = TcpSocket.open(4);
  client.connect(peer);
  await client.connected();
  const from = formatAddress(client.getsockname());
  client.close();
  await waitForState(peer.port, "CLOSE-WAIT");
  const [, waiting] = explainBind(peer).holders;
  expect(waiting).toMatchObject({ kind: "accepted", state: "CLOSE-WAIT", processes: [] });
  const is = `belongs to the listener, and ${from} has closed it (CLOSE-WAIT): not accepted yet`;
  expect(waiting!.is).toBe(is);
});

/** Both ends of a connection; `host` is of both. */
async function connect(host: string): Promise<[client: TcpSocket, accepted: TcpSocket, server: TcpSocket]> {
  const family = host.includes(":") ? 6 : 4;
  const server = TcpSocket.open(family, { reuseAddress: true }).bind({ family, host, port: 0 }).listen();
  const client = TcpSocket.open(family, { reuseAddress: true }).bind({ family, host, port: 0 });
  client.connect(server.getsockname());
  await client.connected();
  return [client, await server.accepted(), server];
}

const directionOf = (socket: TcpSocket) => {
  const { port } = socket.getsockname();
  return explainBind(port).holders.find(({ peer }) => peer !== null)?.direction;
};

test.for([
  LOOPBACK[4],
  LOOPBACK[6],
])("which end a connection of %s is, whatever it has sent", async (host, context) => {
  if (host.includes(":")) needsIpv6(context);
  const [client, accepted, server] = await connect(host);
  const ends = () => [directionOf(client), directionOf(accepted)];
  expect(ends()).toEqual(["outgoing", "accepted"]);
  await client.sendAll(new Uint8Array(100_001));
  await accepted.receiveExactly(100_001);
  await accepted.sendAll(Buffer.from("answer"));
  await client.receiveExactly(6);
  expect(ends()).toEqual(["outgoing", "accepted"]);
  expect(await withNative(WITHOUT_INFORMATION, ends), "before Linux 4.19").toEqual([null, null]);
  accepted.shutdown("write");
  await waitForState(client.getsockname().port, "CLOSE-WAIT");
  expect(directionOf(client)).toBe("outgoing");
  for (const socket of [client, accepted, server]) socket.reset();
});

test("an outgoing connection beside a listener on its port is not one that it has accepted", async () => {
  const [client, accepted, server] = await connect(LOOPBACK[4]);
  using listener = TcpSocket.open(4, { reuseAddress: true }).bind(client.getsockname()).listen();
  const found = explainBind(listener.getsockname());
  const to = formatAddress(server.getsockname());
  const is = `is an outgoing connection to ${to}: `;
  expect(found.holders).toMatchObject([
    { kind: "listener" },
    { kind: "connection", direction: "outgoing", is: expect.stringContaining(is) },
  ]);
  const { holders } = explainBind(server.getsockname());
  expect(holders, "control").toMatchObject([
    { kind: "listener" },
    { kind: "accepted", direction: "accepted" },
  ]);
  for (const socket of [client, accepted, server]) socket.reset();
});

test("where the kernel cannot end a connection of another process, nobody is advised to", async () => {
  const timeWait = PLANTINGS.filter(({ kind }) => kind.endsWith("time-wait"));
  const { port } = await timeWait.at(-1)!.plant();
  const remedy = () =>
    explainBind(`127.0.0.1:${port}`).holders[0]?.remedy ?? explainBind(port).holders[0]!.remedy;
  expect(remedy(), "control").toContain("as root");
  for (const code of ["EOPNOTSUPP", "ENOENT", "EPROTONOSUPPORT"] as const) {
    const calls = { destroy: () => -os.constants.errno[code] };
    const text = await withNative(calls, remedy);
    if (code === "ENOENT") expect(text).toContain("as root");
    else expect(text).not.toContain("as root");
  }
});

test("the wait that is advised is for what was asked", async () => {
  const { plant } = PLANTINGS.find(({ title }) => title.startsWith("TIME-WAIT of a self-connect over 127"))!;
  const { port } = await plant();
  const listAdvice = (target: number | string) => {
    const found = explainBind(target);
    return [
      found.holders[0]!.remedy!.split(",")[0],
      /selfconnect who (\S+) --wait 60s/.exec(whoText(found))![1],
    ];
  };
  expect(listAdvice(port)).toEqual([`waitUntilFree(${port})`, `${port}`]);
  const address = `127.0.0.1:${port}`;
  expect(listAdvice(address)).toEqual([`waitUntilFree("${address}")`, address]);
  const mapped = `[::ffff:127.0.0.1]:${port}`;
  expect(listAdvice(mapped)).toEqual([`waitUntilFree("${mapped}")`, `'${mapped}'`]);
});

test("a port where nothing is in the way", () => {
  const { port } = deadPeer();
  const found = explainBind(port);
  expect(found).toMatchObject({
    address: { host: "::", port },
    canListen: true,
    waitMs: 0,
    holders: [],
    omitted: 0,
    unseen: [],
  });
  const missing = FAMILIES.includes(6) ? [] : [LOOPBACK[6]];
  expect(found.tries.filter(({ needs }) => needs === null).map(({ local }) => local.host)).toEqual(missing);
  expect(found.tries.filter(({ needs }) => needs?.length === 0)).toHaveLength(4 - missing.length);
});

test("the error of a server names its address", async () => {
  await withListener(
    4,
    () => {},
    async (peer) => {
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => {
        net.createServer().once("error", resolve).listen(peer.port, peer.host);
      });
      expect(error.code).toBe("EADDRINUSE");
      const found = explainBind(error);
      expect(found.address).toEqual(peer);
      expect(whoText(found).split("\n").slice(0, 2)).toEqual([
        `a server on ${formatAddress(peer)} cannot start: EADDRINUSE`,
        expect.stringMatching(`^  ${formatAddress(peer)} listens: pid ${process.pid} \\(node, user .*\\)$`),
      ]);
    },
  );
});

test("the connections of a listener come last, and no more than asked for", () =>
  withListener(
    4,
    () => {},
    async (peer) => {
      const clients = [1, 2, 3].map(() => TcpSocket.open(4));
      for (const client of clients) {
        client.connect(peer);
        await client.connected();
      }
      const found = explainBind(peer, { mostHolders: 2 });
      expect(found.holders.map(({ kind }) => kind)).toEqual(["listener", "accepted"]);
      expect(found.omitted).toBe(2);
      expect(whoText(found)).toContain("and 2 more sockets");
      for (const client of clients) client.reset();
    },
  ));

test("no socket is the reason: a privileged port, an address of another host", async () => {
  const portOf = (local: Uint8Array) => new DataView(local.buffer, local.byteOffset).getUint16(2);
  const calls: Partial<Native> = {
    bind: (socket, local) => (portOf(local) === 80 ? -os.constants.errno.EACCES : native.bind(socket, local)),
  };
  const privileged = await withNative(calls, () => explainBind("127.0.0.1:80"));
  expect(privileged).toMatchObject({ canListen: false, holders: [] });
  expect(privileged.tries[0]!.because).toContain("CAP_NET_BIND_SERVICE");
  const foreign = explainBind({ family: 4, host: "192.0.2.1", port: deadPeer().port });
  expect(foreign.tries[0]).toMatchObject({
    refusal: "EADDRNOTAVAIL",
    needs: null,
    because: "192.0.2.1 is not an address of this host",
  });
});

test.each([
  [-1, "ERR_INVALID_PORT"],
  [65_536, "ERR_INVALID_PORT"],
  ["70000", "ERR_INVALID_PORT"],
  ["host.test:80", "ERR_INVALID_ADDRESS"],
  [new Error("no address"), "ERR_INVALID_ADDRESS"],
])("a wrong target is refused: %s", (target, code) => {
  expect(() => explainBind(target as number)).toThrow(expect.objectContaining({ code }));
});

describe("waitUntilFree()", () => {
  test("returns when the holder is gone", async () => {
    const local = deadPeer();
    const listener = TcpSocket.open(4).bind(local).listen();
    const waited = waitUntilFree(local.port);
    listener.close();
    expect(await waited).toBe(true);
    expect(listenRefusal(local)).toBeNull();
  });

  test("gives up at the deadline, and when the signal aborts", async () => {
    const peer = deadPeer(FAMILIES.at(-1));
    using listener = TcpSocket.open(peer.family).bind(peer).listen();
    const local = listener.getsockname();
    expect(await waitUntilFree(local, { deadlineMs: 1 })).toBe(false);
    expect(await waitUntilFree(local, { signal: AbortSignal.abort() })).toBe(false);
    const controller = new AbortController();
    const waited = waitUntilFree(local, { signal: controller.signal });
    controller.abort();
    expect(await waited).toBe(false);
  });
});

test("the error of a worker of node:cluster has no address: it is that of listen(port)", () =>
  withListener(
    4,
    () => {},
    (peer) => {
      const error = Object.assign(new Error("bind EADDRINUSE null"), { address: null, port: peer.port });
      const found = explainBind(error as never);
      expect(found.address).toMatchObject({ host: "::", port: peer.port });
      expect(found.holders.map(({ kind }) => kind)).toContain("listener");
    },
  ));

test("the command that ends a connection has both addresses, so that it ends no other", () =>
  withListener(
    4,
    () => {},
    (peer) => {
      using client = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`);
      client.connect(peer);
      const local = formatAddress(client.getsockname());
      const remedies = explainBind(local).holders.map(({ remedy }) => remedy);
      expect(remedies.join("\n")).toContain(`ss -K -a -4 'src ${local} and dst ${formatAddress(peer)}'`);
      client.reset();
    },
  ));
