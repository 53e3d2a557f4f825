/** Results of every command that measures, in one shape: what is compared, and rendered as a table. */
import { LAB_SCHEMA } from "../lab/lab.ts";
import { number, record, text } from "../lab/transcript.ts";
import { nearest } from "../socket/misuse.ts";
import type { ResultRow } from "./result-rows.ts";
import { RESULT_KINDS } from "./result-rows.ts";

/** A command whose result can be a file. */
export type ResultKind = keyof typeof RESULT_KINDS;

/** Where a result was measured. */
export interface ResultHost {
  /** uname(2): the release. */
  readonly kernel: string;
  /** process.arch: "x64". */
  readonly architecture: string;
  /** How many processors the process could use. */
  readonly cpus: number;
  /** The model of the processor; "" where it is not known. */
  readonly processor: string;
  /** The version of Node. */
  readonly node: string;
  /** The version of this package. */
  readonly version: string;
}

/** A result in the shape that all kinds share. */
export interface MeasuredResult {
  /** The command that measured it. */
  readonly kind: ResultKind;
  /** What people call it: the name of its file. */
  readonly from: string;
  /** Null for a lab, whose kernels are hosts of their own. */
  readonly host: ResultHost | null;
  /** What was asked, by name: results with other settings are compared, and it is said. */
  readonly settings: Readonly<Record<string, string>>;
  /** What was measured. */
  readonly rows: readonly ResultRow[];
}

/**
 * Parses an object of --json, as --output writes it. Throws an Error that names what is wrong in one line: where this
 * release does not read its schema, that schema and those that it reads.
 */
export function parseResult(from: string, json: string): MeasuredResult {
  return measuredResult(from, record(JSON.parse(json), "a result"));
}

/** The shared shape of an object of --json. Throws as parseResult() does. */
export function measuredResult(from: string, report: object): MeasuredResult {
  const fields = record(report, "a result");
  const kind = kindOf(fields.schema);
  const { settings, rows } = RESULT_KINDS[kind](fields);
  return { kind, from, host: kind === "lab" ? null : checkHost(fields.environment), settings, rows };
}

function kindOf(schema: unknown): ResultKind {
  const kinds = Object.keys(RESULT_KINDS) as ResultKind[];
  const found = kinds.find((kind) => schema === schemaOf(kind));
  if (found) return found;
  const given = typeof schema === "string" ? JSON.stringify(schema.slice(0, 80)) : "none";
  const [, name = ""] = /^selfconnect\.([\w-]+)\//.exec(typeof schema === "string" ? schema : "") ?? [];
  const meant = kinds.find((kind) => kind === name) ?? nearest(name, kinds);
  const readable = meant ? schemaOf(meant as ResultKind) : kinds.map(schemaOf).join(", ");
  throw new Error(`its schema is ${given}; this release reads ${readable}`);
}

/** "selfconnect.bench/1". */
export function schemaOf(kind: ResultKind): string {
  return kind === "lab" ? LAB_SCHEMA : `selfconnect.${kind}/1`;
}

function checkHost(value: unknown): ResultHost {
  const given = record(value, "environment");
  return {
    kernel: text(given.kernel, "kernel"),
    architecture: text(given.architecture, "architecture"),
    cpus: number(given.cpus, "cpus"),
    processor: given.processor === undefined ? "" : text(given.processor, "processor"),
    node: text(given.node, "node"),
    version: text(given.version, "version"),
  };
}

/** "Linux 6.18.44 x64, 2 CPUs (AMD EPYC), Node v20.20.2". */
export function hostText({ host }: MeasuredResult): string {
  if (!host) return "";
  const model = host.processor === "" ? "" : ` (${host.processor})`;
  const cpus = `${host.cpus} ${host.cpus === 1 ? "CPU" : "CPUs"}${model}`;
  return `Linux ${host.kernel} ${host.architecture}, ${cpus}, Node ${host.node}`;
}
