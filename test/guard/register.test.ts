/** selfconnect/register with programs that do not import this package, each in a new process. */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommandResult } from "../support/harness.ts";
import { deadPort } from "../support/harness.ts";
import { REGISTER, REGISTER_MODULE } from "../support/story.ts";

const INNOCENT = new URL("../support/programs/innocent.mjs", import.meta.url).pathname;

interface Run {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs Node with these arguments, and without the environment's NODE_OPTIONS. */
function node(args: readonly string[], env: Run["env"] = {}): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: "", ...env } });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (text) => (output.stdout += text));
    child.stderr.on("data", (text) => (output.stderr += text));
    child.on("close", (status) => resolve({ status, ...output }));
  });
}

type Outcomes = Readonly<Record<string, string>>;

/** Runs the program that knows nothing of the guard. Returns how each connect ended, and what stderr got. */
async function run(
  hows: readonly string[],
  { flags = [], env = {} }: Run = {},
): Promise<{ outcomes: Outcomes; stderr: string }> {
  const ports = new Map<string, string>();
  while (ports.size < hows.length) {
    const port = String(deadPort());
    if (!ports.has(port)) ports.set(port, hows[ports.size]!);
  }
  const starts = [...ports].map(([port, how]) => `${how}=${port}`);
  const { stdout, stderr } = await node([...flags, INNOCENT, ...starts], env);
  const lines = stdout.trim().split("\n");
  const outcomes = lines.map((line) => line.split(": ")).map(([port, end]) => [ports.get(port!), end]);
  return { outcomes: Object.fromEntries(outcomes), stderr };
}

const every = (hows: readonly string[], outcome: string) => ({
  outcomes: Object.fromEntries(hows.map((how) => [how, outcome])),
  stderr: "",
});
const JOINED = "connected to itself";
const REJECTED = "Error ECONNREFUSED ERR_SELF_CONNECT";

/** Where the program connects; where the name says so, with flags or an environment of its own. */
const STARTS = [
  "here",
  "worker",
  "worker by eval",
  "worker by a URL",
  "worker with flags",
  "worker with an environment",
  "worker with both",
  "worker with a shared environment",
  "worker in a worker",
  "cluster",
  "fork",
  "fork with flags",
  "spawn",
  "spawn with an environment",
  "exec",
  "execFile",
  "spawnSync",
  "execFileSync",
  "execSync",
];

const WAYS = { "--require": REGISTER, "--import": REGISTER_MODULE } as const;

describe("selfconnect/register", () => {
  it("control: without it, every connect of the program joins a socket to itself", async () => {
    expect(await run(STARTS)).toEqual(every(STARTS, JOINED));
  });

  it.each(
    Object.entries(WAYS),
  )("by %s guards the program, its workers and its children", async (_, flags) => {
    expect(await run(STARTS, { flags })).toEqual(every(STARTS, REJECTED));
  });

  it.each(Object.entries(WAYS))("guards them by %s in NODE_OPTIONS", async (_, flags) => {
    const some = ["here", "worker by eval", "worker with both", "spawn with an environment"];
    const env = { NODE_OPTIONS: flags.join(" ") };
    expect(await run(some, { env })).toEqual(every(some, REJECTED));
  });

  it('does not guard a connect with `guard: "off"`, nor a program with SELFCONNECT_GUARD=off', async () => {
    expect(await run(["off", "here"], { flags: REGISTER })).toEqual({
      outcomes: { off: JOINED, here: REJECTED },
      stderr: "",
    });
    const some = ["here", "worker with both", "execFile"];
    const env = { SELFCONNECT_GUARD: "off" };
    expect(await run(some, { flags: REGISTER, env })).toEqual(every(some, JOINED));
  });

  it("refuses a word that is no guard", async () => {
    const { stderr } = await run(["here"], { flags: REGISTER, env: { SELFCONNECT_GUARD: "of" } });
    expect(stderr).toContain('did you mean "off"');
  });

  it("guards once when it is loaded twice", async () => {
    const both = [...REGISTER, ...REGISTER_MODULE, ...REGISTER];
    expect(await run(["here"], { flags: both })).toEqual(every(["here"], REJECTED));
  });

  it("guards workers of a program with flags that no worker takes", async () => {
    const own = ["--title=innocent", "--max-old-space-size=200", "--expose-gc", "--no-warnings"];
    const flags = [...own, ...REGISTER_MODULE];
    expect(await run(["worker by eval"], { flags })).toEqual(every(["worker by eval"], REJECTED));
  });

  it("prints a line for each process and worker if SELFCONNECT_LOG is set; they have the program's guard", async () => {
    const env = { SELFCONNECT_LOG: "1", SELFCONNECT_GUARD: "detect" };
    const starts = ["worker with an environment", "spawn with an environment"];
    const { stderr } = await run(starts, { flags: REGISTER, env });
    expect(stderr).toMatch(/^selfconnect: process \d+ is guarded: detect$/m);
    expect(stderr).toMatch(/^selfconnect: process \d+, worker 1 is guarded: detect$/m);
    expect(stderr).not.toMatch(/prevent/);
  });
});

describe("a guard that cannot prevent", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-no-addon-"));
  const flags = ["--require", path.join(folder, "dist/register.cjs")];

  beforeAll(() => {
    const root = new URL("../..", import.meta.url).pathname;
    cpSync(path.join(root, "dist"), path.join(folder, "dist"), { recursive: true });
    symlinkSync(path.join(root, "package.json"), path.join(folder, "package.json"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("detects without the addon, and warns once for all threads", async () => {
    const starts = ["here", "worker", "worker by eval"];
    const { outcomes, stderr } = await run(starts, { flags });
    expect(outcomes).toEqual(every(starts, REJECTED).outcomes);
    expect(stderr.match(/ERR_ADDON_MISSING/g)).toHaveLength(1);
    expect(stderr).toContain("detected and rejected, but not prevented");
    expect((await run(["off"], { flags })).outcomes).toEqual({ off: JOINED });
  });

  it("does not start under SELFCONNECT_GUARD=strict", async () => {
    const env = { SELFCONNECT_GUARD: "strict" };
    const { outcomes, stderr } = await run(["here"], { flags, env });
    expect(outcomes).not.toHaveProperty("here");
    expect(stderr).toContain("ERR_ADDON_MISSING");
    expect(await run(["here", "spawnSync"], { flags: REGISTER, env })).toEqual(
      every(["here", "spawnSync"], REJECTED),
    );
  });

  it("names the flag of a Node that loads no addon", async () => {
    const { outcomes, stderr } = await run(["here"], { flags: ["--no-addons", ...REGISTER] });
    expect(outcomes).toEqual({ here: REJECTED });
    expect(stderr).toContain("start Node without --no-addons");
  });
});

it("names the call that starts something which the guard does not reach, once, and strictly refuses it", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-other-runtime-"));
  symlinkSync("/bin/true", path.join(folder, "bun"));
  const bun = JSON.stringify(path.join(folder, "bun"));
  const script = `const { spawn, spawnSync } = require("child_process"); spawn(${bun}); spawnSync(${bun});`;
  try {
    const warned = await node([...REGISTER, "-e", script]);
    expect(warned).toMatchObject({ status: 0 });
    expect(warned.stderr.match(/ERR_NOT_GUARDED/g)).toHaveLength(1);
    expect(warned.stderr).toContain(`child_process.spawn("${JSON.parse(bun)}")`);
    const strict = await node([...REGISTER, "-e", script], { SELFCONNECT_GUARD: "strict" });
    expect(strict.status).toBe(1);
    expect(strict.stderr).toContain("ERR_NOT_GUARDED");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
