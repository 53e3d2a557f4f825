/**
 * net.ipv4.tcp_tw_reuse: when connect() may take its own four-tuple out of TIME-WAIT. tcp_twsk_unique in
 * net/ipv4/tcp_ipv4.c waits for the next full second of ktime_get_seconds(), or, since 6.14, for tcp_tw_reuse_delay.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { sysctl } from "../../kernel/host.ts";
import { isAtLeast } from "../../kernel/release.ts";
import { closePlainly } from "../../packets/leavings.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, loopback } from "../instruments.ts";

const REUSE = "net.ipv4.tcp_tw_reuse";
const TIMESTAMPS = "net.ipv4.tcp_timestamps";
const DELAY = "net.ipv4.tcp_tw_reuse_delay";
const SHORTER_MS = 200;
const EVERY_MS = 10;
const LONGEST_MS = 1500;
const SECOND_MS = 1000;
/** The socket is closed at this part of a second of CLOCK_MONOTONIC. */
const CLOSED_AT_MS = 400;
const CLOSE_MS = 150;

/** Sysctls, in words and in fact. */
const CASES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "0": { [REUSE]: "0" },
  "1": { [REUSE]: "1" },
  "2": { [REUSE]: "2" },
  "1 without timestamps": { [REUSE]: "1", [TIMESTAMPS]: "0" },
};

export const timeWaitReuse: Experiment = {
  name: "time-wait-reuse",
  isSlow: true,
  question: "By tcp_tw_reuse: when does connect() take its own four-tuple out of TIME-WAIT?",
  expected: (subject) => {
    if (!walkOf(subject)) return null;
    const when = isWithDelay(subject.upstream) ? "after 1 s" : "at the next full second";
    const shorter = isWithDelay(subject.upstream) ? "; with a delay of 200 ms: after 0.2 s" : "";
    return `0: not within 1.5 s; 1: ${when}; 2: ${when}; 1 without timestamps: not within 1.5 s${shorter}`;
  },
  run: async (instruments) => {
    const cases = { ...CASES };
    if (sysctl(DELAY) !== null)
      cases["with a delay of 200 ms"] = { [REUSE]: "1", [DELAY]: String(SHORTER_MS) };
    const words: string[] = [];
    const counts: Record<string, number> = {};
    for (const [name, sysctls] of Object.entries(cases)) {
      const afterMs = await withSysctls(instruments, Object.entries(sysctls), () =>
        measureReuse(instruments),
      );
      if (afterMs !== null) counts[`${name}, ms`] = afterMs;
      words.push(`${name}: ${describe(afterMs)}`);
    }
    const figures = Object.values(counts).map((ms) => `${ms.toFixed(0)} ms`);
    return { answer: words.join("; "), figure: figures.join(", "), counts };
  },
};

/** "tcp: Add sysctl to configure TIME-WAIT reuse delay". 6.12 and 6.18 were run, those between them were not. */
function isWithDelay(upstream: string): boolean {
  return isAtLeast(upstream, "6.14");
}

function withSysctls(
  instruments: Instruments,
  [first, ...rest]: readonly (readonly [string, string])[],
  use: () => Promise<number | null>,
): Promise<number | null> {
  if (!first) return use();
  return instruments.withSysctl(...first, () => withSysctls(instruments, rest, use));
}

/** Returns how long after close(2) the port was picked for its peer again; null when it was not. */
async function measureReuse(instruments: Instruments): Promise<number | null> {
  const port = instruments.findPort();
  const socket = TcpSocket.open(4);
  await instruments.withPort(port, () => completeConnect(socket, loopback(port)));
  const now = Number(process.hrtime.bigint() / 1_000_000n) % SECOND_MS;
  await sleep((CLOSED_AT_MS - now + SECOND_MS) % SECOND_MS);
  closePlainly(socket);
  const closedAt = performance.now();
  while (performance.now() - closedAt < LONGEST_MS) {
    if ((await instruments.pickFrom(port, loopback(port))) !== "EADDRNOTAVAIL")
      return performance.now() - closedAt;
    await sleep(EVERY_MS);
  }
  return null;
}

function describe(afterMs: number | null): string {
  if (afterMs === null) return "not within 1.5 s";
  const times = {
    "after 1 s": SECOND_MS,
    "at the next full second": SECOND_MS - CLOSED_AT_MS,
    "after 0.2 s": SHORTER_MS,
  };
  const found = Object.entries(times).find(([, ms]) => Math.abs(afterMs - ms) < CLOSE_MS);
  return found?.[0] ?? `after ${(afterMs / 1000).toFixed(1)} s`;
}
