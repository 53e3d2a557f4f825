/** Answers that are expected of kernels, written from one lab's result and compared with another's. */
import { readFileSync } from "node:fs";
import { checkShape, invalidArgument, textOf } from "../socket/misuse.ts";
import type { LabKernel, LabResult } from "./lab.ts";
import { record, text } from "./transcript.ts";

export const EXPECTATION_SCHEMA = "selfconnect.lab-expect/1";

/** The object of docs/schema/lab-expect-1.json. */
export interface Expectation {
  /** The name and version of the published schema. */
  readonly schema: typeof EXPECTATION_SCHEMA;
  /** With one kernel, its answers are expected of every kernel. */
  readonly kernels: readonly ExpectedKernel[];
}

interface ExpectedKernel {
  readonly id: string;
  /** The answer by the name of the experiment. */
  readonly answers: Readonly<Record<string, string>>;
}

/** One answer that is not the expected one, or that could not be asked for. */
export interface Unexpected {
  /** The kernel that was asked: an id of LabResult.kernels. */
  readonly kernel: string;
  /** Null where the kernel could not be asked at all. */
  readonly experiment: string | null;
  /** The answer that was expected; null if none was. */
  readonly expected: string | null;
  /** Null if there is none. */
  readonly answer: string | null;
  /** Why there is no answer; null if there is one. */
  readonly reason: string | null;
}

/** A result beside what was expected of it. */
export interface Judgement {
  /** How many answers are as expected. */
  readonly asExpected: number;
  /** Answers that differ. */
  readonly differs: readonly Unexpected[];
  /** Questions that a kernel has not answered. */
  readonly unasked: readonly Unexpected[];
}

/** The answers of this result. Throws an Error where there is none. */
export function expectationOf(result: LabResult): Expectation {
  checkResult("expectationOf()", result);
  const kernels = result.kernels.map(({ id }) => ({ id, answers: answersOf(result, id) }));
  const answered = kernels.filter(({ answers }) => Object.keys(answers).length > 0);
  if (answered.length === 0) throw new Error("no kernel gave an answer to expect");
  return { schema: EXPECTATION_SCHEMA, kernels: answered };
}

function answersOf({ findings }: LabResult, id: string): Record<string, string> {
  const ours = findings.filter(({ kernel, answer }) => kernel === id && answer !== undefined);
  return Object.fromEntries(ours.map(({ experiment, answer }) => [experiment, answer!]));
}

/** Reads an expectation from a file. Throws ERR_INVALID_EXPECTATION. */
export function readExpectation(file: string): Expectation {
  // Node aborts where it cannot make a text of the path: an object without a prototype.
  if (typeof file !== "string")
    throw invalidArgument("ERR_INVALID_EXPECTATION", `readExpectation() takes a path, not ${textOf(file)}`);
  try {
    return parseExpectation(readFileSync(file, "utf8"));
  } catch (error) {
    throw invalidArgument("ERR_INVALID_EXPECTATION", `${file}: ${(error as Error).message}`);
  }
}

/** Checks and copies every field. Throws an Error that names what is wrong in one line. */
export function parseExpectation(json: string): Expectation {
  const { schema, kernels } = record(JSON.parse(json), "an expectation");
  if (schema !== EXPECTATION_SCHEMA) throw new Error(`its schema is not ${EXPECTATION_SCHEMA}`);
  if (!Array.isArray(kernels) || kernels.length === 0) throw new Error("it has no kernels");
  return { schema: EXPECTATION_SCHEMA, kernels: kernels.map(checkKernel) };
}

function checkKernel(value: unknown): ExpectedKernel {
  const { id, answers } = record(value, "a kernel");
  const pairs = Object.entries(record(answers, "answers"));
  return {
    id: text(id, "id"),
    answers: Object.fromEntries(pairs.map(([name, answer]) => [name, text(answer, "an answer")])),
  };
}

/** The experiments that an expectation names, in no particular order. */
export function experimentsOf(expectation: Expectation): string[] {
  checkExpectation("experimentsOf()", expectation);
  return [...new Set(expectation.kernels.flatMap(({ answers }) => Object.keys(answers)))];
}

function checkResult(of: string, result: LabResult): void {
  checkShape(`${of} takes what runLab() returned`, result, ["kernels", "findings", "experiments"]);
}

function checkExpectation(of: string, expectation: Expectation): void {
  checkShape(`${of} takes what readExpectation() returned`, expectation, ["schema", "kernels"]);
}

/** Compares a result with an expectation, kernel by kernel and question by question. */
export function judge(result: LabResult, expectation: Expectation): Judgement {
  checkResult("judge()", result);
  checkExpectation("judge()", expectation);
  const judged = result.kernels.flatMap((kernel) => judgeKernel(result, kernel, expectation));
  return {
    asExpected: judged.filter(({ answer, expected }) => answer !== null && answer === expected).length,
    differs: judged.filter(({ answer, expected }) => answer !== null && answer !== expected),
    unasked: judged.filter(({ answer }) => answer === null),
  };
}

function judgeKernel(result: LabResult, kernel: LabKernel, { kernels }: Expectation): Unexpected[] {
  const nothing = { kernel: kernel.id, experiment: null, expected: null, answer: null };
  if (kernel.missing !== null) return [{ ...nothing, reason: kernel.missing }];
  const entry = kernels.find(({ id }) => id === kernel.id) ?? (kernels.length === 1 ? kernels[0] : undefined);
  if (!entry) return [{ ...nothing, reason: "nothing is expected of this kernel" }];
  const asked = result.experiments.filter(({ name }) => entry.answers[name] !== undefined);
  return asked.map(({ name }) => {
    const finding = result.findings.find((one) => one.kernel === kernel.id && one.experiment === name);
    const answer = finding?.answer ?? null;
    const reason = answer === null ? (finding?.note ?? "not asked") : null;
    return { kernel: kernel.id, experiment: name, expected: entry.answers[name]!, answer, reason };
  });
}
