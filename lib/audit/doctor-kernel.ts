/** Asks this kernel for the features that the package uses, by calls that change nothing. */
import { canDestroySockets, showsBoundSockets } from "../kernel/port-holders.ts";
import { findSockets } from "../kernel/tables.ts";
import { ReconnectLoop } from "../loop/reconnect.ts";
import { Capture } from "../packets/capture.ts";
import { ADDRESS_BYTES } from "../socket/address.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { findFreePort } from "../socket/free-port.ts";
import { loadNative, nativeFailure } from "../socket/native.ts";
import type { OptionName } from "../socket/options.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Strategy } from "../socket/strategy.ts";
import { supported } from "../socket/supported.ts";
import type { Answer, Question } from "./doctor-question.ts";

/** For the connects that io_uring makes: ports where a server may listen, and nobody asks the kernel for one. */
const SERVER_PORTS = { low: 1024, high: 30_000 };
const ATTEMPTS = 4;
const LONGEST_MS = 1000;
/** Errors of limits: they say nothing about the kernel. */
const EXHAUSTED = ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN"];

/** The questions about the kernel, in the order in which they are printed. Without the addon they have no answer. */
export function findKernelFeatures(): Question[] {
  const unasked = (): Answer => ["unknown", "the addon asks for it"];
  return nativeFailure() ? listFeatures().map((one) => ({ ...one, ask: unasked })) : listFeatures();
}

function listFeatures(): Question[] {
  return [
    {
      ...option("localPortRange", "IP_LOCAL_PORT_RANGE"),
      cost: 'the guard detects self-connects instead of preventing them, and strategy "range" is missing',
      fix: "Linux 6.3 or later",
    },
    {
      ...option("bindAddressNoPort", "IP_BIND_ADDRESS_NO_PORT"),
      cost: "a bound address takes its port at bind(2), from fewer ports",
      fix: "Linux 4.2 or later",
    },
    {
      name: "IPv6",
      ask: () => listenOn("::1", 6),
      cost: "dial() and audits of IPv6 addresses",
      fix: "sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0",
    },
    {
      name: "MPTCP",
      ask: () => openMptcp(),
      cost: "TcpSocket.open(family, { mptcp: true })",
      fix: "Linux 5.6 or later with CONFIG_MPTCP, and sysctl net.mptcp.enabled=1",
    },
    {
      name: "sock_diag",
      ask: () => {
        const { source } = findSockets({ states: ["LISTEN"] });
        return source === "sock_diag" ? ["yes", "NETLINK_SOCK_DIAG"] : ["no", "/proc/net/tcp"];
      },
      cost: "audit and who are slower, and do not see the age and the options of sockets",
      fix: "modprobe inet_diag tcp_diag; in a container allow netlink sockets",
    },
    {
      name: "bound sockets",
      ask: () => (showsBoundSockets() ? ["yes", "sock_diag lists them"] : ["no", "sock_diag omits them"]),
      cost: "sockets that are bound and do nothing are not seen: predict and who may not know a holder of a port",
      fix: "Linux 6.8 or later",
    },
    {
      name: "SOCK_DESTROY",
      ask: () => (canDestroySockets() ? ["yes", "this kernel has it"] : ["no", "this kernel lacks it"]),
      cost: "free needs pidfd_getfd, and cannot free a port that a TIME-WAIT of a self-connect holds",
      fix: "a kernel with CONFIG_INET_DIAG_DESTROY",
    },
    {
      name: "pidfd_getfd",
      ask: askPidfd,
      cost: "free needs SOCK_DESTROY, and who does not see bound sockets of other processes before Linux 6.8",
      fix: "Linux 5.6 or later; in a container CAP_SYS_PTRACE, which Docker's filter asks for",
    },
    {
      name: "AF_PACKET",
      ask: askCapture,
      cost: "trace prints TCP states, and no packets",
      fix: "CAP_NET_RAW, or a namespace of your own: unshare -rn",
    },
    ...ringQuestions(),
  ];
}

function option(name: OptionName, constant: string): Pick<Question, "name" | "ask"> {
  const ask = (): Answer => (supported(name) ? ["yes", "getsockopt(2) reads it"] : ["no", "ENOPROTOOPT"]);
  return { name: constant, ask };
}

function listenOn(host: string, family: 4 | 6): Answer {
  return ask(() => {
    using socket = TcpSocket.open(family);
    socket.bind({ family, host, port: 0 });
    return `${host} is an address of this host`;
  });
}

function openMptcp(): Answer {
  return ask(() => {
    TcpSocket.open(4, { mptcp: true }).close();
    return "socket(2) opens one";
  });
}

/** The kernel lets a process trace itself; a filter of system calls does not make that exception. */
function askPidfd(): Answer {
  using socket = TcpSocket.open(4);
  const result = loadNative().localNameOf(process.pid, socket.fd, new Uint8Array(ADDRESS_BYTES));
  return result >= 0 ? ["yes", "reads a socket of this process"] : ["no", errnoName(result)];
}

function askCapture(): Answer {
  return ask(() => {
    using _ = Capture.open(0, 0, 1 << 16);
    return "a socket on lo opens";
  });
}

/** One question for each strategy: each uses other operations of the ring. */
function ringQuestions(): Question[] {
  return (["reuse", "bind", "range", "fresh", "autobind"] satisfies Strategy[]).map((strategy) => ({
    name: `io_uring ${strategy}`,
    ask: () => askRing(strategy),
    cost: `a loop with strategy "${strategy}" takes a system call for each step, and more processor time`,
    fix: RING_FIXES[strategy] ?? `${RING_FIX}, where it is allowed (sysctl kernel.io_uring_disabled=0)`,
  }));
}

const RING_FIX = "Linux 5.19 or later with io_uring";
const RING_FIXES: Readonly<Partial<Record<Strategy, string>>> = {
  fresh: "Linux 6.8 or later with io_uring",
  autobind: "Linux 6.11 or later with io_uring",
};

/** A few attempts to a port of 127.0.0.1 where nothing listens. */
async function askRing(strategy: Strategy): Promise<Answer> {
  const peer = { family: 4, host: "127.0.0.1", port: findFreePort(SERVER_PORTS) } as const;
  try {
    const loop = new ReconnectLoop({
      peer,
      strategy,
      engine: "io_uring",
      attempts: ATTEMPTS,
      durationMs: LONGEST_MS,
    });
    const { socket, engine, engineRefusal } = await loop.run();
    socket?.reset();
    return engine === "io_uring" ? ["yes", "makes attempts"] : ["no", engineRefusal ?? "makes no attempts"];
  } catch (error) {
    return refusal(error);
  }
}

function ask(act: () => string): Answer {
  try {
    return ["yes", act()];
  } catch (error) {
    return refusal(error);
  }
}

/** The kernel's refusal is an answer; what is wrong with this process's limits is none. */
function refusal(error: unknown): Answer {
  if (!(error instanceof SocketError) || EXHAUSTED.includes(error.code)) throw error;
  return ["no", error.code];
}
