/**
 * The entry point on another host: `node dist/lab/tether.js LIMIT_MS FILE ARGS` runs a program as long as stdin is
 * open, which is the connection. At its end, at a signal and after the limit it kills the program's process group.
 */
import { spawn } from "node:child_process";
import os from "node:os";

const [limitMs, file = "", ...args] = process.argv.slice(2);
/** A shell reports a signal as this much more, and a program that it cannot start as this. */
const SIGNAL_CODES = 128;
const NOT_STARTED = 127;

const child = spawn(file, args, { stdio: ["ignore", "inherit", "inherit"], detached: true });
child.on("error", ({ message }) => {
  console.error(message);
  process.exit(NOT_STARTED);
});
child.on("exit", (code, signal) => {
  killGroup(); // What it has left there.
  process.exit(code ?? SIGNAL_CODES + os.constants.signals[signal!]);
});
process.stdin.on("error", killGroup).on("close", killGroup).resume();
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, killGroup);
setTimeout(killGroup, Number(limitMs));

function killGroup(): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
