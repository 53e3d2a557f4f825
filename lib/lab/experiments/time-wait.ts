/** When a port in TIME-WAIT may be taken again, with tcp_tw_reuse 0. The kernel has no setting for these 60 s. */
import { setTimeout as sleep } from "node:timers/promises";
import { closePlainly } from "../../packets/leavings.ts";
import { bindRefusal } from "../../socket/listen-refusal.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, loopback } from "../instruments.ts";

const EVERY_MS = 100;
const LONGEST_MS = 68_000;
const AT_ONCE_MS = 1000;
/** TCP_TIMEWAIT_LEN. A timer of this length may come late, by an eighth at most: kernel/time/timer.c. */
const LENGTH_MS = 60_000;
const LATEST_MS = 67_500;

const LINUX = [
  "connect() chose it, for its peer: 60 s",
  "for another: at once",
  "bind(): 60 s",
  "bound by name, for connect(): 60 s",
  "bound with SO_REUSEADDR, for bind() with it: at once",
];

export const timeWait: Experiment = {
  name: "time-wait",
  isSlow: true,
  question: "A self-connect was closed, tcp_tw_reuse is 0: when may whom have the port again?",
  expected: (subject) => walkOf(subject) && LINUX.join("; "),
  run: (instruments) =>
    instruments.withSysctl("net.ipv4.tcp_tw_reuse", "0", async () => {
      const requests = await leavePorts(instruments);
      const closedAt = performance.now();
      const afterMs: Record<string, number> = {};
      while (Object.keys(afterMs).length < requests.length && performance.now() - closedAt < LONGEST_MS) {
        for (const [name, isGranted] of requests) {
          if (afterMs[name] === undefined && (await isGranted()))
            afterMs[name] = performance.now() - closedAt;
        }
        await sleep(EVERY_MS);
      }
      const longest = Math.max(...Object.values(afterMs));
      return {
        answer: requests.map(([name]) => `${name}: ${describe(afterMs[name])}`).join("; "),
        figure: `the last after ${(longest / 1000).toFixed(1)} s`,
        counts: Object.fromEntries(Object.entries(afterMs).map(([name, ms]) => [`${name}, ms`, ms])),
      };
    }),
};

/** Who asks for a port, and whether it gets it now. */
type Request = readonly [name: string, isGranted: () => Promise<boolean> | boolean];

/** Each request has a port of its own, because it takes the port when it is granted. */
async function leavePorts(instruments: Instruments): Promise<readonly Request[]> {
  const dead = loopback(instruments.findPortOutside());
  const chosen = [await leave(instruments, "picked"), await leave(instruments, "picked")] as const;
  const plain = await leave(instruments, "picked");
  const bound = await leave(instruments, "bound");
  const reuse = await leave(instruments, "reuse");
  const picks = async (port: number, peer = dead) =>
    (await instruments.pickFrom(port, peer)) !== "EADDRNOTAVAIL";
  return [
    ["connect() chose it, for its peer", () => picks(chosen[0], loopback(chosen[0]))],
    ["for another", () => picks(chosen[1])],
    ["bind()", () => bindRefusal(loopback(plain)) === null],
    ["bound by name, for connect()", () => picks(bound)],
    [
      "bound with SO_REUSEADDR, for bind() with it",
      () => bindRefusal(loopback(reuse), { reuseAddress: true }) === null,
    ],
  ];
}

/** Returns a port that a closed self-connect has left in TIME-WAIT. */
async function leave(instruments: Instruments, way: "picked" | "bound" | "reuse"): Promise<number> {
  const port = instruments.findPort();
  const socket = TcpSocket.open(4, { reuseAddress: way === "reuse" });
  if (way !== "picked") socket.bind(loopback(port));
  await instruments.withPort(port, () => completeConnect(socket, loopback(port)));
  closePlainly(socket);
  return port;
}

function describe(afterMs: number | undefined): string {
  if (afterMs === undefined) return "not within 68 s";
  if (afterMs < AT_ONCE_MS) return "at once";
  return afterMs >= LENGTH_MS - EVERY_MS && afterMs < LATEST_MS ? "60 s" : `${(afterMs / 1000).toFixed(0)} s`;
}
