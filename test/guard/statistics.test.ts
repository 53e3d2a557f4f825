/** guardStatistics(): how guarded connects ended, counted in one place for every copy of the package. */
import { once } from "node:events";
import net from "node:net";
import { expect, it } from "vitest";
import { connectMany } from "../../lib/guard/connect-many.ts";
import { dial } from "../../lib/guard/dial.ts";
import { connect } from "../../lib/guard/net.ts";
import type { GuardStatistics } from "../../lib/guard/statistics.ts";
import { guardStatistics } from "../../lib/guard/statistics.ts";
import { guardStream } from "../../lib/guard/streams.ts";
import { command, deadPeer, deadPort, withListener } from "../support/harness.ts";
import { REGISTER } from "../support/story.ts";

/** What `use` adds to the counts. */
async function countsOf(use: () => Promise<unknown>): Promise<GuardStatistics> {
  const before = guardStatistics();
  await use();
  const after = guardStatistics();
  const names = Object.keys(before) as (keyof GuardStatistics)[];
  return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as never;
}

const NONE = { connected: 0, failed: 0, reset: 0, refused: 0 };
const waitForClose = (socket: net.Socket) =>
  new Promise((resolve) => socket.on("error", () => {}).on("close", resolve));

it("counts what connected, also without subscribers", () =>
  withListener(
    4,
    (socket) => socket.end(),
    async (peer) => {
      const counts = await countsOf(async () => {
        await waitForClose(connect(peer).resume());
        (await dial(peer)).socket.close();
      });
      expect(counts).toEqual({ ...NONE, connected: 2 });
    },
  ));

it("counts what the kernel refused, and what the guard did", async () => {
  const dead = deadPeer(4, "other");
  expect(await countsOf(() => waitForClose(connect(dead)))).toEqual({ ...NONE, failed: 1 });
  expect(await countsOf(() => dial(dead, { attempts: 1 }).catch(() => {}))).toEqual({ ...NONE, failed: 1 });
  const { host, port } = deadPeer();
  const fixed = { host, port, localPort: port };
  expect(await countsOf(() => waitForClose(connect(fixed)))).toEqual({ ...NONE, refused: 1 });
  const plain = guardStream(new net.Socket(), { guard: "off" });
  expect(await countsOf(() => once(plain.connect(fixed), "connect"))).toEqual(NONE);
  plain.resetAndDestroy();
  await waitForClose(plain);
});

it("counts each address of connectMany() once", async () => {
  const results = connectMany([deadPeer(4, "other"), deadPeer(4, "other")]);
  const counts = await countsOf(async () => {
    for await (const { socket } of results) socket?.close();
  });
  expect(counts).toEqual({ ...NONE, failed: 2 });
});

it("has the counts of a program under the preload, which is another copy", async () => {
  const port = deadPort();
  const script = `
    import net from "node:net";
    import { DialError, guardStatistics } from "${new URL("../../dist/index.js", import.meta.url)}";
    net.connect({ host: "127.0.0.1", port: ${port}, localPort: ${port} }).on("error", (error) => {
      const verdict = error instanceof DialError ? error : error.cause;
      console.log(verdict instanceof DialError, JSON.stringify(guardStatistics()));
    });`;
  const { stdout } = await command(process.execPath, [...REGISTER, "--input-type=module", "-e", script]);
  expect(stdout).toBe(`true ${JSON.stringify({ ...NONE, refused: 1 })}\n`);
});
