/** io_uring(7): whether the kernel makes connects by it, and whether they are refused and joined as others are. */
import { SocketError } from "../../socket/errors.ts";
import type { Strategy } from "../../socket/strategy.ts";
import { STRATEGIES } from "../../socket/strategy.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { groupByWord, loopback, RANGE } from "../instruments.ts";
import { lackOfPortRange } from "../option-state.ts";

/** Times the ports of one parity: the longest of a million trials is shorter on every known walk. */
const ATTEMPTS_PER_PORT = 12;
/** Two chains of linked connects. */
const REFUSALS = 64;

export const ioUring: Experiment = {
  name: "io-uring",
  isSlow: true,
  question:
    "IORING_OP_CONNECT: is it refused as connect(2) is, and with which strategies does it self-connect?",
  // Not known in advance: a kernel may be built without io_uring, and a host may forbid it.
  expected: () => null,
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    return instruments.withRange(RANGE, async () => {
      // Connects to a port outside the range cannot be joined to themselves.
      const refused = await nameLack(async () => {
        const peer = loopback(instruments.findPortOutside());
        const { outcomes } = await instruments.runLoop(peer, "reuse", REFUSALS, "io_uring");
        return Object.keys(outcomes).sort().join(", ");
      });
      if (typeof refused !== "string") return { answer: refused.lack, counts: {} };
      const words = new Map<Strategy, string>();
      const counts: Record<string, number> = { refusals: REFUSALS };
      for (const strategy of STRATEGIES) {
        if (strategy === "range" && lack !== null) {
          words.set(strategy, lack);
          continue;
        }
        const found = await nameLack(() => joinByRing(instruments, strategy));
        words.set(strategy, "lack" in found ? found.lack : found.verdict);
        if (!("lack" in found)) counts[`${strategy} attempts`] = found.attempts;
      }
      return { answer: `refusals: ${refused}; ${groupByWord(words)}`, counts };
    });
  },
};

/** A reconnect loop whose attempts are all made by io_uring; "reuse" makes them in chains of linked connects. */
async function joinByRing(
  instruments: Instruments,
  strategy: Strategy,
): Promise<{ verdict: string; attempts: number }> {
  const port = instruments.findPort(strategy === "autobind" ? "other" : "low");
  const most = ATTEMPTS_PER_PORT * instruments.portsOfParity;
  const { verdict, attempts } = await instruments.runLoop(loopback(port), strategy, most, "io_uring");
  return { verdict, attempts };
}

/** What the call returns; or why this kernel makes no such attempts by io_uring. */
async function nameLack<T>(call: () => Promise<T>): Promise<T | { lack: string }> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof SocketError) || !error.syscall.startsWith("io_uring")) throw error;
    const { code } = error;
    if (code === "ENOTSUP") return { lack: LACKS_OPERATIONS };
    return { lack: code === "ENOSYS" ? ABSENT : `forbidden: ${code}` };
  }
}

/** The ring needs IORING_OP_SOCKET (5.19); "fresh" FIXED_FD_INSTALL (6.8) and "autobind" IORING_OP_BIND (6.11) too. */
const LACKS_OPERATIONS = "needs operations that this kernel lacks";
