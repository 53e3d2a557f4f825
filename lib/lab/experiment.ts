/** An experiment: one question to one kernel, and the expected answer. */
import type { LinuxWalk } from "../kernel/release.ts";
import { hasChange, linuxWalk } from "../kernel/release.ts";
import type { Instruments } from "./instruments.ts";

export type MachineName = "host" | "qemu" | "uml" | "gvisor" | "ssh";
/** The machines that run kernels by name, or a kernel's file. */
export type KernelMachine = "qemu" | "uml";

/** The facts about a kernel on which an expectation may depend. */
export interface Subject {
  readonly machine: MachineName;
  /** The upstream version with its patch level: "6.1.176", where uname(2) may report "6.1.0-50-cloud-amd64". */
  readonly upstream: string;
  readonly hasIpv6: boolean;
}

/** The result of one run of an experiment. */
export interface Answer {
  /** Words that are the same in every run on the same kernel, so that kernels can be compared. */
  readonly answer: string;
  /** Figures that differ from run to run. */
  readonly figure?: string;
  /** The raw counts. */
  readonly counts: Readonly<Record<string, number>>;
  /** Raw samples, and how to draw them. */
  readonly samples?: Samples;
}

export interface Samples {
  readonly plot: "distribution" | "steps" | "walk";
  /** The unit of one sample. */
  readonly unit: string;
  readonly values: readonly number[];
}

/** One question. Its file has its name. */
export interface Experiment {
  readonly name: string;
  readonly question: string;
  /** Takes more than 0.3 s on User-mode Linux, or needs the machine for itself: asked only on request. */
  readonly isSlow?: true;
  /** The expected answer for this kernel, or null if it is not known. */
  expected(subject: Subject): string | null;
  run(instruments: Instruments): Promise<Answer>;
}

/** The answer for a kernel that does not have the feature in question. */
export const ABSENT = "not on this kernel";
/** The answer for a kernel that takes the option in question, and then does as it does without it. */
export const WITHOUT_EFFECT = "accepted, without effect";
/** The answer of an experiment that only measures: reports print its figure instead. */
export const COUNTED = "counted";

/** Whether the kernel should have IP_LOCAL_PORT_RANGE: since 6.3, and 6.1.32 of the stable tree. */
export function hasPortRange({ upstream }: Subject): boolean {
  return hasChange(upstream, "6.3", ["6.1.32"]);
}

/** How this kernel walks its ports; null if it is not Linux, or older than 4.6. */
export function walkOf({ machine, upstream }: Subject): LinuxWalk | null {
  return machine === "gvisor" ? null : linuxWalk(upstream);
}
