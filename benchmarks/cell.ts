/** Runs one cell as a process: returns what it measured and what it cost. */
import { spawn } from "node:child_process";
import type { Readable } from "node:stream";

/** What a driver prints, and what cost.c reports about it. */
export interface Measurement {
  readonly count: number;
  readonly elapsedNs: number;
  /** The CPU time of what was counted; without it that of the whole process counts, less what its start costs. */
  readonly cpuNs?: number;
  readonly eventLoopDelayMs?: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly growthBytes?: number;
  readonly counts?: Readonly<Record<string, number>>;
  /** Null without a C compiler for cost.c. */
  readonly cost: Cost | null;
}

export interface Cost {
  readonly cpuUs: number;
  readonly peakMemoryBytes: number;
}

/** A driver that runs longer than this is killed. */
const GRACE_MS = 60_000;

/**
 * Runs a command, under cost.c if it is available, and parses its output. Rejects with the last line of its stderr.
 * An abort kills the command.
 */
export async function runCell<T = Measurement>(
  command: readonly string[],
  costCommand: readonly string[],
  limitMs: number,
  signal: AbortSignal,
): Promise<T> {
  const [file, ...args] = [...costCommand, ...command];
  const late = AbortSignal.timeout(limitMs + GRACE_MS);
  const child = spawn(file!, args, {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    signal: AbortSignal.any([signal, late]),
    killSignal: "SIGKILL",
  });
  const texts = [child.stdout!, child.stderr!, child.stdio[3] as Readable].map(textOf);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (error: NodeJS.ErrnoException) => {
      const isMissing = error.code === "ENOENT";
      const reason = isMissing
        ? `${file} is not installed`
        : late.aborted
          ? "no result in time"
          : error.message;
      reject(new Error(reason));
    });
    child.on("close", resolve);
  });
  const [stdout, stderr, cost] = await Promise.all(texts);
  if (status !== 0) throw new Error(findReason(stderr!) ?? `exit status ${status}`);
  return { ...parseOutput(stdout!), cost: costCommand.length > 0 ? JSON.parse(cost!) : null } as T;
}

/** Throws where a driver has not printed what the benchmark takes from it. */
export function checkMeasurement({ count, elapsedNs }: Measurement): void {
  if (count >= 0 && elapsedNs >= 0) return;
  throw new Error(`count is ${count} and elapsedNs ${elapsedNs}: print {"count":1000,"elapsedNs":300000000}`);
}

/** What a command prints as JSON. Throws with the text that is none. */
function parseOutput(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // The text says what is wrong.
  }
  const shown = JSON.stringify(text.trim().slice(0, 80));
  throw new Error(`printed ${shown} instead of one object, {"count":1000,"elapsedNs":300000000}`);
}

/** The line with the reason: Node's "Error: …" above a stack trace, else the last line. */
function findReason(stderr: string): string | undefined {
  const lines = stderr.trim().split("\n").filter(Boolean);
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
}

async function textOf(stream: Readable): Promise<string> {
  let text = "";
  for await (const chunk of stream.setEncoding("utf8")) text += chunk;
  return text;
}
