/** The engines of a loop: how one is chosen, and why io_uring makes no attempts. */
import { errnoName, SocketError } from "../socket/errors.ts";
import { checkChoice, invalidArgument } from "../socket/misuse.ts";
import type { Native } from "../socket/native.ts";

/** What makes the attempts. */
export type Engine =
  /** A system call for each step of an attempt: works everywhere. */
  | "plain"
  /** Many attempts with one system call, on Linux 5.19 and later: io_uring(7). "fresh" needs 6.8, "autobind" 6.11. */
  | "io_uring";

/** The options of a loop that decide about its engine. */
interface Wanted {
  readonly engine?: Engine | "auto";
  readonly onPorts?: unknown;
  readonly attemptsPerSecond?: number;
}

/** Returns the engine that was asked for; the plain one where only that can do what else was asked for. */
export function checkEngine({ engine, onPorts, attemptsPerSecond }: Wanted, native: Native): Engine | "auto" {
  if (engine !== undefined) checkChoice("ERR_UNKNOWN_ENGINE", "an engine", engine, native.engines);
  const [needs] =
    Object.entries({ onPorts, attemptsPerSecond }).find(([, value]) => value !== undefined) ?? [];
  if (needs && engine === "io_uring") {
    throw invalidArgument(
      "ERR_ENGINE_UNSUPPORTED",
      `${needs} needs the plain engine: leave out engine "io_uring"`,
    );
  }
  return needs ? "plain" : (engine ?? "auto");
}

/** Throws ERR_LOOP_UNSUPPORTED except on Linux, where shutdown(2) ends a connect(2) that waits. */
export function checkLoopPlatform(platform: string = process.platform): void {
  if (platform === "linux") return;
  const reason = "elsewhere nothing could stop an attempt that waits for an answer";
  const message = `a reconnect loop needs Linux, and this is ${platform}: ${reason}`;
  throw Object.assign(new Error(message), { code: "ERR_LOOP_UNSUPPORTED" });
}

/** Why io_uring makes no attempts here. */
export function nameRefusal(errno: number): string {
  return `io_uring: ${errnoName(-errno)}`;
}

const WITHOUT_RING =
  "io_uring is missing, forbidden or too old here: leave out the engine, then the plain one is taken";

/** The error of a burst that this system call has ended. */
export function burstError(result: number, syscall: string): SocketError {
  return new SocketError(result, { syscall, ...(syscall === "io_uring_setup" && { fix: WITHOUT_RING }) });
}
