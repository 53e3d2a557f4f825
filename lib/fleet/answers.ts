/** What a worker does for an order: one experiment in a guest of its host, or one audit. Nothing else. */
import { randomBytes } from "node:crypto";
import { audit } from "../audit/audit.ts";
import type { Ending } from "../lab/machine.ts";
import { runGuest } from "../lab/machine.ts";
import { hostMachine } from "../lab/machines/host.ts";
import type { GuestEnvironment, GuestFinding } from "../lab/transcript.ts";
import { auditAnswer } from "./audit-answer.ts";
import type { Order, Reply } from "./order.ts";

/** Answers an order that was checked. */
export type AnswerOrder = (order: Order, signal: AbortSignal) => Promise<Reply>;

/** A guest that dies is started once more, as in a lab. */
const MOST_GUESTS = 2;

export const answerOrder: AnswerOrder = async (order, signal) => {
  if (order.kind === "experiment") return runExperiment(order.experiment, order.trials, signal);
  const ports = order.ports.length > 0 ? { ports: order.ports } : {};
  return { kind: "audit", audit: auditAnswer(await audit(ports)) };
};

async function runExperiment(experiment: string, trials: number, signal: AbortSignal): Promise<Reply> {
  let environment: GuestEnvironment | null = null;
  let finding: GuestFinding | null = null;
  let ending: Ending = null;
  for (let guests = 0; guests < MOST_GUESTS && !finding; guests++) {
    const task = {
      nonce: randomBytes(8).toString("hex"),
      machine: "host" as const,
      experiments: [experiment],
      trials,
    };
    ending = await runGuest(
      hostMachine(),
      task,
      (message) => {
        if (message.kind === "hello") environment = message.environment;
        if (message.kind === "finding") finding = message.finding;
      },
      { signal },
    );
  }
  if (!environment) return { kind: "refused", why: `its guest sent nothing: ${ending ?? "it ended"}` };
  const note = (ending ?? "it ended without an answer").slice(0, 300);
  return {
    kind: "finding",
    environment,
    finding: finding ?? { experiment, status: "died", note, counts: {}, elapsedMs: 0 },
  };
}
