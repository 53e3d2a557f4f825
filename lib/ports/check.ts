/** Tests a prediction with real self-connects. */
import type { TestResult } from "../loop/statistics.ts";
import { goodnessOfFit } from "../loop/statistics.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { Wait } from "./model.ts";
import { FULL_SPEED } from "./model.ts";
import type { Prediction } from "./predict.ts";
import type { MeasuredWait } from "./waits.ts";
import { measureWaits } from "./waits.ts";

/** The options of checkPrediction(). */
export interface PredictionCheckOptions {
  /** How many self-connects to cause: at least 10, because the test needs so many. */
  readonly trials: number;
  readonly signal?: AbortSignal;
  readonly onTrial?: (done: readonly MeasuredWait[]) => void;
}

/** The measured waits, the predicted wait, and the test that compares them. */
export interface PredictionCheck {
  readonly trials: readonly MeasuredWait[];
  /** The mean pace of the trials. */
  readonly attemptsPerSecond: number;
  /** The predicted wait at that pace. */
  readonly wait: Wait;
  readonly test: TestResult;
  /** Whether p is at least 0.01. A right model fails one check in a hundred. */
  readonly holds: boolean;
}

const LEAST_P = 0.01;
/** The test's approximation is poor with fewer trials. */
const FEWEST_TRIALS = 10;

/**
 * connect(2): causes real self-connects, each to a different port, and tests the prediction at their pace. Throws
 * ERR_TOO_FEW_TRIALS for fewer than 10.
 */
export async function checkPrediction(
  prediction: Prediction,
  { trials: asked, signal, onTrial }: PredictionCheckOptions,
): Promise<PredictionCheck> {
  if (asked < FEWEST_TRIALS) {
    const message = `trials ${asked} are too few to test a prediction: use at least ${FEWEST_TRIALS}`;
    throw invalidArgument("ERR_TOO_FEW_TRIALS", message);
  }
  const { host, family } = prediction.peer;
  const trials = await measureWaits({
    host,
    family,
    method: prediction.method,
    count: asked,
    ...(signal && { signal }),
    ...(onTrial && { onWait: onTrial }),
  });
  const attempts = trials.map((trial) => trial.attempts);
  const elapsedMs = sum(trials.map((trial) => trial.elapsedMs));
  const attemptsPerSecond = elapsedMs > 0 ? (sum(attempts) * 1000) / elapsedMs : FULL_SPEED;
  const wait = prediction.wait(attemptsPerSecond)!;
  const test = goodnessOfFit(attempts, wait.cdf);
  return { trials, attemptsPerSecond, wait, test, holds: test.p >= LEAST_P };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
