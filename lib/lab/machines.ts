/** Creates the machines of a lab from their names and the names of kernels. */
import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { MachineName } from "./experiment.ts";
import type { KernelShelf } from "./kernels.ts";
import type { Machine } from "./machine.ts";
import { gvisorMachine } from "./machines/gvisor.ts";
import { hostMachine } from "./machines/host.ts";
import { qemuMachine } from "./machines/qemu.ts";
import { umlMachine } from "./machines/uml.ts";

export const MACHINES: readonly MachineName[] = ["host", "qemu", "uml", "gvisor"];

const MAKERS = { host: hostMachine, uml: umlMachine, gvisor: gvisorMachine };

/**
 * Creates the machines, and fetches their kernels. A kernel that is not available becomes a machine whose `missing`
 * returns the reason. Throws ERR_UNKNOWN_MACHINE.
 */
export async function makeMachines(
  names: readonly string[],
  kernels: readonly string[],
  shelf: KernelShelf,
  fetching: (kernel: string) => void = () => {},
): Promise<Machine[]> {
  for (const name of names) checkName(name);
  const machines: Machine[] = [];
  for (const kernel of names.includes("qemu") ? kernels : []) {
    fetching(kernel);
    machines.push(await fetchMachine(kernel, shelf));
  }
  for (const name of MACHINES) {
    if (name !== "qemu" && names.includes(name)) machines.push(MAKERS[name]());
  }
  return machines;
}

async function fetchMachine(word: string, shelf: KernelShelf): Promise<Machine> {
  try {
    return qemuMachine(await shelf.get(word), shelf.folder);
  } catch (error) {
    const why = (error as Error).message.split("\n")[0]!.slice(0, 300);
    return missingMachine(`qemu ${word}`, why);
  }
}

function missingMachine(title: string, why: string): Machine {
  const missing = () => Promise.resolve(why);
  const isEmulated = () => Promise.resolve(true);
  const launch = () => Promise.reject(new Error(why));
  return { name: "qemu", title, missing, isEmulated, launch };
}

function checkName(name: string): void {
  if (MACHINES.some((known) => known === name)) return;
  const meant = nearest(name, MACHINES);
  const fix = meant ? `did you mean "${meant}"?` : `use ${MACHINES.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_MACHINE", `"${name}" is not a machine: ${fix}`);
}
