/** The task of a guest, small enough for a kernel command line. */
import type { MachineName } from "./experiment.ts";

export interface Task {
  readonly nonce: string;
  readonly machine: MachineName;
  readonly experiments: readonly string[];
  /** How many times a random thing is repeated. */
  readonly trials: number;
  /** False where the sysctls are the host's: the guest must not set them. */
  readonly ownsKernel?: boolean;
  /** Set before the first experiment. */
  readonly sysctls?: Readonly<Record<string, string>>;
}

export function encodeTask(task: Task): string {
  return Buffer.from(JSON.stringify(task)).toString("base64url");
}

export function decodeTask(encoded: string): Task {
  return JSON.parse(Buffer.from(encoded, "base64url").toString()) as Task;
}
