/** What an experiment is: one question, asked of one kernel, and what is expected of it. */
import type { LinuxWalk } from "../kernel/release.ts";
import { hasChange, linuxWalk } from "../kernel/release.ts";
import type { Instruments } from "./instruments.ts";

export type MachineName = "host" | "qemu" | "uml" | "gvisor";

/** One kernel, as far as an expectation may depend on it. */
export interface Subject {
  readonly machine: MachineName;
  /** The upstream version, patch level and all: "6.1.176", where uname(2) may say "6.1.0-50-cloud-amd64". */
  readonly upstream: string;
}

/** What one run of an experiment found. */
export interface Answer {
  /** In words that stay the same from run to run on the same kernel: what is compared. */
  readonly answer: string;
  /** The same in figures, which differ from run to run. */
  readonly figure?: string;
  /** The raw counts behind both. */
  readonly counts: Readonly<Record<string, number>>;
  /** Raw samples, and how to draw them. */
  readonly samples?: Samples;
}

export interface Samples {
  readonly plot: "distribution" | "steps" | "walk";
  /** What one sample is, with its unit. */
  readonly unit: string;
  readonly values: readonly number[];
}

/** One question. The file that holds it is named after it. */
export interface Experiment {
  readonly name: string;
  readonly question: string;
  /** The answer that this kernel should give, or null where it is not known. */
  expected(subject: Subject): string | null;
  run(instruments: Instruments): Promise<Answer>;
}

/** The answer of a kernel that lacks what the question is about. */
export const ABSENT = "not on this kernel";

/** Whether IP_LOCAL_PORT_RANGE should be there: 6.3, and 6.1.32 of the stable tree. */
export function hasPortRange({ upstream }: Subject): boolean {
  return hasChange(upstream, "6.3", ["6.1.32"]);
}

/** How this kernel walks its ports; null for what is not Linux, or older than 4.6. */
export function walkOf({ machine, upstream }: Subject): LinuxWalk | null {
  return machine === "gvisor" ? null : linuxWalk(upstream);
}
