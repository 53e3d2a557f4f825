/** What of this package works on this host, what each lack costs, and how to fix it. */
import { createRequire } from "node:module";
import os from "node:os";
import { environment, findSandbox } from "../kernel/host.ts";
import { packageVersion } from "../kernel/version.ts";
import { addonHost, libcText } from "../socket/addon.ts";
import { checkArray } from "../socket/misuse.ts";
import { loadNative, nativeFailure } from "../socket/native.ts";
import { findKernelFeatures } from "./doctor-kernel.ts";
import { findPrivileges } from "./doctor-privileges.ts";
import type { Answer, CheckState, Question } from "./doctor-question.ts";

/** The groups of checks, in the order in which they are printed. */
export const CHECK_GROUPS = ["addon", "kernel", "limits", "namespaces", "capabilities", "lab"] as const;
/** The group of a check. */
export type CheckGroup = (typeof CHECK_GROUPS)[number];

/** One thing that this package uses. */
export interface Check {
  /** What it is about. */
  readonly group: CheckGroup;
  /** "IP_LOCAL_PORT_RANGE", "CAP_NET_RAW", "open files". */
  readonly name: string;
  /** Whether this host, or this process, has it. */
  readonly state: CheckState;
  /** What was seen: a number, a path, an errno. */
  readonly found: string;
  /** What does not work without it; null where this host has it. */
  readonly cost: string | null;
  /** How to get it; null where this host has it, or nothing can be done. */
  readonly fix: string | null;
}

/** What a command needs beside Node. */
export interface CommandNeed {
  /** Its name, with the option that needs more: "audit --all-namespaces". */
  readonly command: string;
  /** The ways to do it; each is a list of the names of checks that must all be there. */
  readonly ways: readonly (readonly string[])[];
  /** The state of the best way. */
  readonly state: CheckState;
}

/** What diagnose() found. */
export interface Diagnosis {
  /** The version of this package. */
  readonly version: string;
  /** process.version. */
  readonly node: string;
  /** process.platform. */
  readonly platform: string;
  /** process.arch. */
  readonly architecture: string;
  /** The release that uname(2) reports. */
  readonly kernel: string;
  /** "glibc 2.36", "musl"; null where the runtime does not say. */
  readonly libc: string | null;
  /** Everything that was asked for, by group. */
  readonly checks: readonly Check[];
  /** What each command needs, and whether it is there. */
  readonly commands: readonly CommandNeed[];
  /** "lacks" when something is missing, else "unknown" when something could not be seen, else "complete". */
  readonly verdict: "complete" | "lacks" | "unknown";
}

/** A machine of the lab, as listMachines() of `selfconnect/lab` returns it. */
export interface LabTool {
  /** "qemu". */
  readonly name: string;
  /** Which programs it lacks; null where it has them. */
  readonly missing: string | null;
}

/** What each command needs to do all that it does, as the ways of CommandNeed. */
const NEEDS: Readonly<Record<string, CommandNeed["ways"]>> = {
  reconnect: [["addon"]],
  dial: [["addon"]],
  run: [["addon"]],
  ports: [["addon"]],
  predict: [["addon", "sock_diag", "bound sockets"]],
  trace: [["addon", "AF_PACKET"]],
  bench: [["addon", "user namespaces"]],
  worker: [["addon", "sock_diag", "user namespaces"]],
  who: [["addon", "sock_diag", "processes of others", "CAP_SYS_PTRACE"]],
  audit: [["addon", "sock_diag", "processes of others", "CAP_SYS_PTRACE"]],
  "audit --all-namespaces": [["addon", "sock_diag", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]],
  free: [
    ["addon", "SOCK_DESTROY", "CAP_NET_ADMIN"],
    ["addon", "pidfd_getfd", "CAP_SYS_PTRACE"],
  ],
  reserve: [["reserved ports"]],
  "reserve --persist": [["reserved ports", "/etc/sysctl.d"]],
};

/**
 * Reads proc(5) and asks the kernel for each feature that this package uses, by calls that change nothing: sockets of
 * this process, connects to a port of 127.0.0.1 where nothing listens, and a network namespace that ends at once.
 * `tools` are the machines of the lab; without them they are not judged.
 */
export async function diagnose(tools: readonly LabTool[] = []): Promise<Diagnosis> {
  checkArray("diagnose() takes what listMachines() returned", tools, ["name", "missing"]);
  const questions = [
    ["addon", [ADDON]],
    ["kernel", [RELEASE, ...findKernelFeatures()]],
    ...findPrivileges(),
    ["lab", tools.map(toQuestion)],
  ] as const;
  const checks: Check[] = [];
  // One after the other: they share the limits that they ask for.
  for (const [group, asked] of questions)
    for (const question of asked) checks.push(await answer(group, question));
  const states = checks.map(({ state }) => state);
  const needs = tools.length > 0 ? { ...NEEDS, lab: tools.map(({ name }) => [`lab ${name}`]) } : NEEDS;
  const { kernel, platform, architecture, node } = environment();
  return {
    version: packageVersion(),
    node,
    platform,
    architecture,
    kernel,
    libc: libcText(addonHost()) || null,
    checks,
    commands: Object.entries(needs).map(([command, ways]) => judge(command, ways, checks)),
    verdict: states.includes("no") ? "lacks" : states.includes("unknown") ? "unknown" : "complete",
  };
}

async function answer(group: CheckGroup, { name, ask, cost, fix }: Question): Promise<Check> {
  const [state, found] = await askSafely(ask);
  const isThere = state === "yes";
  return { group, name, state, found, cost: isThere ? null : cost, fix: isThere ? null : fix };
}

async function askSafely(ask: Question["ask"]): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    return ["unknown", (error as Error).message.split("\n")[0]!];
  }
}

const ADDON: Question = {
  name: "addon",
  ask: () => {
    const failure = nativeFailure();
    return failure ? ["no", failure.message.split("\n")[0]!] : ["yes", addonFile() ?? "loaded"];
  },
  cost: "no socket can be opened, and the guard only detects self-connects",
  fix: "install the package for this platform, or build it from its sources",
};

/** The file from which Node has loaded the addon; null where the runtime keeps no such record. */
function addonFile(): string | null {
  const { cache } = createRequire(import.meta.url);
  const native = loadNative();
  return Object.keys(cache ?? {}).find((file) => cache[file]?.exports === native) ?? null;
}

const RELEASE: Question = {
  name: "kernel",
  ask: () => {
    const sandbox = findSandbox();
    if (sandbox) return ["no", `${os.type()} ${os.release()}, by gVisor`];
    return [process.platform === "linux" ? "yes" : "no", `${os.type()} ${os.release()}`];
  },
  cost: "what this package knows about the kernel's choice of ports is about Linux",
  fix: null,
};

function toQuestion({ name, missing }: LabTool): Question {
  return {
    name: `lab ${name}`,
    ask: () => [missing === null ? "yes" : "no", missing ?? "its programs are installed"],
    cost: `lab --machine ${name}`,
    fix: /apt-get install [\w .-]+/.exec(missing ?? "")?.[0] ?? null,
  };
}

function judge(command: string, ways: CommandNeed["ways"], checks: readonly Check[]): CommandNeed {
  const stateOf = (need: string) => checks.find(({ name }) => name === need)!.state;
  return { command, ways, state: best(ways.map((way) => worst(way.map(stateOf)))) };
}

function worst(states: readonly CheckState[]): CheckState {
  return (["no", "unknown"] as const).find((state) => states.includes(state)) ?? "yes";
}

function best(states: readonly CheckState[]): CheckState {
  return (["yes", "unknown"] as const).find((state) => states.includes(state)) ?? "no";
}
