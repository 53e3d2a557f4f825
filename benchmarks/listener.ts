/** The live listener: runs listener.c until disposed. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";

export class ListenerProcess implements Disposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts the process and resolves when it listens. */
  static async start(command: readonly string[], port: number): Promise<ListenerProcess> {
    const [file, ...args] = command;
    const child = spawn(file!, [...args, String(port), "0"], { stdio: ["ignore", "pipe", "inherit"] });
    await Promise.race([
      once(child.stdout!, "data"),
      once(child, "exit").then(() => Promise.reject(new Error("the listener did not start"))),
    ]);
    return new ListenerProcess(child);
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}
