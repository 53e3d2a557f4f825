/** A guest's messages: one a line, with a mark and a digest. Everything is checked, because a guest is not trusted. */
import { createHash } from "node:crypto";
import type { Samples } from "./experiment.ts";

export interface GuestEnvironment {
  readonly kernel: string;
  /** The upstream version, as far as the kernel reports it. */
  readonly upstream: string;
  readonly architecture: string;
  readonly cpus: number;
  /** Absent in results of versions that did not ask. */
  readonly hasIpv6?: boolean;
  readonly node: string;
  readonly version: string;
  readonly ephemeralRange: string;
  readonly sysctls: Readonly<Record<string, string>>;
}

/** How the run of one experiment ended inside a guest. */
export interface GuestFinding {
  readonly experiment: string;
  readonly status: "answered" | "not-here" | "failed";
  /** Absent unless `status` is "answered". */
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

/** Encodes a message as a line. The reader chose the nonce, so older lines and those of others have a different one. */
export function writeMessage(message: Message, nonce: string): string {
  const json = JSON.stringify(message);
  return `${MARK} ${nonce} ${digest(json, nonce)} ${json}`;
}

/** Returns the message in a line, or null if there is none. Throws if the message is damaged or invalid. */
export function readMessage(line: string, nonce: string): Message | null {
  const at = line.indexOf(`${MARK} ${nonce} `);
  if (at < 0) return null;
  if (line.length > MOST_LINE_BYTES) throw new Error("a line of the guest is too long");
  const [, , sent = "", ...rest] = line.slice(at).trimEnd().split(" ");
  const json = rest.join(" ");
  if (sent !== digest(json, nonce)) throw new Error("a line of the guest is damaged");
  return checkMessage(JSON.parse(json));
}

/** Checks a message from outside field by field, and returns a copy with the known fields only. */
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
      throw new Error("a message of the guest has an unknown kind");
  }
}

export function checkEnvironment(value: unknown): GuestEnvironment {
  const given = record(value, "environment");
  return {
    kernel: text(given.kernel, "kernel"),
    upstream: text(given.upstream, "upstream"),
    architecture: text(given.architecture, "architecture"),
    cpus: number(given.cpus, "cpus"),
    ...(given.hasIpv6 !== undefined && { hasIpv6: given.hasIpv6 === true }),
    node: text(given.node, "node"),
    version: text(given.version, "version"),
    ephemeralRange: text(given.ephemeralRange, "ephemeralRange"),
    sysctls: checkSysctls(given.sysctls),
  };
}

export function checkSysctls(value: unknown): Record<string, string> {
  const sysctls = Object.entries(record(value, "sysctls")).slice(0, MOST_COUNTS);
  return Object.fromEntries(sysctls.map(([name, set]) => [text(name, "sysctl"), text(set, "sysctl")]));
}

export function checkFinding(value: unknown): GuestFinding {
  const given = record(value, "finding");
  const { status } = given;
  if (status !== "answered" && status !== "not-here" && status !== "failed") {
    throw new Error("a finding has an unknown status");
  }
  if (status === "answered") text(given.answer, "answer");
  const counts = Object.entries(record(given.counts, "counts"));
  if (counts.length > MOST_COUNTS) throw new Error("a finding has too many counts");
  return {
    experiment: text(given.experiment, "experiment"),
    status,
    ...(given.answer !== undefined && { answer: text(given.answer, "answer") }),
    ...(given.figure !== undefined && { figure: text(given.figure, "figure") }),
    ...(given.note !== undefined && { note: text(given.note, "note") }),
    counts: Object.fromEntries(counts.map(([name, count]) => [text(name, "count"), number(count, name)])),
    ...(given.samples !== undefined && { samples: checkSamples(given.samples) }),
    elapsedMs: number(given.elapsedMs, "elapsedMs"),
  };
}

function checkSamples(value: unknown): Samples {
  const { plot, unit, values } = record(value, "samples");
  if (plot !== "distribution" && plot !== "steps" && plot !== "walk")
    throw new Error("samples have an unknown plot");
  if (!Array.isArray(values) || values.length > MOST_SAMPLES) throw new Error("samples are not a short list");
  return { plot, unit: text(unit, "unit"), values: values.map((one) => number(one, "sample")) };
}

export function record(value: unknown, name: string): Record<string, unknown> {
  if (value !== null && typeof value === "object" && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error(`${name} is not an object`);
}

export function text(value: unknown, name: string): string {
  if (typeof value === "string" && value.length <= MOST_CHARACTERS) return value;
  throw new Error(`${name} is not a short text`);
}

export function number(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new Error(`${name} is not a number`);
}

function digest(json: string, nonce: string): string {
  return createHash("sha256").update(nonce).update(json).digest("hex").slice(0, DIGEST_CHARACTERS);
}
