/** Machines, with stand-ins on PATH: which of them can run here, and that no guest outlives its lab. */
import type { ChildProcess } from "node:child_process";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "vitest";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Machine } from "../../lib/lab/index.ts";
import { KernelShelf, makeMachines, runLab } from "../../lib/lab/index.ts";
import { probes } from "../../lib/lab/machine.ts";
import { kvm, qemuMachine } from "../../lib/lab/machines/qemu.ts";
import { hintOf, preloadLibrary, umlMachine } from "../../lib/lab/machines/uml.ts";
import { compilePtrace } from "../../lib/lab/uml-registers.ts";
import type { CommandResult } from "../support/harness.ts";
import { command, MAIN } from "../support/harness.ts";

const LIMITS = { silenceMs: 20_000, totalMs: 20_000, outputBytes: 100_000 };
const TASK = { nonce: "abc", machine: "qemu", experiments: [], trials: 1 } as const;
const PATH = process.env.PATH!;
const DEVICE = kvm.device;
const LIMIT_MS = probes.limitMs;
const WRITE_REGISTERS = new URL("../support/programs/write-registers.c", import.meta.url).pathname;
/** A command that ends only when it is killed. */
const FOREVER = "sleep 1000";
/** A guest ends within a second; where several programs wait for each processor, all of this takes so much longer. */
const GONE_WITHIN_MS = 1000 * Math.max(1, os.loadavg()[0]! / os.availableParallelism());
const READY_WITHIN_MS = 25_000;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-machine-"));
  process.env.PATH = `${folder}:${PATH}`;
  kvm.device = "/dev/null";
  probes.endings.clear();
});

afterEach(() => {
  process.env.PATH = PATH;
  vi.unstubAllEnvs();
  kvm.device = DEVICE;
  probes.limitMs = LIMIT_MS;
  probes.endings.clear();
  rmSync(folder, { recursive: true, force: true });
});

/** Puts a shell script on PATH. */
function standIn(program: string, script: string): void {
  const file = path.join(folder, program);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

/** Reads the pids that stand-ins have written, one a line; returns [] before that. */
function readPids(): number[] {
  const file = pidFile();
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean).map(Number) : [];
}

function pidFile(): string {
  return path.join(folder, "pids");
}

/** Writes the pid of the shell that runs this, as the host numbers it: a guest's pid namespace has other numbers. */
function writePid(): string {
  return `read -r pid _ < /proc/self/stat; echo $pid >> ${pidFile()}`;
}

/** A script that forks, and writes the pid of its child, and then its own: its end may end the child at once. */
function forkScript(): string {
  return `(${writePid()}; exec ${FOREVER}) & while [ ! -s ${pidFile()} ]; do sleep 0.01; done; ${writePid()}`;
}

/** A script whose child leaves its group by setsid(2), and writes the child's pid. */
function leaveScript(): string {
  return `setsid sh -c '${writePid()}; exec ${FOREVER}' & while [ ! -s ${pidFile()} ]; do sleep 0.01; done`;
}

/** Whether a process runs; a zombie does not. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function expectGone(processes: readonly number[]): Promise<void> {
  expect(processes.length).toBeGreaterThan(1);
  await vi.waitFor(() => expect(processes.filter(isRunning)).toEqual([]), { timeout: GONE_WITHIN_MS });
}

describe("KVM", () => {
  function standInQemu(script: string): Machine {
    standIn("qemu-system-x86_64", `echo "$@" >> ${path.join(folder, "started")}\n${script}`);
    standIn("busybox", "");
    standIn("cpio", "cat > /dev/null");
    return qemuMachine({ file: "/no/such/kernel" }, path.join(folder, "cache"));
  }

  it("is not used where a guest hangs, although qemu exits with 0 when it is killed", async () => {
    probes.limitMs = 500;
    const machine = standInQemu(`trap "exit 0" TERM; echo "Probing EDD"; while :; do sleep 0.1; done`);
    let turns = 0;
    const turn = setInterval(() => turns++, 1);
    expect(await machine.missing()).toBeNull();
    expect(await machine.isEmulated()).toBe(true);
    clearInterval(turn);
    expect((await machine.launch(TASK)).args).toContain("tcg,thread=multi");
    // The event loop ran while the probe waited for the guest.
    expect(turns).toBeGreaterThan(1);
  });

  it("is not used where qemu exits with 0 and no guest has run", async () => {
    expect(await standInQemu("exit 0").isEmulated()).toBe(true);
  });

  it("is not used where it may not be opened", async () => {
    kvm.device = path.join(folder, "no-device");
    expect(await standInQemu(`echo "Kernel panic - not syncing: VFS: no root"`).isEmulated()).toBe(true);
    expect(existsSync(path.join(folder, "started"))).toBe(false);
  });

  it("is used where a guest has run, and is probed once", async () => {
    const machine = standInQemu(`echo "Kernel panic - not syncing: VFS: no root"; ${FOREVER}`);
    expect(await machine.isEmulated()).toBe(false);
    expect(await machine.isEmulated()).toBe(false);
    expect((await machine.launch(TASK)).args).toContain("kvm");
    expect(readFileSync(path.join(folder, "started"), "utf8").match(/-accel kvm/g)).toHaveLength(1);
  });

  it("is probed once where two ask at the same time", async () => {
    const machine = standInQemu(`echo "Kernel panic - not syncing: VFS: no root"; ${FOREVER}`);
    expect(await Promise.all([machine.isEmulated(), machine.isEmulated()])).toEqual([false, false]);
    expect(readFileSync(path.join(folder, "started"), "utf8").match(/-accel kvm/g)).toHaveLength(1);
  });

  it("is probed again by one that waited for a probe that another's signal ended", async () => {
    const machine = standInQemu(`${FOREVER}`);
    const abort = new AbortController();
    const [first, second] = [machine.isEmulated(abort.signal), machine.isEmulated()];
    standInQemu(`echo "Kernel panic - not syncing: VFS: no root"`);
    abort.abort();
    await expect(first).rejects.toThrow(/aborted/);
    expect(await second).toBe(false);
  });

  it("is probed again after a probe that was interrupted", async () => {
    const machine = standInQemu(`${FOREVER}`);
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 50);
    await expect(machine.isEmulated(abort.signal)).rejects.toThrow(/aborted/);
    standInQemu(`echo "Kernel panic - not syncing: VFS: no root"`);
    expect(await machine.isEmulated()).toBe(false);
  });
});

describe("User-mode Linux", () => {
  const PANIC = "Kernel panic - not syncing: Attempted to kill init!";

  it("that aborts cannot run here: it is skipped, with the reason", async () => {
    standIn("linux.uml", `echo "${PANIC}"; kill -ABRT $$`);
    const result = await runLab({ machines: [umlMachine()], experiments: ["steps"], limits: LIMITS });
    expect(result.findings).toEqual([]);
    expect(result.kernels[0]!.missing).toMatch(
      /^User-mode Linux cannot run here: it died \(killed by SIGABRT\): Kernel panic/,
    );
  });

  it("writes registers that are not all of the CPU's only with our ptrace(2)", async (context) => {
    if (process.arch !== "x64") context.skip("the registers are those of x64");
    const preload = compilePtrace(folder) ?? context.skip("needs cc (Debian: apt-get install gcc)");
    const file = path.join(folder, "write-registers");
    expect(spawnSync("cc", ["-o", file, WRITE_REGISTERS]).status).toBe(0);
    const { EFAULT, EIO } = os.constants.errno;
    const run = (launch: { file: string; args: readonly string[] }) =>
      spawnSync(launch.file, launch.args, { encoding: "utf8" }).stdout;
    expect(run({ file, args: [] })).toBe(`${EFAULT} 4711 ${EIO}\n`);
    expect(run(preloadLibrary(preload, { file, args: [] }))).toBe(`0 4711 ${EIO}\n`);
  });

  it("that ends by an error nobody caught is skipped with that error, and not with what Node prints after it", async () => {
    const error = "SocketError: socket ENOMEM (not enough memory)";
    standIn("linux.uml", `printf '${error}\\n    at open (x.js:1:2)\\n\\nNode.js v20.20.2\\n'; exit 1`);
    expect(await umlMachine().missing()).toContain(`(exit code 1): ${error}`);
  });

  it("that dies on a CPU with AMX is too old for it", () => {
    expect(hintOf("processor\t: 0\nflags\t\t: fpu avx512f amx_tile amx_int8\n")).toMatch(/AMX.*6\.16/);
    expect(hintOf("processor\t: 0\nflags\t\t: fpu avx512f\n")).toBe("");
  });

  it("that floods cannot run here", async () => {
    standIn("linux.uml", "yes");
    expect(await umlMachine().missing()).toMatch(/cannot run here: it printed too much/);
  });

  it("that hangs cannot run here", async () => {
    probes.limitMs = 500;
    standIn("linux.uml", FOREVER);
    expect(await umlMachine().missing()).toMatch(/cannot run here: it sent no message/);
  });

  it("in which only our package fails is reported as a failure", async () => {
    const probed = path.join(folder, "probed");
    // It runs its init the first time, and fails after that.
    standIn(
      "linux.uml",
      `[ -e ${probed} ] && exit 3; touch ${probed}
for word; do case "$word" in init=*) exec sh "\${word#init=}";; esac; done`,
    );
    const result = await runLab({ machines: [umlMachine()], experiments: ["steps"], limits: LIMITS });
    expect(result.kernels[0]!.missing).toBeNull();
    expect(result.findings).toMatchObject([{ status: "died", note: "it died (exit code 3)" }]);
  });

  it("that forks leaves nothing behind", async () => {
    standIn("linux.uml", `${forkScript()}; exit 3`);
    expect(await umlMachine().missing()).toMatch(/exit code 3/);
    await expectGone(readPids());
  });

  it("does not keep the lab waiting where no pid namespace is permitted, and a process leaves its group", async () => {
    probes.limitMs = 500;
    standIn("unshare", "exit 1");
    standIn("linux.uml", leaveScript());
    expect(await umlMachine().missing()).toMatch(/cannot run here/);
    const [left] = readPids();
    expect(isRunning(left!)).toBe(true);
    process.kill(left!, "SIGKILL");
  });
});

describe("guests end with their lab", () => {
  /** Runs a lab in a new process, and ends it by a signal once `isReady` returns true. */
  async function endLab(
    args: readonly string[],
    signal: NodeJS.Signals,
    isReady: (lab: ChildProcess) => boolean,
  ): Promise<CommandResult> {
    let ready: Promise<void> | undefined;
    const ended = command(process.execPath, args, (lab) => {
      ready = vi
        .waitFor(() => expect(isReady(lab)).toBe(true), { timeout: READY_WITHIN_MS })
        .finally(() => lab.kill(signal));
    });
    const [result] = await Promise.all([ended, ready]);
    expect(result.stderr).toBe("");
    return result;
  }

  function labOf(machine: string): string[] {
    const program = `
      import { KernelShelf, makeMachines, runLab } from ${JSON.stringify(path.resolve("dist/lab/index.js"))};
      await runLab({ machines: await makeMachines({ machines: ["${machine}"], kernels: [] }, new KernelShelf()) });`;
    return ["--input-type=module", "-e", program];
  }

  it.for(["SIGKILL", "SIGTERM", "SIGHUP"] as const)("that is ended by %s", async (signal) => {
    standIn("linux.uml", `${forkScript()}; wait`);
    await endLab(labOf("uml"), signal, () => readPids().length > 1);
    await expectGone(readPids());
  });

  it("that is killed, with what has left its group", async (context) => {
    needsPidNamespaces(context);
    standIn("linux.uml", `${leaveScript()}; ${forkScript()}; wait`);
    await endLab(labOf("uml"), "SIGKILL", () => readPids().length > 2);
    await expectGone(readPids());
  });

  it("with the folder in which a guest still creates files", async () => {
    const words = path.join(folder, "words");
    standIn(
      "linux.uml",
      `echo "$@" > ${words}; ${forkScript()}
for word; do case "$word" in uml_dir=*) cd "\${word#uml_dir=}"; esac; done
while :; do i=$(((i + 1) % 100)); : > $i; done`,
    );
    await endLab(labOf("uml"), "SIGKILL", () => readPids().length > 1);
    const [, left] = /uml_dir=(\S+)/.exec(readFileSync(words, "utf8"))!;
    await expectGone(readPids());
    await vi.waitFor(() => expect(existsSync(left!)).toBe(false), { timeout: GONE_WITHIN_MS });
  });

  it("that is ended by Ctrl-C, while it probes", async () => {
    standIn("linux.uml", `${forkScript()}; wait`);
    const args = [
      MAIN,
      "lab",
      "--machine",
      "uml",
      "--kernels",
      "",
      "--output",
      path.join(folder, "lab.json"),
    ];
    const { status } = await endLab(args, "SIGINT", () => readPids().length > 1);
    expect(status).toBe(130);
    await expectGone(readPids());
  });

  it.for(["uml", "gvisor"])("that is killed while %s runs", { timeout: 120_000 }, async (name, context) => {
    await needsMachine(name, context);
    const temporary = path.join(folder, "tmp");
    mkdirSync(temporary);
    vi.stubEnv("TMPDIR", temporary);
    let guests: number[] = [];
    await endLab(labOf(name), "SIGKILL", (lab) => {
      guests = descendantsOf(lab.pid!);
      return guests.length >= 3; // runsc has a gofer and a sandbox, linux.uml has helpers and a process for each.
    });
    await expectGone(guests);
    await vi.waitFor(() => expect(readdirSync(temporary)).toEqual([]), { timeout: GONE_WITHIN_MS });
  });
});

function needsPidNamespaces(context: TestContext): void {
  const isPermitted = (...users: string[]) =>
    spawnSync("unshare", [...users, "--pid", "--fork", "--kill-child", "true"]).status === 0;
  if (!isPermitted() && !isPermitted("--user", "--map-current-user"))
    context.skip("no pid namespace of its own is permitted");
}

async function needsMachine(name: string, context: TestContext): Promise<void> {
  const [machine] = await makeMachines({ machines: [name], kernels: [] }, new KernelShelf());
  const missing = await machine!.missing(context.signal);
  if (missing) context.skip(missing);
}

/** proc(5): the children of a process, their children, and so on. */
function descendantsOf(pid: number): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(name)] as const);
  const found = [pid];
  for (const parent of found)
    found.push(...parents.filter(([, of]) => of === parent).map(([child]) => child));
  return found.slice(1);
}

function parentOf(pid: string): number | null {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
  } catch {
    return null; // It has ended since.
  }
}
