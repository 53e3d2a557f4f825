/** Prepares drivers: builds C and Go, and runs everything else from its source. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const HERE = new URL("drivers/", import.meta.url).pathname;

/** The program that runs a driver, by the file's extension. In the built package TypeScript is JavaScript. */
const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  ".js": [process.execPath],
  ".py": ["python3"],
  ".sh": ["bash"],
};

/** A temporary folder for built drivers, deleted on disposal. */
export class Workshop implements Disposable {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-bench-"));
  readonly #commands = new Map<string, readonly string[]>();

  /** The command line of a driver, "reuse.c" or "loop.ts". Throws with the reason when it cannot be built. */
  command(driver: string): readonly string[] {
    const known = this.#commands.get(driver);
    if (known) return known;
    const command = this.#prepare(driver);
    this.#commands.set(driver, command);
    return command;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #prepare(driver: string): readonly string[] {
    const source = path.join(HERE, driver.replace(/\.ts$/, ".js"));
    const runtime = RUNTIMES[path.extname(source)];
    if (runtime) return [...runtime, source];
    const program = path.join(this.#folder, driver.replace(/\.\w+$/, ""));
    if (driver.endsWith(".go")) build("go", ["build", "-o", program, source], "golang");
    else build("cc", ["-O2", "-o", program, source], "gcc");
    return [program];
  }
}

/** Whether this copy of the package contains the drivers. */
export function hasDrivers(): boolean {
  return existsSync(HERE);
}

function build(compiler: string, args: readonly string[], debianPackage: string): void {
  try {
    execFileSync(compiler, args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: Buffer };
    if (code === "ENOENT") throw new Error(`${compiler} is not installed (Debian: ${debianPackage})`);
    throw new Error(`${compiler} failed: ${String(stderr).split("\n")[0]}`);
  }
}
