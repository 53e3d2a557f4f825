/** What one check of diagnose() asks, and what it may answer. */
import { accessSync, constants } from "node:fs";

/** Whether this host has something; "unknown" where that could not be seen. */
export type CheckState = "yes" | "no" | "unknown";

/** The state, and what was seen. */
export type Answer = readonly [CheckState, string];

/** A check before its state decides what is said about it. */
export interface Question {
  readonly name: string;
  /** What it throws makes the state unknown. */
  readonly ask: () => Answer | Promise<Answer>;
  readonly cost: string;
  readonly fix: string | null;
}

/** access(2): whether this process may write a file, or into a folder. */
export function canWrite(file: string): Answer {
  try {
    accessSync(file, constants.W_OK);
    return ["yes", `${file} is writable`];
  } catch (error) {
    return ["no", `${file}: ${(error as NodeJS.ErrnoException).code}`];
  }
}
