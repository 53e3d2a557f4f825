/** The trials, and in each the cells that are compared. */
import type { BenchTrial } from "../lib/report/index.ts";

/** What a driver connects to. */
export type PeerKind =
  /** A dead port outside the ephemeral range: no attempt can self-connect. */
  | "dead"
  /** A dead port that connect(2) picks sooner or later: a self-connect happens. */
  | "ephemeral"
  /** listener.c. */
  | "live";

export interface CellPlan {
  readonly trial: BenchTrial;
  readonly name: string;
  /** A file of drivers/. */
  readonly driver: string;
  /** The command line of a driver that is no file of drivers/. */
  readonly command?: readonly string[];
  readonly peer: PeerKind;
  /** Arguments after the port and the milliseconds. */
  readonly settings: readonly string[];
  /** The limit of open files that the driver needs. */
  readonly files?: number;
  /** The network namespace to run in instead of the host's; the peer is the low end of its range. */
  readonly namespace?: Namespace;
}

/** A new network namespace for one cell. */
export interface Namespace {
  readonly low: number;
  readonly high: number;
  /** net.ipv4.tcp_max_tw_buckets; null for the kernel's default. */
  readonly timeWaitBuckets: number | null;
}

const SET_UP = `ip link set lo up && echo "$1" > /proc/sys/net/ipv4/ip_local_port_range || exit 1
[ "$2" = keep ] || echo "$2" > /proc/sys/net/ipv4/tcp_max_tw_buckets || exit 1
shift 2; exec "$@"`;

/** The command line that runs `command` in such a namespace. */
export function namespaceCommand(
  { low, high, timeWaitBuckets }: Namespace,
  command: readonly string[],
): string[] {
  const settings = [`${low} ${high}`, String(timeWaitBuckets ?? "keep")];
  return ["unshare", "-rn", "sh", "-c", SET_UP, "sh", ...settings, ...command];
}

function cell(
  trial: BenchTrial,
  peer: PeerKind,
  name: string,
  driver: string,
  ...settings: string[]
): CellPlan {
  return { trial, name, driver, peer, settings };
}

/** The best C loop of the same calls: the limit of each trial. */
export const LIMITS: Readonly<Partial<Record<BenchTrial, string>>> = {
  attempts: "C, one socket again",
  "self-connects": "C range",
  connects: "C connect",
};

/** The cells of a round in order; closely compared cells are next to each other. */
export const ROUND: readonly CellPlan[] = [
  cell("attempts", "dead", "connectMany()", "many.ts", "dead"),
  cell("attempts", "dead", "selfconnect fresh", "loop.ts", "fresh", "1"),
  cell("attempts", "dead", "selfconnect fresh, plain", "loop.ts", "fresh", "1", "plain"),
  cell("attempts", "dead", "C, a socket each", "fresh.c"),
  cell("attempts", "dead", "samplePorts()", "sample.ts"),
  cell("attempts", "dead", "selfconnect reuse, plain", "loop.ts", "reuse", "1", "plain"),
  cell("attempts", "dead", "C, one socket again", "reuse.c"),
  cell("attempts", "dead", "selfconnect reuse", "loop.ts", "reuse", "1"),
  cell("attempts", "dead", "C, io_uring, one socket again", "uring.c"),
  cell("attempts", "dead", "selfconnect reuse, 2 threads", "loop.ts", "reuse", "2"),
  cell("attempts", "dead", "selfconnect reuse, plain, 2 threads", "loop.ts", "reuse", "2", "plain"),
  cell("attempts", "dead", "C, one socket again, 2 processes", "reuse.c", "2"),
  cell("attempts", "dead", "selfconnect fresh, 2 threads", "loop.ts", "fresh", "2"),
  cell("attempts", "dead", "selfconnect autobind", "loop.ts", "autobind", "1"),
  cell("attempts", "dead", "C autobind", "autobind.c"),
  cell("attempts", "dead", "koffi", "koffi.ts"),
  cell("attempts", "dead", "Python", "attempts.py"),
  cell("attempts", "dead", "Go net.Dial", "attempts.go"),
  cell("attempts", "dead", "node:net", "node-net.ts", "dead", "1"),
  cell("attempts", "dead", "node:net, 32 in flight", "node-net.ts", "dead", "32"),
  cell("attempts", "dead", "bash /dev/tcp", "dev-tcp.sh"),
  cell("attempts", "dead", "nc loop", "nc.sh"),
  cell("self-connects", "ephemeral", "selfconnect range", "loop.ts", "range", "1"),
  cell("self-connects", "ephemeral", "C range", "range.c"),
  cell("self-connects", "ephemeral", "selfconnect bind", "loop.ts", "bind", "1"),
  cell("self-connects", "ephemeral", "C bind", "bind.c"),
  cell("connects", "live", "TcpSocket", "tcp-socket.ts"),
  cell("connects", "live", "C connect", "connect.c"),
  cell("connects", "live", "koffi connect", "koffi.ts", "live"),
  cell("connects", "live", "node:net connect", "node-net.ts", "live", "1"),
  cell("connects", "live", "connectMany() connect", "many.ts", "live"),
  cell("connects", "live", "node:net connect, 32 in flight", "node-net.ts", "live", "32"),
  cell("ipv6", "dead", "selfconnect fresh, IPv6", "loop.ts", "fresh", "1", "auto", "::1"),
  cell("ipv6", "dead", "selfconnect fresh, IPv4", "loop.ts", "fresh", "1"),
  cell("ipv6", "dead", "selfconnect reuse, plain, IPv6", "loop.ts", "reuse", "1", "plain", "::1"),
  cell("ipv6", "dead", "selfconnect reuse, plain, IPv4", "loop.ts", "reuse", "1", "plain"),
  cell("ipv6", "dead", "selfconnect reuse, IPv6", "loop.ts", "reuse", "1", "auto", "::1"),
  cell("ipv6", "dead", "selfconnect reuse, IPv4", "loop.ts", "reuse", "1"),
  cell("doors", "live", "dial()", "doors.ts", "dial()"),
  cell("doors", "live", "node:net", "doors.ts", "node:net"),
  cell("doors", "live", "connect()", "doors.ts", "connect()"),
  cell("doors", "live", "node:net, registered", "doors.ts", "register"),
  cell("doors", "live", "TcpSocket, awaited", "doors.ts", "TcpSocket"),
  ...["http", "tls", "undici"].flatMap((protocol) => [
    cell("requests", "dead", `${protocol}, guarded`, "requests.ts", protocol, "guarded"),
    cell("requests", "dead", protocol, "requests.ts", protocol, "plain"),
  ]),
  cell("own-server", "dead", "TcpSocket, own server", "doors.ts", "TcpSocket", "own"),
  cell("own-server", "dead", "node:net, own server", "doors.ts", "node:net", "own"),
  cell("own-server", "dead", "dial(), own server", "doors.ts", "dial()", "own"),
  cell("start-up", "dead", "Node", "doors.ts", "node:net", "start"),
  cell("start-up", "dead", "Node, registered", "doors.ts", "register", "start"),
  cell("time", "ephemeral", "selfconnect fresh until joined", "until.ts", "fresh", "1"),
  cell("time", "ephemeral", "selfconnect fresh until joined, IPv6", "until.ts", "fresh", "1", "::1"),
  cell("time", "ephemeral", "selfconnect reuse until joined", "until.ts", "reuse", "1"),
  cell("time", "ephemeral", "selfconnect reuse until joined, 2 threads", "until.ts", "reuse", "2"),
  cell("time", "ephemeral", "selfconnect range until joined", "until.ts", "range", "1"),
];

const STOPPED = ["fresh", "reuse", "autobind"] as const;
/** The doors whose memory is measured. */
const HELD = ["TcpSocket", "dial()", "connect()", "node:net", "register"] as const;

/** The cells that run once, after the rounds. */
export const AFTER: readonly CellPlan[] = [
  ...STOPPED.flatMap((strategy) =>
    ["plain", "io_uring"].map((engine) =>
      cell("stop", "dead", `${strategy}, ${engine}`, "stop.ts", strategy, engine),
    ),
  ),
  ...HELD.map((door) => cell("held", "dead", `held by ${door}`, "doors.ts", door, "held")),
];

export const FEW_SOCKETS = 1000;
export const MANY_SOCKETS = 100_000;
/** The files that a process has open apart from its sockets. */
const OTHER_FILES = 500;

/** The loop whose peak memory is measured after the rounds. */
export function planMemory(isLong: boolean): CellPlan {
  const settings = [...attemptLimits(isLong).map(String), "2"];
  return cell("memory", "dead", "selfconnect reuse, memory", "growth.ts", ...settings);
}

/** "from 1 to 30 million attempts". */
export function describeAttempts(isLong: boolean): string {
  const [first, last] = attemptLimits(isLong).map((attempts) => attempts / 1e6);
  return `from ${first} to ${last} million attempts`;
}

function attemptLimits(isLong: boolean): [first: number, last: number] {
  return isLong ? [1_000_000, 30_000_000] : [1_000_000, 4_000_000];
}

/** The cell with `count` sockets in connected() at a time, after the rounds. */
export function planInProgress(count: number): CellPlan {
  const name = `${count.toLocaleString("en-US")} sockets`;
  return { ...cell("in-progress", "dead", name, "in-progress.ts", String(count)), files: filesFor(count) };
}

/** Adds a listener and a socket that fills its backlog for each thousand sockets. */
function filesFor(sockets: number): number {
  return Math.ceil(sockets * 1.002) + OTHER_FILES;
}

/** The number of sockets that a limit of open files allows, at most MANY_SOCKETS. */
export function mostSockets(limitOfFiles: number): number {
  const fitting = Math.floor((limitOfFiles - OTHER_FILES) / 1.002 / 1000) * 1000;
  return Math.max(FEW_SOCKETS, Math.min(MANY_SOCKETS, fitting));
}
