/** --on: a command on several hosts, and its results side by side. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { checkHosts, runOnHosts } from "../lab/index.ts";
import { hostsReport, hostsText } from "../report/index.ts";
import { parseList } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, LiveLine, print, printJson, textOptions } from "./output.ts";

/** The options of addHostOptions(), and --json. */
export interface HostFlags {
  readonly on?: readonly string[];
  readonly sshConfig?: string;
  readonly remoteNode?: string;
  readonly json?: boolean;
}

const LOCAL_OPTIONS = /^--(on|ssh-config|remote-node)(=|$)/;

/** What is written or read on this side of the connections, for one host alone. */
const FILES_HERE = ["output", "markdown", "csv", "html", "baseline", "baselineAnyHost", "failOn"];

/** Adds --on and what belongs to it; `refused` are further options that are for one host alone. */
export function addHostOptions(command: Command, refused: readonly string[] = []): Command {
  const on = new Option("--on <hosts>", "run this on host, ssh:host, ssh:user@host; print one line for each");
  return addSshOptions(command.addOption(on.argParser(parseHosts).conflicts([...FILES_HERE, ...refused])));
}

/** How ssh(1) reaches other hosts. */
export function addSshOptions(command: Command): Command {
  return command
    .option("--ssh-config <file>", "for ssh: hosts: ssh's configuration (default: the user's)")
    .option("--remote-node <path>", "for ssh: hosts: their Node (default: on PATH, or of a login shell)");
}

function parseHosts(text: string, before: readonly string[] = []): string[] {
  const hosts = parseList(text);
  if (hosts.length === 0) throw new InvalidArgumentError("Use host, ssh:host or ssh:user@host, or several.");
  checkHosts(hosts);
  return [...before, ...hosts];
}

/** The options of RemoteOptions among the flags. */
export function remoteOptionsOf({ sshConfig, remoteNode }: HostFlags): {
  sshConfig?: string;
  remoteNode?: string;
} {
  return { ...(sshConfig !== undefined && { sshConfig }), ...(remoteNode !== undefined && { remoteNode }) };
}

/** Runs a command here, or on the hosts of --on. Returns its exit code, of several hosts the worst. */
export async function runHereOrThere(
  name: string,
  flags: HostFlags,
  runHere: () => Promise<number>,
): Promise<number> {
  if (flags.on === undefined) return runHere();
  const signal = interruption();
  using line = new LiveLine();
  const hosts = new Set(flags.on);
  const onProgress = (ended: number) => line.show(`${ended} of ${hosts.size} hosts`);
  onProgress(0);
  const results = await runOnHosts([...hosts], wordsForThere(name), {
    ...remoteOptionsOf(flags),
    onProgress,
    signal,
  });
  line.clear();
  if (flags.json) printJson(hostsReport(results));
  else print(hostsText(name, results, textOptions()));
  return signal.aborted ? EXIT.interrupted : worstOf(results.map(({ status }) => status ?? EXIT.failed));
}

/** What was found wins over what failed, as for one host. */
function worstOf(codes: readonly number[]): number {
  if (codes.includes(EXIT.found)) return EXIT.found;
  return codes.every((code) => code === EXIT.done) ? EXIT.done : EXIT.failed;
}

/** The command line as it was given, without what is for this side of the connections. */
function wordsForThere(name: string): string[] {
  const words = process.argv.slice(2);
  const given = words.slice(words.indexOf(name) + 1);
  const isOurs = (word: string, at: number) =>
    word === "--json" || LOCAL_OPTIONS.test(word) || isValueOfOurs(given[at - 1] ?? "");
  return [name, ...given.filter((word, at) => !isOurs(word, at))];
}

function isValueOfOurs(before: string): boolean {
  return LOCAL_OPTIONS.test(before) && !before.includes("=");
}
