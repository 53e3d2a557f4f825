/** Runs random-hosts.mjs and random-audits.mjs, and judges what they measured. */
import type { Risk } from "../../lib/audit/risk.ts";
import { goodnessOfFit } from "../../lib/loop/statistics.ts";
import { command } from "./harness.ts";

const PREDICTED = new URL("random-hosts.mjs", import.meta.url).pathname;
const AUDITED = new URL("random-audits.mjs", import.meta.url).pathname;

interface Host {
  readonly method: string;
  readonly trials: readonly {
    readonly never: string | null;
    readonly isRight: boolean;
    /** The predicted probability of a shorter wait: spread evenly from 0 to 1 when the predictions are right. */
    readonly share?: number;
  }[];
}

/** What random hosts showed. */
export interface HostsResult {
  readonly seed: number;
  readonly hosts: number;
  readonly trials: number;
  readonly nevers: number;
  /** Hosts with a self-connect where never was predicted, or none where one was, as JSON. */
  readonly wrong: readonly string[];
  /** The p of the Kolmogorov-Smirnov test over all waits, and over those of each method. */
  readonly fits: Readonly<Record<string, number>>;
}

/**
 * Predicts and measures on random hosts for so long, and on so many at least, in a network namespace of its own; `pace`:
 * see random-hosts.mjs.
 */
export async function measureHosts(
  seed: number,
  durationMs: number,
  mostPorts: number,
  pace: "fast" | "slow" = "fast",
  leastHosts = 0,
): Promise<HostsResult> {
  const hosts = await runOnHosts<Host>(PREDICTED, seed, durationMs, mostPorts, pace, leastHosts);
  const trials = hosts.flatMap((host) => host.trials);
  const shares: Record<string, number[]> = { all: [] };
  for (const { method, trials } of hosts) {
    const found = trials.flatMap(({ share }) => (share === undefined ? [] : [share]));
    shares.all!.push(...found);
    shares[method] = [...(shares[method] ?? []), ...found];
  }
  return {
    seed,
    hosts: hosts.length,
    trials: trials.length,
    nevers: trials.filter(({ never }) => never !== null).length,
    wrong: hosts
      .filter((host) => host.trials.some((trial) => !trial.isRight))
      .map((host) => JSON.stringify(host)),
    fits: Object.fromEntries(
      Object.entries(shares).map(([name, values]) => [name, goodnessOfFit(values, (share) => share).p]),
    ),
  };
}

/** A port whose listener the audit judged, and what clients then showed. */
export interface AuditedPort {
  readonly host: string;
  readonly port: number;
  readonly risk: Risk;
  /** What is wrong with the verdict; null when nothing is. */
  readonly wrong: string | null;
}

/** What random hosts showed about the audit. */
export interface AuditsResult {
  readonly hosts: number;
  readonly trials: readonly AuditedPort[];
  /** Each wrong verdict with its host, as JSON. */
  readonly wrong: readonly string[];
}

/** Audits random hosts for so long, in a network namespace of its own, and lets clients try every port it judged. */
export async function auditHosts(seed: number, durationMs: number, mostPorts: number): Promise<AuditsResult> {
  const hosts = await runOnHosts<{ readonly trials: readonly AuditedPort[] }>(
    AUDITED,
    seed,
    durationMs,
    mostPorts,
  );
  const wrong = hosts.flatMap(({ trials, ...host }) =>
    trials
      .filter((trial) => trial.wrong !== null)
      .map((trial) => JSON.stringify({ seed, ...trial, ...host })),
  );
  return { hosts: hosts.length, trials: hosts.flatMap(({ trials }) => trials), wrong };
}

/** Runs a program in a new network namespace; each line that it prints is a host. */
async function runOnHosts<Line>(file: string, seed: number, ...args: (number | string)[]): Promise<Line[]> {
  const setUp = 'ip link set lo up && exec "$@"';
  const program = [process.execPath, file, String(seed), ...args.map(String)];
  const { stdout, stderr, status } = await command("unshare", ["-rn", "sh", "-c", setUp, "sh", ...program]);
  if (status !== 0) throw new Error(`random hosts, seed ${seed}: ${stderr}`);
  const lines = stdout.trim().split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Line);
}
