/** The entry point inside a machine: `node dist/lab/guest.js TASK` prints one message a line to stdout. */
import { writeSync } from "node:fs";
import os from "node:os";
import { environment } from "../kernel/host.ts";
import type { Experiment } from "./experiment.ts";
import { EXPERIMENTS } from "./experiments.ts";
import { hasIpv6, Instruments, NotHere } from "./instruments.ts";
import type { Task } from "./task.ts";
import { decodeTask } from "./task.ts";
import type { GuestEnvironment, GuestFinding, Message } from "./transcript.ts";
import { writeMessage } from "./transcript.ts";

await runTask(decodeTask(process.argv[2] ?? ""));

async function runTask(task: Task): Promise<void> {
  const instruments = new Instruments(task.trials, task.ownsKernel ?? true);
  const refusal = setSysctls(task, instruments);
  send(task, { kind: "hello", environment: guestEnvironment() });
  for (const name of task.experiments) {
    const experiment = EXPERIMENTS.find((one) => one.name === name);
    if (!experiment) continue; // The lab is newer than this guest. It reports the missing answer.
    send(task, { kind: "begin", experiment: name });
    const finding =
      refusal === null ? await runExperiment(experiment, instruments) : notHereFinding(name, refusal);
    send(task, { kind: "finding", finding });
  }
  send(task, { kind: "end" });
}

/** Returns why the sysctls of the task cannot be set: no experiment has its kernel then. */
function setSysctls({ sysctls = {} }: Task, instruments: Instruments): string | null {
  try {
    instruments.setSysctls(sysctls);
    return null;
  } catch (error) {
    if (error instanceof NotHere) return error.message;
    throw error;
  }
}

function notHereFinding(experiment: string, note: string): GuestFinding {
  return { experiment, status: "not-here", note, counts: {}, elapsedMs: 0 };
}

async function runExperiment(experiment: Experiment, instruments: Instruments): Promise<GuestFinding> {
  const startedAt = performance.now();
  const about = (): { experiment: string; elapsedMs: number } => ({
    experiment: experiment.name,
    elapsedMs: Math.round(performance.now() - startedAt),
  });
  try {
    const answer = await experiment.run(instruments);
    return { ...answer, status: "answered", ...about() };
  } catch (error) {
    const status = error instanceof NotHere ? "not-here" : "failed";
    return { status, note: (error as Error).message.slice(0, 300), counts: {}, ...about() };
  }
}

function guestEnvironment(): GuestEnvironment {
  const { kernel, architecture, cpus, node, version, ephemeralRange, sysctls } = environment();
  const range = ephemeralRange ? `${ephemeralRange.low}-${ephemeralRange.high}` : "unknown";
  return {
    kernel,
    upstream: upstreamOf(kernel, os.version()),
    architecture,
    cpus,
    hasIpv6: hasIpv6(),
    node,
    version,
    ephemeralRange: range,
    sysctls,
  };
}

/** Debian's release has the version of the ABI ("6.1.0-50"), its version that of the source ("Debian 6.1.176-1"). */
function upstreamOf(release: string, version: string): string {
  return /Debian (\d+\.\d+\.\d+)/.exec(version)?.[1] ?? /^\d+(\.\d+)*/.exec(release)?.[0] ?? release;
}

/** write(2), unbuffered: the line is out even if the kernel dies in the next experiment. */
function send(task: Task, message: Message): void {
  const line = Buffer.from(`${writeMessage(message, task.nonce)}\n`);
  for (let written = 0; written < line.length; ) written += writeSync(1, line, written);
}
