/** What EADDRNOTAVAIL's count costs the event loop, where the range and the socket table are full. */
import { expect, it } from "vitest";
import { needsNamespaces, runInNamespace } from "../support/harness.ts";

const DOORS = new URL("../../dist/", import.meta.url).href;
const RANGE = { low: 1100, high: 57_099 };
const MOST_MS = 20;

/** Leaves a socket in TIME-WAIT on every port of the range, and counts them some times. */
const PROGRAM = `
  import { readFileSync } from "node:fs";
  import { setImmediate as turn } from "node:timers/promises";
  import { TcpSocket } from "${DOORS}index.js";
  import { exhaustion } from "${DOORS}kernel/index.js";
  const listener = TcpSocket.open(4).bind("127.0.0.1:${RANGE.high + 1}").listen(64);
  const peer = listener.getsockname();
  for (let port = ${RANGE.low}; port <= ${RANGE.high}; port++) {
    const client = TcpSocket.open(4).bind({ ...peer, port });
    client.connect(peer);
    const server = listener.accept();
    client.close();
    server.close();
  }
  // Of the main thread alone, in milliseconds: other processes and the addon's threads do not count.
  const cpuMs = () => Number(readFileSync("/proc/self/task/" + process.pid + "/schedstat", "utf8").split(" ")[0]) / 1e6;
  // The handles of the closed sockets are collected now, not while it counts.
  gc();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const counts = [];
  for (let round = 0; round < 9; round++) {
    let longestMs = 0;
    let found = null;
    exhaustion(peer).then((result) => (found = result));
    for (let since = cpuMs(); found === null; since = cpuMs()) {
      await turn();
      longestMs = Math.max(longestMs, cpuMs() - since);
    }
    counts.push({ longestMs, portsInUse: found.portsInUse, isReal: found.isReal });
  }
  console.log(JSON.stringify(counts));
  process.exit();`;

it("holds the event loop for less than 20 ms at a time, with 56,000 sockets", {
  timeout: 300_000,
}, async (context) => {
  needsNamespaces(context);
  const args = ["--expose-gc", "--input-type=module", "-e", PROGRAM];
  const { stdout, stderr } = await runInNamespace(`${RANGE.low} ${RANGE.high}`, process.execPath, args);
  expect(stderr).toBe("");
  const counts: { longestMs: number; portsInUse: number; isReal: boolean }[] = JSON.parse(stdout);
  const longest = counts.map(({ longestMs }) => longestMs);
  console.log(`longest turns: ${longest.map((ms) => ms.toFixed(1)).join(" ")} ms`);
  longest.sort((a, b) => a - b);
  for (const { portsInUse, isReal } of counts) {
    expect([portsInUse, isReal]).toEqual([RANGE.high - RANGE.low + 1, true]);
  }
  // The median, because a collection of garbage falls into some of them.
  expect(longest[Math.floor(longest.length / 2)]).toBeLessThan(MOST_MS);
});
