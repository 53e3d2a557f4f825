/** Tests a prediction with real self-connects. */
import { setImmediate as turn } from "node:timers/promises";
import type { TestResult } from "../loop/statistics.ts";
import { goodnessOfFit } from "../loop/statistics.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { checkArray, checkKeys, checkShape, invalidArgument } from "../socket/misuse.ts";
import type { Wait } from "./model.ts";
import { FULL_SPEED, waitFor } from "./model.ts";
import { modelFacts } from "./never.ts";
import type { Prediction } from "./predict.ts";
import { PICKS_PER_TURN } from "./sample.ts";
import type { MeasuredWait } from "./waits.ts";
import { measureWaits, pickerOf } from "./waits.ts";

/** The options of checkPrediction(). */
export interface PredictionCheckOptions {
  /** How many self-connects to cause: at least 10, because the test needs so many. */
  readonly trials: number;
  /** Ends the check when it aborts; what was measured so far is the result. */
  readonly signal?: AbortSignal;
  /** Called after each self-connect with all so far. */
  readonly onTrial?: (done: readonly MeasuredWait[]) => void;
  /** A source of numbers from 0 to 1 for the choice of ports; default Math.random. */
  readonly random?: () => number;
}

/** Waits beside the distribution that a prediction has for their ports and pace. */
export interface WaitTest {
  /** The mean pace of the trials. */
  readonly attemptsPerSecond: number;
  /** The predicted wait at that pace: the mean over the ports of the trials, which differ where ports are unusable. */
  readonly wait: Wait;
  /** Compares the attempts of the trials with the predicted distribution. */
  readonly test: TestResult;
}

/** The measured waits, the predicted wait, and the test that compares them. */
export interface PredictionCheck extends WaitTest {
  /** The self-connects that were caused, in order. */
  readonly trials: readonly MeasuredWait[];
  /** How many were asked for; fewer were made when one did not end, or the time was up. */
  readonly asked: number;
  /** Whether p is at least 0.01, and no trial is missing. A right model fails one check in a hundred. */
  readonly holds: boolean;
}

const LEAST_P = 0.01;
const NOTHING_TESTED: TestResult = { statistic: 0, p: 1 };
/** The test's approximation is poor with fewer trials. */
const FEWEST_TRIALS = 10;

/**
 * connect(2): causes real self-connects, each from a random start, and tests the prediction at their pace. Throws
 * ERR_TOO_FEW_TRIALS for fewer than 10.
 */
export async function checkPrediction(
  prediction: Prediction,
  options: PredictionCheckOptions,
): Promise<PredictionCheck> {
  checkPredictionShape("checkPrediction()", prediction);
  checkKeys("checkPrediction()", options, ["trials", "signal", "onTrial", "random"]);
  const { trials: asked, signal, onTrial, random = Math.random } = options;
  if (!Number.isInteger(asked) || asked < FEWEST_TRIALS) {
    const message = `trials ${asked} are too few to test a prediction: use at least ${FEWEST_TRIALS}`;
    throw invalidArgument("ERR_TOO_FEW_TRIALS", message);
  }
  const { algorithm, method, situation } = prediction;
  const { host, family } = prediction.peer;
  const trials = await measureWaits({
    host,
    family,
    method,
    algorithm,
    situation,
    count: asked,
    random,
    ...(signal && { signal }),
    ...(onTrial && { onWait: onTrial }),
  });
  const tested = testWaits(prediction, trials, random);
  const holds = trials.length === asked && tested.test.p >= LEAST_P;
  return { trials, asked, ...tested, holds };
}

/**
 * Tests waits against the exact distribution of a prediction: those that began at random places, each on a port of its
 * own, as measureWaits() and planColdStarts() make them. The test is good from about ten waits. Makes no connection.
 * The prediction is one that may come true: its `never` is null.
 */
export function testWaits(
  prediction: Prediction,
  trials: readonly MeasuredWait[],
  random: () => number = Math.random,
): WaitTest {
  checkPredictionShape("testWaits()", prediction);
  checkArray("testWaits() takes what measureWaits() returned", trials, ["port", "attempts", "elapsedMs"]);
  const elapsedMs = sum(trials.map((trial) => trial.elapsedMs));
  const attemptsPerSecond =
    elapsedMs > 0 ? (sum(trials.map((trial) => trial.attempts)) * 1000) / elapsedMs : FULL_SPEED;
  const waitAt = waitsByPort(prediction, attemptsPerSecond);
  const test =
    trials.length === 0 ? NOTHING_TESTED : goodnessOfFit(shares(trials, waitAt, random), (share) => share);
  const wait = meanWait(
    trials.length > 0 ? trials.map(({ port }) => waitAt(port)) : [waitAt(prediction.peer.port)],
  );
  return { attemptsPerSecond, wait, test };
}

function checkPredictionShape(of: string, prediction: Prediction): void {
  checkShape(`${of} takes what predict() returned`, prediction, ["peer", "method", "algorithm", "situation"]);
}

/** Attempts that were predicted never to end in a self-connect. */
export interface NeverCheck {
  /** How many connects were made. */
  readonly attempts: number;
  /** How many of them were joined to themselves: 0 when "never" is right. */
  readonly selfConnects: number;
}

/** A walk makes a lap of any range in fewer attempts than this. */
const NEVER_ATTEMPTS = 20_000;

/**
 * connect(2): tests "never" with attempts at the peer, at most 20,000. Returns null, and makes none, where the peer is
 * not a dead port of this host: so many connections would disturb a server at work.
 */
export async function checkNever(prediction: Prediction, signal?: AbortSignal): Promise<NeverCheck | null> {
  checkPredictionShape("checkNever()", prediction);
  const { peer, never, method, situation } = prediction;
  if (never?.reason === "other-host" || listenRefusal(peer) !== null) return null;
  const pick = pickerOf(method, situation);
  let [attempts, selfConnects] = [0, 0];
  while (attempts < NEVER_ATTEMPTS && !signal?.aborted) {
    if (pick(peer).isSelfConnect) selfConnects++;
    attempts++;
    if (attempts % PICKS_PER_TURN === 0) await turn();
  }
  return { attempts, selfConnects };
}

/** The predicted wait of each port. Where every port is usable, one is as good as another. */
function waitsByPort(prediction: Prediction, attemptsPerSecond: number): (port: number) => Wait {
  const { algorithm, situation, peer } = prediction;
  const compute = (port: number) => waitFor(algorithm, modelFacts(situation, port)!, port, attemptsPerSecond);
  const isEven = modelFacts(situation, 0)!.unusable.length === 0 && !situation.reuseAddress;
  const waits = new Map<number, Wait>();
  return (port) => {
    const key = isEven ? peer.port : port;
    const wait = waits.get(key) ?? compute(key);
    waits.set(key, wait);
    return wait;
  };
}

/**
 * For each trial the probability of a shorter wait. If the prediction is right, these are spread evenly from 0 to 1,
 * whatever the ports; a wait is a whole number of attempts, so its probability is a step, and a random point on it is
 * taken.
 */
function shares(
  trials: readonly MeasuredWait[],
  waitAt: (port: number) => Wait,
  random: () => number,
): number[] {
  return trials.map(({ port, attempts }) => {
    const wait = waitAt(port);
    const before = wait.cdf(attempts - 1);
    return before + random() * (wait.cdf(attempts) - before);
  });
}

/** The wait of a trial of which it is not known which port it has. */
function meanWait(waits: readonly Wait[]): Wait {
  const kinds = [...new Set(waits)];
  if (kinds.length === 1) return kinds[0]!;
  const mean = (of: (wait: Wait) => number) => sum(waits.map(of)) / waits.length;
  const cdf = (attempts: number) => mean((wait) => wait.cdf(attempts));
  return {
    chancePerAttempt: mean((wait) => wait.chancePerAttempt),
    mean: mean((wait) => wait.mean),
    cdf,
    quantile(chance) {
      let [below, above] = [0, 1];
      while (cdf(above) < chance) [below, above] = [above, above * 2];
      while (above - below > 1) {
        const middle = Math.floor((below + above) / 2);
        if (cdf(middle) < chance) below = middle;
        else above = middle;
      }
      return above;
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
