/** Asks for the limits, the namespaces and the capabilities of this process. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { portFacts, sysctl } from "../kernel/host.ts";
import { readNamespaceId } from "../kernel/namespaces.ts";
import { seesEveryProcess } from "../kernel/processes.ts";
import type { Answer, Question } from "./doctor-question.ts";
import { canWrite } from "./doctor-question.ts";

/** Below these a lab, a scan or a loop may come to its end. */
const FEWEST_FILES = 1024;
const FEWEST_THREADS = 64;
const FEWEST_PORTS = 1000;
const UNSHARE_MS = 5000;

/** What each capability is for, by its number in capabilities(7). */
const CAPABILITIES: Readonly<Record<string, readonly [number, string]>> = {
  CAP_NET_ADMIN: [12, "free by SOCK_DESTROY, reserve, and options that need it (docs/options.md)"],
  CAP_NET_RAW: [13, "packets in trace"],
  CAP_SYS_ADMIN: [21, "audit and free with --all-namespaces, and sockets in other namespaces"],
  CAP_SYS_PTRACE: [19, "the processes of other users, as owners in who and audit, and to free their ports"],
  CAP_NET_BIND_SERVICE: [10, "ports below net.ipv4.ip_unprivileged_port_start"],
};

/** The questions about this process, by group. */
export function findPrivileges(): readonly (readonly [
  "limits" | "namespaces" | "capabilities",
  readonly Question[],
])[] {
  return [
    ["limits", LIMITS],
    ["namespaces", NAMESPACES],
    ["capabilities", Object.keys(CAPABILITIES).map(capability)],
  ];
}

const LIMITS: readonly Question[] = [
  {
    name: "open files",
    ask: () => atLeast(FEWEST_FILES, readLimit("Max open files")),
    cost: "connectMany() and servers of many connections end with EMFILE",
    fix: "ulimit -n 65536; LimitNOFILE= of systemd; --ulimit nofile= of docker",
  },
  {
    name: "threads",
    ask: () => atLeast(FEWEST_THREADS, Math.min(readLimit("Max processes"), readThreadsLeft())),
    cost: "loops with many threads, and labs with many guests, end with EAGAIN",
    fix: "ulimit -u 4096; TasksMax= of systemd; --pids-limit of docker",
  },
  {
    name: "ephemeral ports",
    ask: () => {
      const { ephemeralRange: range } = portFacts();
      if (!range) return ["unknown", "this host does not report its ephemeral range"];
      const [state] = atLeast(FEWEST_PORTS, range.high - range.low + 1);
      return [state, `${range.low}-${range.high}`];
    },
    cost: "connects to one destination soon use all ports: EADDRNOTAVAIL",
    fix: 'sysctl net.ipv4.ip_local_port_range="32768 60999"',
  },
];

const NAMESPACES: readonly Question[] = [
  {
    name: "network namespace",
    ask: askNetworkNamespace,
    cost: "audit, who and free see the sockets of this network namespace only",
    fix: "run as root on the host, with --all-namespaces",
  },
  {
    name: "user namespaces",
    ask: askUserNamespaces,
    cost: "ports, predict --check and lab measure in this namespace, and change no sysctl",
    fix: "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root; in docker --privileged",
  },
  {
    name: "processes of others",
    ask: () => (seesEveryProcess() ? ["yes", "/proc shows every process"] : ["no", "hidepid hides some"]),
    cost: "who and audit do not name the owners of some sockets",
    fix: "run as root, or mount /proc without hidepid",
  },
  {
    name: "reserved ports",
    ask: () => canWrite("/proc/sys/net/ipv4/ip_local_reserved_ports"),
    cost: "reserve",
    fix: "run as root; in a container set the sysctl from outside: docker run --sysctl",
  },
  {
    name: "/etc/sysctl.d",
    ask: () => canWrite("/etc/sysctl.d"),
    cost: "reserve --persist",
    fix: "run as root, where the file system is writable",
  },
];

function askNetworkNamespace(): Answer {
  const [own, first] = [readNamespaceId("self"), readNamespaceId(1)];
  if (typeof own !== "number") return ["unknown", "/proc/self/ns/net cannot be read"];
  if (typeof first !== "number") return ["unknown", `${own}; that of process 1 cannot be read`];
  return own === first
    ? ["yes", `${own}, that of process 1`]
    : ["no", `${own}, and that of process 1 is ${first}`];
}

/** unshare(1): new user and network namespaces, which end at once. */
function askUserNamespaces(): Answer {
  const { status, error, stderr } = spawnSync("unshare", ["-rn", "true"], {
    encoding: "utf8",
    timeout: UNSHARE_MS,
  });
  if (error) return ["unknown", `unshare (Debian: apt-get install util-linux): ${error.message}`];
  return status === 0 ? ["yes", "unshare -rn works"] : ["no", stderr.trim().split("\n")[0]!];
}

function capability(name: string): Question {
  const [bit, cost] = CAPABILITIES[name]!;
  return {
    name,
    ask: () => {
      const bits = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
      if (bits === undefined) return ["unknown", "/proc/self/status does not say"];
      const isThere = (BigInt(`0x${bits}`) >> BigInt(bit)) & 1n;
      return isThere ? ["yes", "effective"] : ["no", "not effective"];
    },
    cost,
    fix: `run as root; docker run --cap-add ${name.replace("CAP_", "")}; AmbientCapabilities=${name}`,
  };
}

function atLeast(fewest: number, limit: number): Answer {
  if (Number.isNaN(limit)) return ["unknown", "/proc/self/limits does not say"];
  const text = limit === Number.POSITIVE_INFINITY ? "unlimited" : String(limit);
  return limit >= fewest ? ["yes", text] : ["no", `${text}, fewer than ${fewest}`];
}

/** proc(5), /proc/self/limits: the soft limit. */
function readLimit(name: string): number {
  const line = readFileSync("/proc/self/limits", "utf8")
    .split("\n")
    .find((one) => one.startsWith(name));
  const [soft] = line?.slice(name.length).trim().split(/\s+/) ?? [];
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? Number.NaN);
}

/** cgroups(7), pids.max less pids.current: infinity where no group limits them, or the files are elsewhere. */
function readThreadsLeft(): number {
  const most = Number(sysctl("kernel.threads-max") ?? Number.POSITIVE_INFINITY);
  try {
    const group = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";
    const read = (name: string) => readFileSync(`/sys/fs/cgroup${group}/${name}`, "utf8").trim();
    const limit = read("pids.max");
    return limit === "max" ? most : Math.min(most, Number(limit) - Number(read("pids.current")));
  } catch {
    return most; // No second version of cgroups, or one that this process does not see.
  }
}
