/** Cold starts: trials whose walks begin at random places, because each has a peer's port of its own. */
import type { Address } from "../socket/address.ts";
import { checkAddress } from "../socket/address.ts";
import { checkCallbacks, invalidArgument, textOf } from "../socket/misuse.ts";
import type { Strategy } from "../socket/strategy.ts";
import { checkStrategyName } from "../socket/strategy.ts";
import { pickablePorts } from "./chain.ts";
import type { PortSituation } from "./held.ts";
import { checkSituation } from "./held.ts";
import { modelFacts } from "./never.ts";
import type { Prediction } from "./predict.ts";
import { METHOD_OF, predict } from "./predict.ts";
import { shuffle } from "./waits.ts";

/** The peers of trials that begin cold, and what is predicted of them. */
export interface ColdStarts {
  /** The waits that are predicted. */
  readonly prediction: Prediction;
  /** The peer that was asked for, then others of its host in a random order: one for each trial. */
  readonly peers: readonly Address[];
}

/**
 * getsockname(2) after connect(2) or bind(2): observes how this host picks ports, and chooses ports of the peer's host
 * that a loop of this strategy can hit. Linux has a walk for each peer's port, which begins at a random place: a trial
 * that connects to the port of an earlier one would begin where that one ended. Rejects with ERR_TOO_FEW_PORTS where
 * there are less than `count`, with ERR_UNKNOWN_STRATEGY, ERR_OUT_OF_RANGE, and as predict() does.
 */
export async function planColdStarts(
  asked: Address,
  strategy: Strategy,
  situation: PortSituation,
  count: number,
  random: () => number = Math.random,
): Promise<ColdStarts> {
  const peer = checkAddress(asked);
  checkStrategyName(strategy);
  checkSituation(situation);
  checkCallbacks({ random }, ["random"]);
  if (!Number.isInteger(count) || count < 1) {
    const message = `${textOf(count)} is not a count of cold starts: use 1 or more`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  const prediction = await predict({ peer, method: METHOD_OF[strategy], facts: situation });
  const facts = modelFacts(situation, 0);
  const isPossible = prediction.never === null && facts !== null;
  const ports = isPossible ? [...pickablePorts(prediction.algorithm, facts)] : [];
  const others = ports.filter((port) => port !== peer.port);
  if (isPossible && others.length + 1 < count) {
    const message = `${count} cold starts need as many ports, and only ${others.length + 1} can be hit here`;
    throw invalidArgument("ERR_TOO_FEW_PORTS", message, RangeError);
  }
  return { prediction, peers: [peer, ...shuffle(others, random).map((port) => ({ ...peer, port }))] };
}
