/** Runs a command of this package on several hosts, and returns what it printed as JSON on each. */
import { randomBytes } from "node:crypto";
import { checkArray, checkKeys } from "../socket/misuse.ts";
import { packageFile } from "../socket/own-files.ts";
import type { Launch } from "./leash.ts";
import type { Ending, Line } from "./machine.ts";
import { runLaunch } from "./machine.ts";
import { missingForSsh } from "./machines/ssh.ts";
import type { RemoteOptions, SshHost } from "./remote.ts";
import { parseSshHost, quoteWord, REMOTE_NODE, remoteFile, sshLaunch } from "./remote.ts";
import { record } from "./transcript.ts";

/** What a command returned on one host: its result, or why there is none. */
export interface HostResult {
  /** "host" or "ssh:user@host", as it was given. */
  readonly host: string;
  /** The exit code of the command; null where it did not end by itself. */
  readonly status: number | null;
  /** The object that it printed; absent where there is none. Of what comes from there only the schema is checked. */
  readonly result?: Readonly<Record<string, unknown>>;
  /** Why there is no result. */
  readonly error?: string;
}

/** How runOnHosts() reaches hosts, and what ends it. */
export interface HostOptions extends RemoteOptions {
  /** Called after each host with how many have ended. */
  readonly onProgress?: (ended: number) => void;
  /** Ends the commands when it aborts. */
  readonly signal?: AbortSignal;
}

const COMMAND = "dist/cli/start.js";
const HOST = "host";
const OPTION_KEYS = ["sshConfig", "remoteNode", "onProgress", "signal"];
/** So many hosts are asked at the same time. */
const SIDE_BY_SIDE = 16;
const TOTAL_MS = 1_800_000;
const LIMITS = { silenceMs: TOTAL_MS, totalMs: TOTAL_MS, outputBytes: 16_000_000 };

/** Throws ERR_SSH_HOST for a name that is neither "host" nor that of another host. */
export function checkHosts(hosts: readonly string[]): void {
  checkArray("checkHosts() takes names of hosts", hosts);
  for (const name of hosts) if (name !== HOST) parseSshHost(name);
}

/**
 * spawn(2), ssh(1): runs a command of `selfconnect` with --json on each of these hosts, 16 at a time, and resolves with
 * one result for each, in their order. "host" is this host. Another host is sent this package, and keeps nothing of it.
 * The failure of one host is that host's. Throws ERR_SSH_HOST. When the signal aborts, the hosts that have not ended
 * have an error.
 */
export async function runOnHosts(
  hosts: readonly string[],
  args: readonly string[],
  options: HostOptions = {},
): Promise<HostResult[]> {
  checkArray("runOnHosts() takes the words of a command", args);
  checkKeys("runOnHosts()", options, OPTION_KEYS);
  checkHosts(hosts);
  const results = new Map<string, HostResult>();
  const waiting = [...new Set(hosts)];
  const runNext = async () => {
    for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
      results.set(host, await runOnHost(host, args, options));
      options.onProgress?.(results.size);
    }
  };
  await Promise.all(Array.from({ length: Math.min(SIDE_BY_SIDE, waiting.length) }, runNext));
  return [...results.values()].sort((one, other) => hosts.indexOf(one.host) - hosts.indexOf(other.host));
}

async function runOnHost(
  host: string,
  args: readonly string[],
  { signal, ...options }: HostOptions,
): Promise<HostResult> {
  const output = new CommandOutput();
  try {
    if (signal?.aborted) return { host, status: null, error: "interrupted" };
    const missing = host === HOST ? null : missingForSsh();
    if (missing) return { host, status: null, error: missing };
    const launch =
      host === HOST ? launchHere(args, output) : launchThere(parseSshHost(host), args, output, options);
    const ending = await runLaunch(launch, (line) => output.read(line), LIMITS, signal);
    return { host, ...output.result(args[0]!, ending) };
  } catch (error) {
    return { host, status: null, error: signal?.aborted ? "interrupted" : (error as Error).message };
  }
}

/** Prints the same last line as the shell of another host. */
const HERE = `"$@"; status=$?; echo "$MARK status $status"; exit $status`;

function launchHere(args: readonly string[], { mark }: CommandOutput): Launch {
  const command = [process.execPath, packageFile(COMMAND), ...args, "--json"];
  return { file: "sh", args: ["-c", HERE.replace("$MARK", mark), "sh", ...command] };
}

function launchThere(
  host: SshHost,
  args: readonly string[],
  { nonce }: CommandOutput,
  options: RemoteOptions,
): Launch {
  const command = () => [REMOTE_NODE, remoteFile(COMMAND), ...args.map(quoteWord), "--json"];
  return sshLaunch(host, { nonce, command, totalMs: TOTAL_MS }, options);
}

/** What a command prints: the lines of one object, and the line with its exit code. */
class CommandOutput {
  readonly nonce = randomBytes(8).toString("hex");
  readonly #lines: string[] = [];
  #status: number | null = null;

  get mark(): string {
    return `@selfconnect ${this.nonce}`;
  }

  read(line: string): Line {
    const at = line.indexOf(`${this.mark} status `);
    if (at < 0) {
      this.#lines.push(line);
      return "message";
    }
    this.#lines.push(line.slice(0, at));
    this.#status = Number(line.slice(at).split(" ")[3]);
    // Without an object the reason is in what it has printed to stderr, which the end of the process reports.
    return this.#lines.join("").trim() === "" ? "noise" : "last";
  }

  result(command: string, ending: Ending): Omit<HostResult, "host"> {
    const status = Number.isInteger(this.#status) ? this.#status : null;
    if (ending !== null) return { status, error: ending };
    const result = record(JSON.parse(this.#lines.join("\n")), "its result");
    const schema = `selfconnect.${command}/1`;
    if (result.schema !== schema) throw new Error(`its result has not the schema ${schema}`);
    return { status, result };
  }
}
