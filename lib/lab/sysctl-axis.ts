/** Sysctls as an axis of the lab: each machine once for every combination of values. */
import { checkArray, invalidArgument, textOf } from "../socket/misuse.ts";
import type { Machine } from "./machine.ts";

/** A sysctl, and the values that it is given. */
export interface SysctlAxis {
  /** The sysctl: "net.ipv4.tcp_tw_reuse". */
  readonly name: string;
  /** The values that it is set to, one column each. */
  readonly values: readonly string[];
}

/** Of a network namespace, so that a guest on the host's kernel changes its own namespace alone. */
const NAME = /^net\.ipv[46]\.[a-z0-9_.]+$/;
const VALUE = /^[\w .:-]{0,100}$/;

/** Reads "net.ipv4.tcp_tw_reuse=0,1,2". Throws ERR_INVALID_SYSCTL. */
export function parseSysctlAxis(text: string): SysctlAxis {
  const [name = "", list] = textOf(text).split("=", 2);
  const values = list?.split(",") ?? [];
  if (NAME.test(name) && values.length > 0 && values.every((value) => VALUE.test(value)))
    return { name, values };
  throw invalidArgument(
    "ERR_INVALID_SYSCTL",
    `"${textOf(text)}" is no sysctl with values: use a name of net.ipv4 or net.ipv6, as net.ipv4.tcp_tw_reuse=0,1,2`,
  );
}

/** Returns a machine for every combination of values; the same machines where there is no axis. */
export function spreadSysctls(machines: readonly Machine[], axes: readonly SysctlAxis[]): Machine[] {
  checkArray("spreadSysctls() takes machines of makeMachines()", machines, ["launch"]);
  checkArray("spreadSysctls() takes axes of parseSysctlAxis()", axes, ["name", "values"]);
  return axes.reduce<Machine[]>(
    (spread, { name, values }) =>
      spread.flatMap((machine) => values.map((value) => withSysctl(machine, name, value))),
    [...machines],
  );
}

function withSysctl(machine: Machine, name: string, value: string): Machine {
  const { title, sysctls = {} } = machine;
  return {
    ...machine,
    title: `${title} ${name.split(".").at(-1)}=${value}`,
    sysctls: { ...sysctls, [name]: value },
  };
}
