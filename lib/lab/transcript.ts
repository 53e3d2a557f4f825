/** What a guest says: one message a line, marked, with a digest. All of it is checked: a guest is not trusted. */
import { createHash } from "node:crypto";
import type { Samples } from "./experiment.ts";

export interface GuestEnvironment {
  readonly kernel: string;
  /** The upstream version, as far as the kernel tells. */
  readonly upstream: string;
  readonly architecture: string;
  readonly cpus: number;
  readonly node: string;
  readonly version: string;
  readonly ephemeralRange: string;
  readonly sysctls: Readonly<Record<string, string>>;
}

/** How the run of one experiment ended inside a guest. */
export interface GuestFinding {
  readonly experiment: string;
  readonly status: "answered" | "not-here" | "failed";
  /** What is compared; absent unless answered. */
  readonly answer?: string;
  readonly figure?: string;
  /** Why there is no answer. */
  readonly note?: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly samples?: Samples;
  readonly elapsedMs: number;
}

export type Message =
  | { readonly kind: "hello"; readonly environment: GuestEnvironment }
  | { readonly kind: "begin"; readonly experiment: string }
  | { readonly kind: "finding"; readonly finding: GuestFinding }
  | { readonly kind: "end" };

const MARK = "@selfconnect";
const DIGEST_CHARACTERS = 16;
const MOST_CHARACTERS = 500;
const MOST_COUNTS = 100;
const MOST_SAMPLES = 2000;
const MOST_LINE_BYTES = 200_000;

/** A message as a line. The nonce is the reader's: what was printed before, or by others, has another. */
export function writeMessage(message: Message, nonce: string): string {
  const json = JSON.stringify(message);
  return `${MARK} ${nonce} ${digest(json, nonce)} ${json}`;
}

/** The message in a line; null where there is none; throws where there is one that is broken or lies. */
export function readMessage(line: string, nonce: string): Message | null {
  const at = line.indexOf(`${MARK} ${nonce} `);
  if (at < 0) return null;
  if (line.length > MOST_LINE_BYTES) throw new Error("a line of the guest is too long");
  const [, , told = "", ...rest] = line.slice(at).trimEnd().split(" ");
  const json = rest.join(" ");
  if (told !== digest(json, nonce)) throw new Error("a line of the guest is damaged");
  return checkMessage(JSON.parse(json));
}

/** A message from outside, checked field by field and copied: nothing else passes. */
export function checkMessage(value: unknown): Message {
  const message = record(value, "a message");
  switch (message.kind) {
    case "hello":
      return { kind: "hello", environment: checkEnvironment(message.environment) };
    case "begin":
      return { kind: "begin", experiment: text(message.experiment, "experiment") };
    case "finding":
      return { kind: "finding", finding: checkFinding(message.finding) };
    case "end":
      return { kind: "end" };
    default:
      throw new Error("a message of the guest has no known kind");
  }
}

export function checkEnvironment(value: unknown): GuestEnvironment {
  const told = record(value, "environment");
  const sysctls = Object.entries(record(told.sysctls, "sysctls")).slice(0, MOST_COUNTS);
  return {
    kernel: text(told.kernel, "kernel"),
    upstream: text(told.upstream, "upstream"),
    architecture: text(told.architecture, "architecture"),
    cpus: number(told.cpus, "cpus"),
    node: text(told.node, "node"),
    version: text(told.version, "version"),
    ephemeralRange: text(told.ephemeralRange, "ephemeralRange"),
    sysctls: Object.fromEntries(sysctls.map(([name, set]) => [text(name, "sysctl"), text(set, "sysctl")])),
  };
}

export function checkFinding(value: unknown): GuestFinding {
  const told = record(value, "finding");
  const { status } = told;
  if (status !== "answered" && status !== "not-here" && status !== "failed") {
    throw new Error("a finding has no known status");
  }
  if (status === "answered") text(told.answer, "answer");
  const counts = Object.entries(record(told.counts, "counts"));
  if (counts.length > MOST_COUNTS) throw new Error("a finding has too many counts");
  return {
    experiment: text(told.experiment, "experiment"),
    status,
    ...(told.answer !== undefined && { answer: text(told.answer, "answer") }),
    ...(told.figure !== undefined && { figure: text(told.figure, "figure") }),
    ...(told.note !== undefined && { note: text(told.note, "note") }),
    counts: Object.fromEntries(counts.map(([name, count]) => [text(name, "count"), number(count, name)])),
    ...(told.samples !== undefined && { samples: checkSamples(told.samples) }),
    elapsedMs: number(told.elapsedMs, "elapsedMs"),
  };
}

function checkSamples(value: unknown): Samples {
  const { plot, unit, values } = record(value, "samples");
  if (plot !== "distribution" && plot !== "steps" && plot !== "walk")
    throw new Error("samples have no known plot");
  if (!Array.isArray(values) || values.length > MOST_SAMPLES) throw new Error("samples are no short list");
  return { plot, unit: text(unit, "unit"), values: values.map((one) => number(one, "sample")) };
}

export function record(value: unknown, name: string): Record<string, unknown> {
  if (value !== null && typeof value === "object" && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error(`${name} is no object`);
}

export function text(value: unknown, name: string): string {
  if (typeof value === "string" && value.length <= MOST_CHARACTERS) return value;
  throw new Error(`${name} is no short text`);
}

export function number(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new Error(`${name} is no number`);
}

function digest(json: string, nonce: string): string {
  return createHash("sha256").update(nonce).update(json).digest("hex").slice(0, DIGEST_CHARACTERS);
}
