/**
 * Passes the guard on to what the program starts: worker threads and child processes with flags or an environment of
 * their own would run without it.
 */

import childProcess from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { WorkerOptions } from "node:worker_threads";
import workerThreads from "node:worker_threads";
import { checkShape } from "../socket/misuse.ts";

/** Warns that this call starts something that the guard does not reach; under SELFCONNECT_GUARD=strict it throws. */
export type WarnUnguarded = (call: string, reason: string) => void;

type Environment = Record<string, string | undefined>;

/** The absolute path of the preload: children start in other folders, where the bare name may resolve to nothing. */
const REGISTER = fileURLToPath(new URL("../register.cjs", import.meta.url));

/** How NODE_OPTIONS quotes: a backslash before each quote and backslash. */
const PRELOAD = `--require "${REGISTER.replace(/["\\]/g, "\\$&")}"`;

/** A child or a worker without settings of its own has those of this process. */
const SETTINGS = ["SELFCONNECT_GUARD", "SELFCONNECT_LOG"] as const;

/** Runtimes that ignore NODE_OPTIONS. */
const OTHER_RUNTIMES: ReadonlySet<string> = new Set(["bun", "bunx"]);

/**
 * environ(7): a copy of the environment in which each Node process that gets it, and each of its children, loads
 * `selfconnect/register` first: by `--require` with an absolute path, before the other options of NODE_OPTIONS.
 * Unchanged where SELFCONNECT_GUARD is "off".
 *
 * @example
 * import { guardedEnvironment } from "selfconnect";
 *
 * console.log(guardedEnvironment({}).NODE_OPTIONS.startsWith("--require ")); // true
 */
export function guardedEnvironment(environment: Environment = process.env): Environment {
  checkShape("guardedEnvironment() takes an environment, as process.env", environment, []);
  const copy: Environment = {};
  for (const name in environment) copy[name] = environment[name]; // As spawn() does: inherited names too.
  for (const name of SETTINGS) if (!(name in copy) && name in process.env) copy[name] = process.env[name];
  if (copy.SELFCONNECT_GUARD === "off") return copy;
  const options = copy.NODE_OPTIONS ?? "";
  if (!options.includes(PRELOAD)) copy.NODE_OPTIONS = `${PRELOAD} ${options}`.trim();
  return copy;
}

/**
 * Guards every worker thread and every child process from now on. `isPreloaded` is whether this thread loaded the guard
 * by --require: workers that inherit its flags then do the same.
 */
export function passOn(isPreloaded: boolean, warnUnguarded: WarnUnguarded): void {
  wrapWorker(isPreloaded, warnUnguarded);
  wrapSpawn(warnUnguarded);
  for (const name of ["spawnSync", "execFileSync", "execSync"] as const) wrapSynchronous(name, warnUnguarded);
  wrapExecve();
  syncBuiltinESMExports(); // For those who import these functions by name.
}

function wrapWorker(isPreloaded: boolean, warnUnguarded: WarnUnguarded): void {
  const { Worker } = workerThreads;
  const wrapped: typeof Worker = new Proxy(Worker, {
    construct(target, [file, options, ...rest], newTarget) {
      const start = (given: unknown) => Reflect.construct(target, [file, given, ...rest], newTarget);
      const refuse = (reason: string) =>
        warnUnguarded(`new Worker(${options?.eval ? "" : `"${file}"`})`, reason);
      if (typeof (options ?? {}) !== "object") return start(options);
      const given: WorkerOptions = options ?? {};
      const passed = workerOptions(given);
      if (passed) return start(passed);
      return isPreloaded ? start(options) : startWithFlags(start, given, refuse);
    },
  });
  Worker.prototype.constructor = wrapped;
  workerThreads.Worker = wrapped;
}

/** The options with the preload in the worker's own flags, else in its own environment; null if it has neither. */
function workerOptions(options: WorkerOptions): WorkerOptions | null {
  const { execArgv, env } = options;
  const hasOwnEnvironment = typeof env === "object" && env !== null && env !== process.env;
  const guarded = hasOwnEnvironment ? guardedEnvironment(env as Environment) : undefined;
  if (guarded?.SELFCONNECT_GUARD === "off") return options;
  if (Array.isArray(execArgv)) {
    // Flags come after NODE_OPTIONS: the environment needs no preload of its own, but its guard counts.
    return {
      ...options,
      execArgv: withPreload(execArgv),
      ...(guarded && { env: guarded as NodeJS.Dict<string> }),
    };
  }
  // Flags of its own would replace those that the worker shows in process.execArgv.
  return guarded ? { ...options, env: guarded as NodeJS.Dict<string> } : null;
}

/**
 * Starts a worker that would inherit flags without the preload. A worker takes no flags that are of the whole process,
 * as --title and those of V8: they are left out, and are in force all the same.
 */
function startWithFlags(
  start: (options: WorkerOptions) => object,
  options: WorkerOptions,
  refuse: (reason: string) => void,
): object {
  const attempt = (flags: readonly string[]) => start({ ...options, execArgv: withPreload(flags) });
  try {
    return attempt(process.execArgv);
  } catch (error) {
    if (!isInvalidFlag(error)) throw error;
    const { message } = error;
    try {
      return attempt(process.execArgv.filter((flag) => !message.includes(flag)));
    } catch (second) {
      if (!isInvalidFlag(second)) throw second;
      refuse(`it cannot have the flags of this process: ${second.message}`);
      return start(options);
    }
  }
}

function withPreload(flags: readonly string[]): string[] {
  return flags.includes(REGISTER) ? [...flags] : ["--require", REGISTER, ...flags];
}

function isInvalidFlag(error: unknown): error is Error {
  return (error as NodeJS.ErrnoException).code === "ERR_WORKER_INVALID_EXEC_ARGV";
}

interface SpawnPrototype {
  spawn(options: { file?: string; envPairs?: string[] }): number;
}

/** spawn, exec, execFile, fork and cluster all end here, with the environment as "NAME=value". */
function wrapSpawn(warnUnguarded: WarnUnguarded): void {
  const prototype: SpawnPrototype = Object(childProcess.ChildProcess.prototype);
  const { spawn } = prototype;
  prototype.spawn = function (this: unknown, options) {
    checkRuntime("child_process.spawn", options?.file, warnUnguarded);
    if (options) options.envPairs = guardPairs(options.envPairs ?? []);
    return spawn.call(this, options);
  };
}

function guardPairs(pairs: readonly string[]): string[] {
  const environment: Environment = {};
  for (const pair of pairs) {
    const end = pair.indexOf("=", 1);
    environment[pair.slice(0, end)] = pair.slice(end + 1);
  }
  return Object.entries(guardedEnvironment(environment)).map(([name, value]) => `${name}=${value}`);
}

function wrapSynchronous(
  name: "spawnSync" | "execFileSync" | "execSync",
  warnUnguarded: WarnUnguarded,
): void {
  const call = childProcess[name] as (...values: unknown[]) => unknown;
  const guarded = function (this: unknown, ...values: unknown[]) {
    checkRuntime(`child_process.${name}`, values[0], warnUnguarded);
    const isOptions = (value: unknown, i: number) =>
      i > 0 && typeof value === "object" && value !== null && !Array.isArray(value);
    const found = values.findIndex(isOptions);
    const at = found > 0 ? found : name === "execSync" ? 1 : 2;
    const options = (values[at] ?? {}) as { env?: Environment };
    values[at] = { ...options, env: guardedEnvironment(options.env ?? process.env) };
    return call.apply(this, values);
  };
  Object.assign(childProcess, { [name]: setName(guarded, name) });
}

/** execve(2), since Node 22.15. */
function wrapExecve(): void {
  const { execve } = process as { execve?: (file: string, args?: string[], env?: Environment) => never };
  if (!execve) return;
  const guarded = (file: string, args: string[] = [], env: Environment = process.env) =>
    execve.call(process, file, args, guardedEnvironment(env));
  Object.assign(process, { execve: setName(guarded, "execve") });
}

function setName<F extends (...values: never[]) => unknown>(call: F, name: string): F {
  return Object.defineProperty(call, "name", { value: name });
}

function checkRuntime(call: string, file: unknown, warnUnguarded: WarnUnguarded): void {
  if (typeof file !== "string" || !OTHER_RUNTIMES.has(path.basename(file))) return;
  warnUnguarded(
    `${call}("${file}")`,
    "Bun ignores NODE_OPTIONS; start it with --preload selfconnect/register",
  );
}
