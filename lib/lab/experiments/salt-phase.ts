/**
 * The phase of the salt: it is jiffies / (10 * HZ) (net/core/secure_seq.c), and a new one moves the walk elsewhere.
 * jiffies starts at 2^32 - 300 * HZ (INITIAL_JIFFIES), no multiple of 10 * HZ: the time of a move since boot shows HZ.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isAtLeast } from "../../kernel/release.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback } from "../instruments.ts";
import { isSuddenMove, stepsOf } from "../walk.ts";

const PERIOD_MS = 10_000;
const EVERY_MS = 4;
const LONGEST_MS = 11_000;
/** The clock starts before the first tick does: by 0.2 s on one machine. */
const MOST_LATE_MS = 800;
/** Ticks and the clock differ by this much in a period at most. */
const CLOSE_MS = 50;
const RATES = [100, 250, 300, 1000];

/** A move came between these two readings of CLOCK_MONOTONIC, in milliseconds. */
interface Move {
  readonly afterMs: number;
  readonly beforeMs: number;
}

export const saltPhase: Experiment = {
  name: "salt-phase",
  isSlow: true,
  question:
    "At which time since boot does a new salt move the next port, which HZ has that phase, and how long is a period?",
  // HZ is a choice of who built the kernel. User-mode Linux has no other than 100.
  expected: (subject) => {
    const walk = walkOf(subject);
    if (walk === "large table" && subject.machine === "uml") return "HZ 100, 10 s";
    return walk === "one hint" && !isAtLeast(subject.upstream, "5.10.117") ? "no sudden move" : null;
  },
  // Uses the kernel's default range, because a sudden move inside a small range could look like a step.
  run: async (instruments) => {
    const first = await awaitMove(instruments);
    if (first === null) return { answer: "no sudden move", counts: { waitedMs: LONGEST_MS } };
    const second = await awaitMove(instruments);
    if (second === null) return { answer: `${rateOf(first)}, one sudden move only`, counts: { ...first } };
    const [least, most] = [second.afterMs - first.beforeMs, second.beforeMs - first.afterMs];
    const isPeriod = least - CLOSE_MS < PERIOD_MS && most + CLOSE_MS > PERIOD_MS;
    const phase = ({ afterMs, beforeMs }: Move) =>
      `${((afterMs % PERIOD_MS) / 1000).toFixed(2)} to ${((beforeMs % PERIOD_MS) / 1000).toFixed(2)}`;
    return {
      answer: `${rateOf(first)}, ${isPeriod ? "10 s" : "another period"}`,
      figure: `${phase(first)} and ${phase(second)} s after a tenth second`,
      counts: { ...first, leastPeriodMs: least, mostPeriodMs: most },
    };
  },
};

/** Returns null where there is no sudden move within a period. */
async function awaitMove(instruments: Instruments): Promise<Move | null> {
  const peer = loopback(instruments.findPortOutside());
  const endsAt = uptimeMs() + LONGEST_MS;
  let afterMs = uptimeMs();
  let last = (await instruments.connectOnce(peer)).localPort;
  while (afterMs < endsAt) {
    await sleep(EVERY_MS);
    const nextMs = uptimeMs();
    const { localPort } = await instruments.connectOnce(peer);
    if (stepsOf([last, localPort], instruments.range).some(isSuddenMove))
      return { afterMs, beforeMs: uptimeMs() };
    [last, afterMs] = [localPort, nextMs];
  }
  return null;
}

/** CLOCK_MONOTONIC, which starts with the kernel, as jiffies does. */
function uptimeMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** When a kernel of this HZ changes the salt for the first time. */
function phaseOf(hz: number): number {
  return ((10 * hz - (2 ** 32 % (10 * hz))) / hz) * 1000;
}

/** The HZ whose phase is in the time of the move. */
function rateOf({ afterMs, beforeMs }: Move): string {
  const widthMs = beforeMs - afterMs;
  const near = RATES.find((hz) => {
    const lateMs = (beforeMs - phaseOf(hz)) % PERIOD_MS;
    return (lateMs + PERIOD_MS) % PERIOD_MS < MOST_LATE_MS + widthMs;
  });
  return near === undefined ? "no known HZ" : `HZ ${near}`;
}
