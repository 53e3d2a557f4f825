/** A prediction held against real self-connects. */
import type { TestResult } from "../loop/statistics.ts";
import { goodnessOfFit } from "../loop/statistics.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { Wait } from "./model.ts";
import type { Prediction } from "./predict.ts";
import type { MeasuredWait } from "./waits.ts";
import { measureWaits } from "./waits.ts";

/** How many self-connects to test a prediction with. */
export interface PredictionCheckOptions {
  /** How many self-connects: at least 10, for the test says nothing about fewer. */
  readonly trials: number;
  readonly signal?: AbortSignal;
  readonly onTrial?: (done: readonly MeasuredWait[]) => void;
}

/** Real waits beside the predicted ones, and the test of the one by the other. */
export interface PredictionCheck {
  readonly trials: readonly MeasuredWait[];
  /** The pace that the trials had. */
  readonly attemptsPerSecond: number;
  /** What is predicted at that pace. */
  readonly wait: Wait;
  readonly test: TestResult;
  /** A right model is found wrong by one check in a hundred. */
  readonly holds: boolean;
}

const LEAST_P = 0.01;
/** The fewest trials that the test's approximation is good for. */
const FEWEST_TRIALS = 10;
/** Stands for the pace where no trial has shown one. */
const FULL_SPEED = 50_000;

/** Makes real self-connects, each towards a port of its own, and tests the prediction at the pace that they had. */
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
