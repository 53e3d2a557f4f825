/** free(): ends another process's self-connect, by each way, and nothing else. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, describe, expect, test } from "vitest";
import type { FreedBy } from "../../lib/audit/free.ts";
import { explainBind, free } from "../../lib/audit/index.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { cli, command, deadPeer, MAIN, needsNamespaces, withNative } from "../support/harness.ts";
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

describe.each(WAYS)("by %s", (by, calls, code) => {
  test("the port of a net.Socket is free, and its process goes on", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "stream");
    expect(listenRefusal(peer, { reuseAddress: true }), "control").toBe("EADDRINUSE");
    const freed = await withNative(calls, () => free(peer.port));
    expect(freed).toMatchObject([
      { local: peer, state: "ESTABLISHED", processes: [{ pid: owner.pid }], by, refusals: {}, isFree: true },
    ]);
    expect(Date.parse(freed[0]!.at!)).toBeGreaterThan(0);
    expect(await owner.next()).toBe(code);
    expect(listenRefusal(peer)).toBeNull();
    process.kill(owner.pid, 0); // It is alive.
  });

  test("a port that the kernel picked is free at once, whatever its process does", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "picked");
    expect(await withNative(calls, () => free(peer))).toMatchObject([{ by, isFree: true }]);
    expect(listenRefusal(peer)).toBeNull();
    owner.poke();
    expect(await owner.next()).toBe(code);
  });

  test("a port that the process bound is free when the process has closed the socket", async () => {
    const peer = deadPeer();
    await using owner = await startOwner(peer.port, "bound");
    const freed = await withNative(calls, () => free(peer.port, { settleMs: 50 }));
    expect(freed).toMatchObject([{ by, isFree: false }]);
    expect(listenRefusal(peer, { reuseAddress: true })).toBe("EADDRINUSE");
    owner.poke();
    expect([await owner.next(), await owner.next()]).toEqual([code, "closed"]);
    expect(listenRefusal(peer)).toBeNull();
  });
});

test("where neither way is permitted, the errno of each is returned and nothing changes", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  const refused = { ...WITHOUT_CAPABILITY, disconnectJoined: () => -os.constants.errno.EPERM };
  expect(await withNative(refused, () => free(peer.port))).toMatchObject([
    { by: null, at: null, isFree: false, refusals: { SOCK_DESTROY: "EPERM", pidfd_getfd: "EPERM" } },
  ]);
  owner.poke();
  expect(await owner.next()).toBe("no error");
});

test("on a kernel without sock_diag, the socket of /proc/net/tcp is known by its inode", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  const calls = { diag: () => -os.constants.errno.ENOENT };
  expect(await withNative(calls, () => free(peer.port))).toMatchObject([{ by: "pidfd_getfd", isFree: true }]);
  owner.poke();
  expect(await owner.next()).toBe("ECONNRESET");
});

test("a dry run finds it and changes nothing", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  expect(await free(peer.port, { dryRun: true })).toMatchObject([{ by: null, at: null, isFree: null }]);
  owner.poke();
  expect(await owner.next()).toBe("no error");
});

test.each(
  PLANTINGS.filter(({ kind }) => !kind.startsWith("self-connect") && kind !== "unknown"),
)("$title is not touched", async ({ title, plant }) => {
  if (title.includes("io_uring")) return;
  const { port, close } = await plant();
  const before = explainBind(port).holders.map(({ kind, state }) => [kind, state]);
  expect(await free(port)).toEqual([]);
  expect(explainBind(port).holders.map(({ kind, state }) => [kind, state])).toEqual(before);
  close();
});

test("only the address that was asked for is freed", async () => {
  const peer = deadPeer();
  await using owner = await startOwner(peer.port, "picked");
  expect(await free({ ...peer, host: "127.0.0.2" })).toEqual([]);
  expect(await free(formatAddress(peer))).toHaveLength(1);
  owner.poke();
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
    expect(stdout).toBe("no socket is joined to itself there: nothing was changed\n");
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
});
