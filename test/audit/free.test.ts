/** free(): ends another process's self-connect, by each way, and nothing else. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { TestContext } from "vitest";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FreedBy, FreedSocket } from "../../lib/audit/free.ts";
import { explainBind, free } from "../../lib/audit/index.ts";
import { freeText } from "../../lib/report/index.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { cli, command, deadPeer, MAIN, needsNamespaces, needsRoot, withNative } from "../support/harness.ts";
import { PLANTINGS, removeHolders } from "../support/holders.ts";

const PROGRAM = new URL("../support/programs/joined.mjs", import.meta.url).pathname;

/** Another process with a socket joined to itself. */
interface Owner extends AsyncDisposable {
  readonly pid: number;
  /** The next line that it prints. */
  next(): Promise<string | undefined>;
  /** Makes a program that only looks at its socket do that, and close it. */
  poke(): void;
}

async function startOwner(port: number, how: "stream" | "bound" | "picked"): Promise<Owner> {
  const child = spawn(process.execPath, [PROGRAM, `${port}`, how], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.on("close", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value as string | undefined;
  expect(await next()).toBe("joined");
  return {
    pid: child.pid!,
    next,
    poke: () => void child.stdin.write("\n"),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

/** The addon where this process lacks CAP_NET_ADMIN: SOCK_DESTROY is refused. */
const WITHOUT_CAPABILITY: Partial<Native> = { destroy: () => -os.constants.errno.EPERM };

const WAYS: readonly (readonly [FreedBy, Partial<Native>, string])[] = [
  ["SOCK_DESTROY", {}, "ECONNABORTED"],
  ["pidfd_getfd", WITHOUT_CAPABILITY, "ECONNRESET"],
];

afterEach(removeHolders);

function needsWay(by: FreedBy, context: TestContext): void {
  if (by === "SOCK_DESTROY") needsRoot(context, by);
}

describe.each(WAYS)("by %s", (by, calls, code) => {
  beforeEach((context) => needsWay(by, context));

  test("the port of a net.Socket is free, and its process goes on", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "stream");
    expect(listenRefusal(peer, { reuseAddress: true }), "control").toBe("EADDRINUSE");
    const { sockets } = await withNative(calls, () => free(peer.port));
    expect(sockets).toMatchObject([
      { local: peer, state: "ESTABLISHED", processes: [{ pid: owner.pid }], by, refusals: {}, isFree: true },
    ]);
    expect(Date.parse(sockets[0]!.at!)).toBeGreaterThan(0);
    expect(await owner.next()).toBe(code);
    expect(listenRefusal(peer)).toBeNull();
    process.kill(owner.pid, 0); // It is alive.
  });

  test("a port that the kernel picked is free at once, whatever its process does", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "picked");
    expect(await withNative(calls, () => free(peer))).toMatchObject({ sockets: [{ by, isFree: true }] });
    expect(listenRefusal(peer)).toBeNull();
    owner.poke();
    expect(await owner.next()).toBe(code);
  });

  test("a port that the process bound is free when the process has closed the socket", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "bound");
    const { sockets } = await withNative(calls, () => free(peer.port, { settleMs: 50 }));
    const inTheWay = [{ local: peer, isFreed: true, is: expect.stringContaining(`pid ${owner.pid}`) }];
    expect(sockets).toMatchObject([{ by, isFree: false, inTheWay }]);
    expect(listenRefusal(peer, { reuseAddress: true })).toBe("EADDRINUSE");
    owner.poke();
    expect([await owner.next(), await owner.next()]).toEqual([code, "closed"]);
    expect(listenRefusal(peer)).toBeNull();
  });
});

test.for(WAYS)("a self-connect of Multipath TCP is ended by %s", async ([by, calls], context) => {
  needsWay(by, context);
  for (const { plant } of PLANTINGS.filter(({ title }) => /Multipath.*joined/.test(title))) {
    const { port, close } = await plant();
    expect(await withNative(calls, () => free(port, { settleMs: 0 }))).toMatchObject({ sockets: [{ by }] });
    expect(explainBind(port).holders.filter(({ state }) => state === "ESTABLISHED")).toEqual([]);
    close();
    expect(explainBind(port).canListen).toBe(true);
  }
});

test("where neither way is permitted, the errno of each is returned and nothing changes", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  const refused = { ...WITHOUT_CAPABILITY, disconnectJoined: () => -os.constants.errno.EPERM };
  const { sockets } = await withNative(refused, () => free(peer.port));
  expect(sockets).toMatchObject([
    {
      ...{ by: null, at: null, isFree: false, inTheWay: [{ isFreed: false }] },
      refusals: { SOCK_DESTROY: "EPERM", pidfd_getfd: "EPERM" },
    },
  ]);
  owner.poke();
  expect(await owner.next()).toBe("no error");
});

test("on a kernel without sock_diag, the socket of /proc/net/tcp is known by its inode", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  const calls = { diag: () => -os.constants.errno.ENOENT };
  const { sockets } = await withNative(calls, () => free(peer.port));
  expect(sockets).toMatchObject([{ by: "pidfd_getfd", isFree: true }]);
  owner.poke();
  expect(await owner.next()).toBe("ECONNRESET");
});

test("a dry run finds it and changes nothing", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  const { sockets } = await free(peer.port, { dryRun: true });
  expect(sockets).toMatchObject([{ by: null, at: null, isFree: null, inTheWay: [] }]);
  owner.poke();
  expect(await owner.next()).toBe("no error");
});

test.each(
  PLANTINGS.filter(({ kind }) => !kind.startsWith("self-connect") && kind !== "unknown"),
)("$title is not touched", async ({ title, plant }) => {
  if (title.includes("io_uring")) return;
  const { port, close } = await plant();
  const before = explainBind(port).holders.map(({ kind, state }) => [kind, state]);
  expect(await free(port)).toEqual({ sockets: [], unseen: [] });
  expect(explainBind(port).holders.map(({ kind, state }) => [kind, state])).toEqual(before);
  close();
});

test("only the address that was asked for is freed", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  expect((await free({ ...peer, host: "127.0.0.2" })).sockets).toEqual([]);
  expect((await free(formatAddress(peer))).sockets).toHaveLength(1);
  owner.poke();
});

test("the sockets that stay are looked for once, however many were joined to themselves", async () => {
  const { port } = deadPeer();
  const hosts = Array.from({ length: 8 }, (_, last) => `127.0.0.${last + 1}`);
  const planted = hosts.map((host) => TcpSocket.open(4).bind({ family: 4, host, port }));
  for (const socket of planted) socket.connect(socket.getsockname());
  const diag = vi.fn(loadNative().diag);
  const { sockets } = await withNative({ diag }, () => free(port, { settleMs: 0 }));
  for (const socket of planted) socket.close();
  expect(sockets.map(({ local, isFree }) => [local.host, isFree])).toEqual(
    expect.arrayContaining(hosts.map((host) => [host, false])),
  );
  for (const { inTheWay } of sockets) expect(inTheWay).toHaveLength(hosts.length);
  // Those to end, those in the way, and whether this kernel reports bound sockets: each is a dump of both families.
  expect(diag).toHaveBeenCalledTimes(6);
});

test.each(["0.0.0.0", "::ffff:0.0.0.0", "::"])("%s stands for every address", async (host) => {
  const peer = deadPeer();
  const socket = TcpSocket.open(4).bind(peer);
  socket.connect(peer);
  await socket.connected();
  const found = await free({ family: host.includes(":") ? 6 : 4, host, port: peer.port }, { dryRun: true });
  expect(found.sockets).toMatchObject([{ local: peer }]);
  socket.reset();
});

test("a port that another socket holds too is not called free, and that socket is named", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  using listener = TcpSocket.open(4)
    .bind({ ...peer, host: "127.0.0.2" })
    .listen();
  const found = await free(peer.port, { settleMs: 0 });
  const local = listener.getsockname();
  const inTheWay = [{ local, isFreed: false, is: expect.stringMatching(/^listens: pid /) }];
  const by = process.getuid!() === 0 ? "SOCK_DESTROY" : "pidfd_getfd";
  expect(found.sockets).toMatchObject([{ local: peer, by, isFree: false, inTheWay }]);
  expect(freeText(found)).toContain(`the port is not free yet\n  ${formatAddress(local)} listens: pid `);
  expect(listenRefusal(peer), "control: the address alone is free").toBeNull();
  owner.poke();
});

test("an unprivileged user gets the reason of each way that failed", () => {
  const text = (refusals: FreedSocket["refusals"]) => {
    const socket: FreedSocket = {
      ...{ local: { family: 4, host: "127.0.0.1", port: 1 }, state: "ESTABLISHED", processes: [] },
      ...{ namespace: null, at: null, by: null, refusals, isFree: false, inTheWay: [] },
    };
    return freeText({ sockets: [socket], unseen: [] });
  };
  expect(text({ SOCK_DESTROY: "EPERM" })).toContain(
    "needs CAP_NET_ADMIN: run as root, in a container with --cap-add NET_ADMIN",
  );
  for (const code of ["EOPNOTSUPP", "ENOTSUP"] as const) {
    expect(text({ SOCK_DESTROY: code })).toContain("without INET_DIAG_DESTROY");
    expect(text({ SOCK_DESTROY: code })).not.toContain("root");
  }
  expect(text({ pidfd_getfd: "ENOSYS" })).toContain("Linux 5.6");
});

describe("selfconnect free", () => {
  const schema = JSON.parse(readFileSync(new URL("../../docs/schema/free-1.json", import.meta.url), "utf8"));
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(schema);

  test("prints a line with time and owner, and exits with 0", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "stream");
    const dry = await cli(["free", `${peer.port}`, "--dry-run"]);
    expect(dry).toMatchObject({ status: 0, stdout: expect.stringMatching(/^would end 127\.0\.0\.1:/) });
    const { status, stdout } = await cli(["free", `${peer.port}`]);
    expect(status).toBe(0);
    const about = `${formatAddress(peer)} joined to itself (ESTABLISHED): pid ${owner.pid} (node, user `;
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z ended /);
    expect(stdout).toContain(about);
    expect(stdout).toContain(": the port is free\n");
  });

  test("exits with 1 and says who holds the port when that is no self-connect", async () => {
    const { port } = await PLANTINGS[0]!.plant();
    const { status, stdout, stderr } = await cli(["free", `${port}`]);
    expect(status).toBe(1);
    expect(stdout).toBe("no socket there is joined to itself: nothing was changed\n");
    expect(stderr).toContain(`127.0.0.1:${port} listens: pid ${process.pid}`);
  });

  test("needs a port or --all, and not both", async () => {
    expect((await cli(["free"])).status).toBe(2);
    expect((await cli(["free", "50000", "--all"])).status).toBe(2);
    expect((await cli(["free", "127.0.0.1:0"])).status).toBe(2);
  });

  test("--all frees those of every network namespace, and --json conforms to its schema", async (context) => {
    needsNamespaces(context);
    // A process namespace of its own, so that the sockets of this host are out of reach.
    const script = `ip link set lo up
      joined() { exec "$NODE" "$PROGRAM" "$1" picked >/dev/null; }
      (sleep 20 | joined 40000) & (sleep 20 | unshare -n sh -c 'ip link set lo up; exec "$NODE" "$PROGRAM" 40002 picked >/dev/null') &
      for i in $(seq 100); do
        [ "$("$NODE" "$MAIN" free --all --dry-run | grep -c 'would end')" = 2 ] && break
        sleep 0.1
      done
      "$NODE" "$MAIN" free --all --json`;
    const variables = [`NODE=${process.execPath}`, `PROGRAM=${PROGRAM}`, `MAIN=${MAIN}`];
    const inside = ["-rnpf", "--mount-proc", "--kill-child", "env", ...variables, "sh", "-c", script];
    const { status, stdout } = await command("unshare", inside);
    const report = JSON.parse(stdout);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report.sockets).toHaveLength(2);
    expect(report.sockets).toMatchObject([
      { local: { port: 40_000 }, namespace: null, by: "SOCK_DESTROY", isFree: true },
      { local: { port: 40_002 }, namespace: expect.any(Number), by: "SOCK_DESTROY", isFree: true },
    ]);
    expect(status).toBe(0);
  });

  test("--all as another user says what it could not see, and exits with 1", async (context) => {
    needsRoot(context, "to become another user");
    const other = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, MAIN];
    const { status, stdout } = await command("setpriv", [...other, "free", "--all", "--dry-run"]);
    expect(stdout).toContain("some network namespaces are not visible to this user: run as root\n");
    expect(stdout).not.toContain("no socket there is");
    expect(status).toBe(1);
  });
});
