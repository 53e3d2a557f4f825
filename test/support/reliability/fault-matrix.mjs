// The fault matrix: runs every path once for each way in which one of its system calls can fail. A program of its own,
// started with the library of faults.c: node fault-matrix.mjs [--only PATH;…] [--calls CALL;…] [--most N] [--skip-to ID]
// Prints one JSON object a line: {begin}, then {id, verdict, …} for each fault.
import { closeSync, readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ROWS } from "./calls.mjs";
import { print } from "./findings.mjs";
import { PATHS } from "./paths.mjs";
import { errnoOf, Faults } from "./preload.mjs";

/** A path that has not ended by then hangs: its own waits end after 300 ms. */
const HANGS_AFTER_MS = 4000;
/** How long descriptors may take to close: Node closes handles in its next turns. */
const SETTLE_MS = 2000;
/** Fails each of a path's first calls, one after another; later ones are like them. */
const FIRST_CALLS = 3;

/** What a deadline ends: the kernel said "not yet", or what it refused is waited for again. */
const NOT_YET = ["EINPROGRESS", "EALREADY", "EAGAIN", "EINTR", "ECONNABORTED"];
/** Errnos that are an error of the caller, with its code: an option that is not there, a descriptor of another kind. */
const MISUSES = {
  ENOPROTOOPT: ["ERR_OPTION_UNSUPPORTED"],
  EOPNOTSUPP: ["ERR_OPTION_UNSUPPORTED"],
  EBADF: ["ERR_INVALID_FD"],
  ENOTSOCK: ["ERR_NOT_TCP"],
  ENODEV: ["ERR_UNKNOWN_SCOPE"],
};
/** A socket that failed before: its error is what `connected()` throws. */
const FAILED_BEFORE = "ERR_NOT_CONNECTED";
/** What waits without a deadline, for a connection that never comes when the kernel says "not yet" and lies. */
const WITHOUT_DEADLINE = ["pair"];

const { values: flags } = parseArgs({
  options: {
    only: { type: "string" },
    calls: { type: "string" },
    most: { type: "string" },
    "skip-to": { type: "string" },
  },
});
const faults = new Faults(process.env.FAULTS_FILE, false);
const isWanted = (list, name) => list === undefined || list.split(";").includes(name);
let isSkipping = flags["skip-to"] !== undefined;
let ran = 0;
let current = "";

process.on("unhandledRejection", (error) =>
  print({ id: current, verdict: "red", why: `unhandled: ${error.stack}` }),
);
process.on("uncaughtException", (error) =>
  print({ id: current, verdict: "red", why: `uncaught: ${error.stack}` }),
);

// The reactor of this thread, whose descriptors stay open.
await runOnce(PATHS["wait for nobody"], async (work) => work());
for (const [name, path] of Object.entries(PATHS)) if (isWanted(flags.only, name)) await runPath(name, path);
print({ end: true });
process.exit(0);

async function runPath(name, path) {
  const seen = new Int32Array(64);
  current = name;
  const plain = await runOnce(path, (work) => {
    faults.clear();
    return Promise.resolve(work()).finally(() => {
      for (const [row, count] of faults.seen().entries()) seen[row] += count;
    });
  });
  if (plain.error) {
    print({ id: name, verdict: "red", why: `without a fault: ${plain.error.stack ?? plain.error}` });
    return;
  }
  for (const row of ROWS) {
    if (seen[row.row] === 0 || !isWanted(flags.calls, row.name)) continue;
    for (const fault of faultsOf(row, seen[row.row])) {
      if (WITHOUT_DEADLINE.includes(name) && NOT_YET.includes(fault.code)) continue;
      if (flags.most !== undefined && ran >= Number(flags.most)) return;
      await runFault(name, path, row, fault);
    }
  }
}

/** Each errno at each of the first calls, and for ever; EINTR too, whose every call a signal can interrupt. */
function* faultsOf(row, calls) {
  const codes = row.isNeverInterrupted ? row.errnos : [...new Set([...row.errnos, "EINTR"])];
  for (const code of codes) {
    for (let skip = 0; skip < Math.min(calls, FIRST_CALLS); skip++) yield { code, skip, times: 1 };
    yield { code, skip: 0, times: 2 ** 31 - 1 };
  }
}

async function runFault(name, path, row, { code, skip, times }) {
  const id = `${name} | ${row.name} ${code} ${times === 1 ? `at call ${skip + 1}` : "for ever"}`;
  if (isSkipping) {
    isSkipping = id !== flags["skip-to"];
    return;
  }
  ran++;
  current = id;
  print({ begin: id });
  let injected = 0;
  const result = await runOnce(path, async (work) => {
    faults.arm(row, code, skip, times);
    try {
      return await work();
    } finally {
      injected += faults.injected();
      faults.disarm();
    }
  });
  print({ id, path: name, call: row.name, code, injected, ...judge(row, code, injected, result) });
}

/** Runs a path with what `armed` puts around its work. Returns how it ended, and what it left open. */
async function runOnce(path, armed) {
  const before = openDescriptors();
  const owned = [];
  const fds = new Set();
  const kit = {
    armed,
    own(one) {
      owned.push(one);
      return one;
    },
    ownFd: (fd) => fds.add(fd),
    disownFd: (fd) => fds.delete(fd),
  };
  const began = performance.now();
  const run = (async () => path(kit))().then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  const late = sleep(HANGS_AFTER_MS, { hangs: true }, { ref: true, signal: undefined });
  const result = await Promise.race([run, late]);
  faults.disarm();
  if (result.hangs) await Promise.race([run, sleep(HANGS_AFTER_MS)]);
  for (const one of owned) release(one);
  for (const fd of fds) closeSync(fd);
  return { ...result, elapsedMs: performance.now() - began, left: await findLeft(before) };
}

function release(one) {
  if (one.destroy) one.destroy();
  else if (one.listening !== undefined) one.close();
  else if (one.state !== undefined) one.state !== "closed" && one.reset();
  else one[Symbol.dispose]();
}

function openDescriptors() {
  const found = new Map();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      found.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of this listing.
    }
  }
  return found;
}

async function findLeft(before) {
  const find = () =>
    [...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what).map(([, what]) => what);
  const ends = performance.now() + SETTLE_MS;
  let left = find();
  while (left.length > 0 && performance.now() < ends) {
    await new Promise(setImmediate);
    left = find();
    if (left.length > 0) await sleep(1);
  }
  return left;
}

/** green: a typed error that names the call, or the path did its work all the same. Anything else is red. */
function judge(row, code, injected, { error, value, hangs, left, elapsedMs }) {
  if (hangs) return { verdict: "red", why: `hangs: not over after ${HANGS_AFTER_MS} ms` };
  if (left.length > 0)
    return { verdict: "red", why: `leaves descriptors open: ${left.join(", ")}`, error: error?.message };
  if (injected === 0) return { verdict: "none" };
  if (!error) return { verdict: "went on", value: typeof value === "string" ? value : undefined };
  const about = `${error.name} ${error.code ?? ""} ${error.syscall ?? ""}: ${error.message.split("\n")[0]}`;
  const ended = { error: about, elapsedMs: Math.round(elapsedMs) };
  if (isAboutCall(row, code, error)) return { verdict: "error", ...ended };
  return { verdict: "red", why: `another error than ${row.name} ${code}: ${about}` };
}

/** Whether an error, its cause or one of its attempts names the errno, and a SocketError also the call. */
function isAboutCall(row, code, error) {
  if (error === undefined || error === null) return false;
  // The table of sockets is one question, with socket(2), send(2) and recv(2) of netlink.
  const names = [row.name, row.of, "sock_diag", ...(row.reports ?? [])];
  const isSame = error.errno === -errnoOf(code) || row.becomes?.[code] === error.code;
  if (error.name === "SocketError" && isSame) return names.includes(error.syscall);
  if (isSame && error.syscall !== undefined) return true;
  if (NOT_YET.includes(code) && error.code === "ERR_DEADLINE") return true;
  // An accepted connection without a peer is nobody's: punch() resets it and goes on until its deadline.
  if (row.name === "getpeername" && error.code === "ERR_DEADLINE") return true;
  // What an operation of the ring answers is an outcome, or the ring cannot do it: the error of its setup.
  if (row.operation !== undefined && error.syscall === "io_uring_setup" && error.code === "ENOTSUP")
    return true;
  // A refusal without a reset of this host came from elsewhere, and ends a loop.
  if (code === "ECONNREFUSED" && error.code === "ERR_NOT_THIS_HOST") return true;
  if (MISUSES[code]?.includes(error.code) || error.code === FAILED_BEFORE) return true;
  return (
    isAboutCall(row, code, error.cause) || (error.attempts ?? []).some(({ outcome }) => outcome === code)
  );
}
