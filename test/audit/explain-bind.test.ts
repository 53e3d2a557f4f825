/** The truth table: each kind of holder is planted, named, and bind and listen are tried with what was named. */
import { spawnSync } from "node:child_process";
import { closeSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import type { TestContext } from "vitest";
import { afterEach, describe, expect, test } from "vitest";
import type { BindExplanation, BindTry } from "../../lib/audit/explain-bind.ts";
import { explainBind, free, waitUntilFree } from "../../lib/audit/index.ts";
import { showsBoundSockets } from "../../lib/kernel/port-holders.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { openRing, PLANTINGS, removeHolders } from "../support/holders.ts";

afterEach(removeHolders);

const OPTIONS: readonly OpenOptions[] = [{}, { reuseAddress: true }, { reusePort: true }];

/** bind(2) and listen(2) agree with what was said of one address. */
function expectTruth({ local, refusal, needs }: BindTry): void {
  const base: OpenOptions = local.host === "::" ? { ipv6Only: false } : {};
  const refusals = OPTIONS.map((options) => listenRefusal(local, { ...base, ...options }));
  const where = `${local.host} ${JSON.stringify(needs)} ${refusals}`;
  expect(refusals[0], where).toBe(refusal);
  if (needs === null) expect(refusals, where).toEqual(["EADDRINUSE", "EADDRINUSE", "EADDRINUSE"]);
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
  if (remedy.includes("selfconnect free")) {
    const [freed] = await free(local, { settleMs: 0 });
    if (!freed?.by) context.skip(`SOCK_DESTROY is not possible here: ${JSON.stringify(freed)}`);
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
