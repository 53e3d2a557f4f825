/** A thousand traces in a row leak nothing: no descriptor, no memory, no packet of one in the next. */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { trace } from "../../lib/packets/index.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { deadPeer, deadPort, FAMILIES } from "../support/harness.ts";

const WARM_UP = 100;
const TRACES = 1000;
/** The packets of a trace take a few kilobytes: if a thousand traces leaked them, it would be more than this. */
const MOST_HEAP_GROWTH_BYTES = 4 * 1024 * 1024;
/** If each trace leaked its capture's memory, it would be ten times this; garbage not yet collected is less. */
const MOST_GROWTH_BYTES = 100 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

it("a thousand traces in a row leak nothing", { timeout: 600_000 }, async () => {
  // Below the ephemeral range, so that no autobind of another process takes the port between two traces.
  const peers = FAMILIES.map((family) => ({ ...deadPeer(family), port: 10_000 + (deadPort() % 10_000) }));
  const data = new TextEncoder().encode("hello");
  const some = async (traces: number) => {
    for (let i = 0; i < traces; i++) {
      const pair = i % 15 === 14;
      const { capture, ladder, verdict } = await trace({ peer: peers[i % 2]!, data, pair });
      expect(verdict).toBe(pair ? "simultaneous-open" : "self-connect");
      if (capture) expect({ lost: capture.lost, others: ladder.others }).toEqual({ lost: 0, others: [] });
    }
    collect();
    const { rss, heapUsed } = process.memoryUsage();
    return { descriptors: readdirSync("/proc/self/fd").length, rss, heapUsed };
  };
  const before = await some(WARM_UP);
  const after = await some(TRACES);
  expect(after.descriptors).toBe(before.descriptors);
  expect(loadNative().leaks()).toBe(0);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(MOST_HEAP_GROWTH_BYTES);
  expect(after.rss - before.rss).toBeLessThan(MOST_GROWTH_BYTES);
});
