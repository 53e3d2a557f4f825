/** What to do about the findings of an audit, as lines of text. */
import type { Audit } from "../audit/audit.ts";
import { isDangerous } from "../audit/audit.ts";
import { isNearlyFull } from "../audit/destinations.ts";
import type { SysctlCure } from "../audit/sysctl-cure.ts";
import type { PortRange } from "../socket/port-range.ts";
import type { Line } from "./terminal.ts";
import { indent, paint, tableLines } from "./terminal.ts";

/** Ports below need a capability. */
const FIRST_UNPRIVILEGED = 1024;
const LAST_PORT = 65_535;

/** Clients that are not Node's: whether they detect a self-connect, and what to set. */
const CLIENTS: readonly (readonly [client: string, guarded: string, cure: string])[] = [
  ["Go: net.Dial", "yes, twice", "nothing; after two self-connects in a row it returns the third"],
  ["Hadoop: NetUtils.connect", "yes", "nothing"],
  ["Java, Python, Rust, C", "no", "close the socket when getsockname(2) equals getpeername(2)"],
  ["the same, Linux 6.3 and later", "no", "setsockopt(2) IP_LOCAL_PORT_RANGE without the port"],
  ["curl, libcurl", "no", "--local-port with a range outside the ephemeral range"],
  ["HAProxy", "no", "source ADDRESS:PORT-PORT outside the ephemeral range"],
  ["nginx, psql, redis-cli, others", "no", "reserve the port"],
];

/** The section "what to do"; empty when there is nothing to do. */
export function cureLines(found: Audit): Line[] {
  const lines = [...riskLines(found), ...joinedLines(found), ...fullLines(found)];
  return lines.length === 0 ? [] : ["", [paint("bold", "what to do")], ...indent("  ", lines)];
}

/** One way to be safe: what it is, and the commands or settings that do it. */
export interface Cure {
  readonly what: string;
  /** The head of the rows; null for pairs of a place and its command. */
  readonly head: readonly string[] | null;
  readonly rows: readonly (readonly string[])[];
}

function riskLines(found: Audit): Line[] {
  const cures = riskCures(found);
  if (cures.length === 0) return [];
  return ["one of these, against the risk:", ...indent("  ", cures.flatMap(cureText))];
}

function cureText({ what, head, rows }: Cure): Line[] {
  const table = head ? [head, ...rows] : rows;
  return [what, ...indent("  ", tableLines(table, "lll".slice(0, table[0]?.length ?? 0)))];
}

/** The ways to be safe from the risks of an audit, each enough by itself; empty without a risk. */
export function riskCures(found: Audit): Cure[] {
  const isAtRisk = [...found.listeners, ...found.ports, ...found.knocking].some(({ risk }) =>
    isDangerous(risk),
  );
  if (!isAtRisk) return [];
  const guard =
    "guard the clients: in Node, dial() and connect() of selfconnect never return such a socket; in others:";
  return [
    reservation(found),
    ...otherPorts(found.ephemeralRange!),
    { what: guard, head: ["client", "guarded", "what to set"], rows: CLIENTS },
  ];
}

function reservation({ reserve }: Audit): Cure {
  const rows = reserve ? sysctlRows(reserve, "") : [];
  const what = reserve
    ? `reserve ${reserve.ports.join(", ")}: the kernel never picks a reserved port`
    : "(reserving the ports would leave the kernel none of their parity, or none at all: no cure here)";
  return { what, head: null, rows };
}

/** The commands of a setting. `kubernetesNote`: what a cluster needs for it. */
function sysctlRows(
  { now, lasting, container, kubernetes }: SysctlCure,
  kubernetesNote: string,
): (readonly string[])[] {
  return [
    ["now", now],
    ...(lasting === null ? [] : [["at every boot", lasting]]),
    ["docker run, podman run", container],
    [`Kubernetes, in the Pod's spec${kubernetesNote}`, kubernetes],
  ];
}

/** Ports outside the range are never picked, by any client. */
function otherPorts({ low, high }: PortRange): Cure[] {
  const below = low > FIRST_UNPRIVILEGED ? [`${FIRST_UNPRIVILEGED} to ${low - 1}`] : [];
  const above = high < LAST_PORT ? [`${high + 1} to ${LAST_PORT}`] : [];
  const ports = [...below, ...above].join(" or ");
  const what = `let the server listen outside the ephemeral range: ${ports}`;
  return ports === "" ? [] : [{ what, head: null, rows: [] }];
}

function joinedLines({ joined, leftovers }: Audit): Line[] {
  const live = [...new Set(joined.map(({ local }) => local.port))];
  const left = [...new Set(leftovers.map(({ local }) => local.port))];
  return [
    ...(live.length > 0
      ? [
          `end what is joined to itself; its process stays: selfconnect free ${live.length === 1 ? live[0] : "--all"}`,
        ]
      : []),
    ...(left.length > 0
      ? [`what is left behind ends within a minute; the seconds: selfconnect who ${left[0]}`]
      : []),
  ];
}

function fullLines({ destinations, reuse }: Audit): Line[] {
  if (!destinations.some(isNearlyFull)) return [];
  const note = " (the kubelet needs --allowed-unsafe-sysctls)";
  const reuseLines = reuse
    ? [
        "let connect(2) take a port from TIME-WAIT after a second, as it does on loopback by default",
        ...indent("  ", tableLines(sysctlRows(reuse, note), "ll")),
      ]
    : [];
  return [
    "against exhausted ports:",
    ...indent("  ", [
      "keep connections and use them again: pools, keep-alive",
      ...reuseLines,
      "connect from several local addresses, or to several peer addresses: each pair has all ports to itself",
      "let clients that bind to an address set IP_BIND_ADDRESS_NO_PORT, so that the port is picked for each peer",
    ]),
  ];
}
