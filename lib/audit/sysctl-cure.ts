/** Cures that are settings of sysctl(8): for now, for every boot, for a container, for a Pod. */

/** How to change settings of a network namespace. */
export interface SysctlCure {
  /** A command for now; it ends with the next boot. */
  readonly now: string;
  /** A command for every boot; null in another network namespace, whose container has its own settings. */
  readonly lasting: string | null;
  /** The flags of docker run and podman run: a container has settings of its own. */
  readonly container: string;
  /** The field of a Pod's spec. */
  readonly kubernetes: string;
}

type Settings = Readonly<Record<string, string>>;

/** `pid`: a process of the network namespace, when that is not the one of this process. */
export function sysctlCure(
  settings: Settings,
  file: string,
  pid: number | null,
  atBoot: Settings = settings,
): SysctlCure {
  const entries = Object.entries(settings);
  const enter = pid === null ? "" : `nsenter --net=/proc/${pid}/ns/net `;
  const lines = Object.entries(atBoot).map(([name, value]) => `'${name} = ${value}'`);
  const write = lines.length === 1 ? `echo ${lines[0]}` : `printf '%s\\n' ${lines.join(" ")}`;
  const fields = entries.map(([name, value]) => `{ name: ${name}, value: "${value}" }`);
  return {
    now: `${enter}sysctl -w ${entries.map(([name, value]) => `${name}=${value}`).join(" ")}`,
    lasting: pid === null ? `${write} > ${file}` : null,
    container: entries.map(([name, value]) => `--sysctl ${name}=${value}`).join(" "),
    kubernetes: `securityContext: { sysctls: [${fields.join(", ")}] }`,
  };
}
