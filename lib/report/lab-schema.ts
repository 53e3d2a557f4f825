/** Results that come from a file: checked field by field before anything is made of them. */
import type { MachineName } from "../lab/experiment.ts";
import type { Finding, LabKernel, LabResult } from "../lab/lab.ts";
import { LAB_SCHEMA } from "../lab/lab.ts";
import { checkEnvironment, checkFinding, number, record, text } from "../lab/transcript.ts";

const MACHINES: readonly MachineName[] = ["host", "qemu", "uml", "gvisor"];
const MOST_ROWS = 10_000;

/** A lab's results from JSON text. Throws what is wrong with it, in one line. */
export function parseLabResult(json: string): LabResult {
  const told = record(JSON.parse(json), "a lab's result");
  if (told.schema !== LAB_SCHEMA) throw new Error(`its schema is not ${LAB_SCHEMA}`);
  return {
    schema: LAB_SCHEMA,
    startedAt: text(told.startedAt, "startedAt"),
    endedAt: told.endedAt === null ? null : text(told.endedAt, "endedAt"),
    command: text(told.command, "command"),
    version: text(told.version, "version"),
    commit: told.commit === null ? null : text(told.commit, "commit"),
    trials: number(told.trials, "trials"),
    experiments: list(told.experiments, "experiments").map(checkExperiment),
    kernels: list(told.kernels, "kernels").map(checkKernel),
    findings: list(told.findings, "findings").map(checkCell),
  };
}

function checkExperiment(value: unknown): { name: string; question: string } {
  const { name, question } = record(value, "an experiment");
  return { name: text(name, "name"), question: text(question, "question") };
}

function checkKernel(value: unknown): LabKernel {
  const told = record(value, "a kernel");
  const machine = MACHINES.find((name) => name === told.machine);
  if (!machine) throw new Error("a kernel has no known machine");
  return {
    id: text(told.id, "id"),
    machine,
    isEmulated: told.isEmulated === true,
    missing: told.missing === null ? null : text(told.missing, "missing"),
    environment: told.environment === null ? null : checkEnvironment(told.environment),
  };
}

function checkCell(value: unknown): Finding {
  const told = record(value, "a finding");
  const isDead = told.status === "died";
  const finding = checkFinding(isDead ? { ...told, status: "failed" } : told);
  return {
    kernel: text(told.kernel, "kernel"),
    ...finding,
    status: isDead ? "died" : finding.status,
    expected: told.expected === null ? null : text(told.expected, "expected"),
    isAsExpected: typeof told.isAsExpected === "boolean" ? told.isAsExpected : null,
  };
}

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value) && value.length <= MOST_ROWS) return value;
  throw new Error(`${name} is no list`);
}
