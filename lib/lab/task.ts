/** What a guest is asked to do, small enough for a kernel command line. */
import type { MachineName } from "./experiment.ts";

export interface Task {
  readonly nonce: string;
  readonly machine: MachineName;
  readonly experiments: readonly string[];
  /** How many times a random thing is repeated. */
  readonly trials: number;
  /** False where sysctls are the host's own: they are then left alone. */
  readonly ownsKernel?: boolean;
}

export function encodeTask(task: Task): string {
  return Buffer.from(JSON.stringify(task)).toString("base64url");
}

export function decodeTask(encoded: string): Task {
  return JSON.parse(Buffer.from(encoded, "base64url").toString()) as Task;
}
