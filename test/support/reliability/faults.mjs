// The part `faults` of check:deep: runs fault-matrix.mjs in a namespace of its own, again after what ended or stopped it,
// and counts its verdicts by system call.
import { spawn, spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CALLS, OPERATIONS } from "./calls.mjs";
import { buildPreload, Faults } from "./preload.mjs";

const PROGRAM = fileURLToPath(new URL("fault-matrix.mjs", import.meta.url));
/** A fault that blocks the program's only thread: longer than the time after which the program itself says so. */
const BLOCKED_AFTER_MS = 15_000;
/** The address that a path binds to needs an interface of its own name. */
const SET_UP = 'ip link set lo up && ip -6 address add fe80::1/64 dev lo nodad && exec "$@"';

/** Figures of the whole matrix. */
export async function attackByFaults({ folder }) {
  if (spawnSync("cc", ["--version"]).error)
    return { facts: [], red: [], skipped: ["no C compiler: apt-get install gcc"] };
  return summarize(await runMatrix(path.join(folder, "preload"), []));
}

/** Runs the matrix with these arguments. Returns what it printed, with a red line for each end before the end. */
export async function runMatrix(folder, args) {
  const library = buildPreload(folder);
  const file = path.join(folder, "control");
  const lines = [];
  for (let last; ; ) {
    const faults = new Faults(file);
    const skip = last === undefined ? [] : ["--skip-to", last];
    const ended = await runProgram(faults.environment(library), [...args, ...skip], lines, `${library}.log`);
    faults.close();
    if (lines.some(({ end }) => end)) return lines;
    last = lines.findLast(({ begin }) => begin !== undefined)?.begin;
    if (last === undefined) throw new Error(`the matrix did not begin: ${ended}`);
    lines.push({ id: last, verdict: "red", why: ended });
  }
}

/** Returns how it ended. */
function runProgram(environment, args, lines, log) {
  return new Promise((resolve, reject) => {
    const command = ["--net", "sh", "-c", SET_UP, "sh", "env"];
    const set = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const child = spawn("unshare", [...command, ...set, process.execPath, PROGRAM, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let errors = "";
    let isBlocked = false;
    const kill = () => {
      isBlocked = true;
      child.kill("SIGKILL");
    };
    let timer = setTimeout(kill, BLOCKED_AFTER_MS);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      errors = (errors + text).slice(-2000);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      clearTimeout(timer);
      timer = setTimeout(kill, BLOCKED_AFTER_MS);
      lines.push(JSON.parse(line));
      appendFileSync(log, `${line}\n`);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve(
        isBlocked ? "blocks its thread for ever" : `ended by ${signal ?? `exit code ${code}`}: ${errors}`,
      );
    });
  });
}

/** The figures of the part. */
export function summarize(lines) {
  const verdicts = lines.filter(({ verdict }) => verdict);
  const count = (some, verdict) => some.filter((one) => one.verdict === verdict).length;
  const calls = Object.keys({ ...CALLS, ...OPERATIONS }).map((call) => {
    const some = verdicts.filter((one) => one.call === call && one.verdict !== "none");
    const paths = new Set(some.map(({ path: name }) => name)).size;
    return {
      call,
      paths,
      tried: some.length,
      errors: count(some, "error"),
      wentOn: count(some, "went on"),
      red: count(some, "red"),
    };
  });
  const tried = calls.reduce((sum, one) => sum + one.tried, 0);
  const untried = calls.filter((one) => one.tried === 0).map(({ call }) => `no path makes ${call} fail`);
  return {
    facts: [
      ["faults tried", tried],
      ["system calls and operations of io_uring", calls.length],
      ["public ways to them", new Set(verdicts.map(({ path: name }) => name).filter(Boolean)).size],
      ["ended in a typed error that names the call", count(verdicts, "error")],
      ["went on and did their work", count(verdicts, "went on")],
    ],
    head: ["system call", "ways", "faults", "typed error", "went on", "red"],
    rows: calls.map(({ call, paths, tried: all, errors, wentOn, red }) => [
      `\`${call}\``,
      paths,
      all,
      errors,
      wentOn,
      red,
    ]),
    red: [
      ...untried,
      ...verdicts.filter(({ verdict }) => verdict === "red").map(({ id, why }) => `${id}: ${why}`),
    ],
  };
}
