/** Creates the machines of a lab from their names and the names of kernels. */
import path from "node:path";
import { checkKeys, checkShape, invalidArgument, nearest } from "../socket/misuse.ts";
import type { KernelMachine, MachineName } from "./experiment.ts";
import { machineOfFile } from "./kernel-file.ts";
import type { Kernel, KernelShelf } from "./kernels.ts";
import type { Machine } from "./machine.ts";
import { gvisorMachine, missingForGvisor } from "./machines/gvisor.ts";
import { hostMachine } from "./machines/host.ts";
import { missingForQemu, qemuMachine } from "./machines/qemu.ts";
import { missingForSsh, sshMachine } from "./machines/ssh.ts";
import { missingForUml, umlMachine } from "./machines/uml.ts";
import type { RemoteOptions } from "./remote.ts";
import { isSshName, parseSshHost } from "./remote.ts";

/** The machines with a name of their own; another host has that of the host. */
export const MACHINES: readonly Exclude<MachineName, "ssh">[] = ["host", "qemu", "uml", "gvisor"];

/** The machines that run without a kernel of their own. */
const MAKERS = { host: hostMachine, gvisor: gvisorMachine };
const RUNNERS: Readonly<Record<KernelMachine, (kernel: Kernel, shelf: KernelShelf) => Machine>> = {
  qemu: (kernel, shelf) => qemuMachine(kernel, shelf.folder),
  uml: umlMachine,
};

/** What to run: machines, and kernels by name or as files. */
export interface MachineChoice extends RemoteOptions {
  /** "ssh:user@host" is another host. Absent: the machine of each file in `kernels`, or the default. */
  readonly machines?: readonly string[];
  /** Absent: the default for each machine. Empty: no qemu, and the installed User-mode Linux. */
  readonly kernels?: readonly string[];
}

/** Machines that need neither KVM nor an emulator. */
export const DEFAULT_MACHINES: readonly MachineName[] = ["host", "uml", "gvisor"];
/** Debian has a User-mode Linux of each of these. */
export const DEFAULT_KERNELS: readonly string[] = ["5.10", "6.1", "6.12", "newest"];

/** A machine for a list of them. */
export interface MachineAbout {
  /** The name for `--machine`; that of another host begins with it. */
  readonly name: MachineName;
  /** What it is; a clause. */
  readonly about: string;
  /** Which programs it lacks here; null where it has them. It may still not run: only a guest shows that. */
  readonly missing: string | null;
}

/** Every machine. Starts no guest. */
export function listMachines(): MachineAbout[] {
  return [
    { name: "host", about: "this host's kernel, in a network namespace of its own", missing: null },
    {
      name: "uml",
      about: "User-mode Linux: a kernel that is a program",
      missing: missingForUml("to be fetched"),
    },
    { name: "gvisor", about: "gVisor's network stack", missing: missingForGvisor() },
    { name: "qemu", about: "Debian's kernels under KVM, or translated", missing: missingForQemu() },
    { name: "ssh", about: "another host's kernel, as ssh:host or ssh:user@host", missing: missingForSsh() },
  ];
}

/**
 * Creates the machines, and fetches their kernels. A kernel that is not available becomes a machine whose `missing`
 * returns the reason. Throws ERR_UNKNOWN_MACHINE, ERR_SSH_HOST.
 */
export async function makeMachines(
  choice: MachineChoice,
  shelf: KernelShelf,
  fetching: (kernel: string) => void = () => {},
): Promise<Machine[]> {
  checkKeys("makeMachines()", choice, ["machines", "kernels", "sshConfig", "remoteNode"]);
  const { machines: names, kernels, ...remote } = choice;
  checkShape("makeMachines() takes a KernelShelf", shelf, ["get", "folder"]);
  const hosts = [...new Set(names?.filter(isSshName))].map(parseSshHost);
  for (const name of names ?? []) if (!isSshName(name)) checkName(name);
  const wanted = names ?? defaultMachines(kernels);
  const made: Machine[] = [];
  for (const name of MACHINES) {
    if (!wanted.includes(name)) continue;
    if (name === "host" || name === "gvisor") made.push(MAKERS[name]());
    else made.push(...(await makeKernels(name, kernels, shelf, fetching)));
  }
  return [...made, ...hosts.map((host) => sshMachine(host, remote))];
}

/** Files name their machine; where there are only files, nothing else is asked. */
function defaultMachines(kernels: readonly string[] = []): readonly string[] {
  if (kernels.length === 0 || !kernels.every(isFile)) return DEFAULT_MACHINES;
  return kernels.map((file) => machineOfExistingFile(file) ?? "qemu");
}

async function makeKernels(
  name: KernelMachine,
  kernels: readonly string[] | undefined,
  shelf: KernelShelf,
  onFetch: (kernel: string) => void,
): Promise<Machine[]> {
  if (kernels?.length === 0) return name === "uml" ? [umlMachine()] : [];
  const made: Machine[] = [];
  for (const word of kernels ?? DEFAULT_KERNELS) {
    // A file is run by its own machine only.
    if (isFile(word) && (machineOfExistingFile(word) ?? name) !== name) continue;
    onFetch(word);
    made.push(await findKernel(name, word, shelf));
  }
  // Without a network the one that is installed is better than none.
  const isNone = made.every((machine) => "reason" in machine);
  return kernels === undefined && name === "uml" && isNone && !missingForUml() ? [umlMachine()] : made;
}

async function findKernel(name: KernelMachine, word: string, shelf: KernelShelf): Promise<Machine> {
  const title = `${name} ${word}`;
  // Before anything is fetched.
  const missing = name === "qemu" ? missingForQemu() : missingForUml("to be fetched");
  if (missing) return missingMachine(name, title, missing);
  try {
    if (isFile(word)) machineOfFile(word);
    const kernel = isFile(word) ? { file: path.resolve(word) } : await shelf.get(word, name);
    const machine = RUNNERS[name](kernel, shelf);
    return isFile(word) ? { ...machine, title } : machine;
  } catch (error) {
    return missingMachine(name, title, (error as Error).message.split("\n")[0]!.slice(0, 300));
  }
}

function isFile(word: string): boolean {
  return word.includes("/");
}

function machineOfExistingFile(file: string): KernelMachine | null {
  try {
    return machineOfFile(file);
  } catch {
    return null; // findKernel() reports why.
  }
}

interface MissingMachine extends Machine {
  readonly reason: string;
}

function missingMachine(name: KernelMachine, title: string, reason: string): MissingMachine {
  const missing = () => Promise.resolve(reason);
  const isEmulated = () => Promise.resolve(name === "qemu");
  const launch = () => Promise.reject(new Error(reason));
  return { name, title, reason, missing, isEmulated, launch };
}

function checkName(name: string): void {
  if (MACHINES.some((known) => known === name)) return;
  const meant = nearest(name, MACHINES);
  const fix = meant ? `did you mean "${meant}"?` : `use ${MACHINES.join(", ")} or ssh:host`;
  throw invalidArgument("ERR_UNKNOWN_MACHINE", `"${name}" is not a machine: ${fix}`);
}
