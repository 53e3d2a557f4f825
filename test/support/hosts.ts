/** Runs random-hosts.mjs, and judges what it measured. */
import { goodnessOfFit } from "../../lib/loop/statistics.ts";
import { command } from "./harness.ts";

const PROGRAM = new URL("random-hosts.mjs", import.meta.url).pathname;

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

/** Predicts and measures on random hosts for so long, in a network namespace of its own; `pace`: see random-hosts.mjs. */
export async function measureHosts(
  seed: number,
  durationMs: number,
  mostPorts: number,
  pace: "fast" | "slow" = "fast",
): Promise<HostsResult> {
  const setUp = 'ip link set lo up && exec "$@"';
  const program = [process.execPath, PROGRAM, String(seed), String(durationMs), String(mostPorts), pace];
  const { stdout, stderr, status } = await command("unshare", ["-rn", "sh", "-c", setUp, "sh", ...program]);
  if (status !== 0) throw new Error(`random hosts, seed ${seed}: ${stderr}`);
  const hosts: Host[] = stdout
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
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
