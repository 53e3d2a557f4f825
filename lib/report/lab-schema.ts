/** Reads lab results from a file: checks and copies every field before anything is rendered. */
import type { Finding, LabKernel, LabResult } from "../lab/lab.ts";
import { LAB_SCHEMA } from "../lab/lab.ts";
import { checkEnvironment, checkFinding, checkSysctls, number, record, text } from "../lab/transcript.ts";

const MACHINES: readonly LabKernel["machine"][] = ["host", "qemu", "uml", "gvisor", "ssh", "worker"];
/** Enough for the quick questions to ten thousand hosts. */
const MOST_ROWS = 500_000;

/** Parses a lab's results. Throws an Error that names what is wrong in one line. */
export function parseLabResult(json: string): LabResult {
  return parseLabObject(record(JSON.parse(json), "a lab's result"));
}

/** parseLabResult() of what JSON.parse() returned. */
export function parseLabObject(result: Readonly<Record<string, unknown>>): LabResult {
  if (result.schema !== LAB_SCHEMA) throw new Error(`its schema is not ${LAB_SCHEMA}`);
  return {
    schema: LAB_SCHEMA,
    startedAt: text(result.startedAt, "startedAt"),
    endedAt: result.endedAt === null ? null : text(result.endedAt, "endedAt"),
    command: text(result.command, "command"),
    version: text(result.version, "version"),
    commit: result.commit === null ? null : text(result.commit, "commit"),
    ...(result.run !== undefined && { run: text(result.run, "run") }),
    trials: number(result.trials, "trials"),
    experiments: list(result.experiments, "experiments").map(checkExperiment),
    kernels: list(result.kernels, "kernels").map(checkKernel),
    findings: list(result.findings, "findings").map(checkCell),
  };
}

function checkExperiment(value: unknown): { name: string; question: string } {
  const { name, question } = record(value, "an experiment");
  return { name: text(name, "name"), question: text(question, "question") };
}

function checkKernel(value: unknown): LabKernel {
  const kernel = record(value, "a kernel");
  const machine = MACHINES.find((name) => name === kernel.machine);
  if (!machine) throw new Error("the machine of a kernel is unknown");
  return {
    id: text(kernel.id, "id"),
    machine,
    ...(kernel.sysctls !== undefined && { sysctls: checkSysctls(kernel.sysctls) }),
    isEmulated: kernel.isEmulated === true,
    missing: kernel.missing === null ? null : text(kernel.missing, "missing"),
    environment: kernel.environment === null ? null : checkEnvironment(kernel.environment),
  };
}

function checkCell(value: unknown): Finding {
  const fields = record(value, "a finding");
  const isDead = fields.status === "died";
  const finding = checkFinding(isDead ? { ...fields, status: "failed" } : fields);
  return {
    kernel: text(fields.kernel, "kernel"),
    ...finding,
    status: isDead ? "died" : finding.status,
    expected: fields.expected === null ? null : text(fields.expected, "expected"),
    isAsExpected: typeof fields.isAsExpected === "boolean" ? fields.isAsExpected : null,
  };
}

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value) && value.length <= MOST_ROWS) return value;
  throw new Error(`${name} is not a list`);
}
