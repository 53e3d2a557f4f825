/** node --import selfconnect/register with programs that do not import this package, each in a new process. */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { deadPort } from "../support/harness.ts";
import { REGISTER } from "../support/story.ts";

const INNOCENT = new URL("../support/programs/innocent.mjs", import.meta.url).pathname;

interface Run {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function run(how: string, { flags = [], env = {} }: Run = {}): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const args = [...flags, INNOCENT, String(deadPort()), how];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (text) => (output.stdout += text));
    child.stderr.on("data", (text) => (output.stderr += text));
    child.on("close", () => resolve({ stdout: output.stdout.trim(), stderr: output.stderr }));
  });
}

const JOINED = "connected to itself";
const REJECTED = "Error ECONNREFUSED ERR_SELF_CONNECT";

describe("selfconnect/register", () => {
  it.each(["here", "worker", "fork", "spawn"])("control: without it, %s is joined to itself", async (how) => {
    expect(await run(how)).toEqual({ stdout: JOINED, stderr: "" });
  });

  it.each(["here", "worker", "fork"])("guards %s", async (how) => {
    expect(await run(how, { flags: REGISTER })).toEqual({ stdout: REJECTED, stderr: "" });
  });

  it.each(["here", "worker", "fork", "spawn"])("guards %s through NODE_OPTIONS", async (how) => {
    const env = { NODE_OPTIONS: REGISTER.join(" ") };
    expect(await run(how, { env })).toEqual({ stdout: REJECTED, stderr: "" });
  });

  it('does not guard a connect with `guard: "off"`, nor a program with SELFCONNECT_GUARD=off', async () => {
    expect((await run("off", { flags: REGISTER })).stdout).toBe(JOINED);
    expect((await run("here", { flags: REGISTER, env: { SELFCONNECT_GUARD: "off" } })).stdout).toBe(JOINED);
    const wrong = await run("here", { flags: REGISTER, env: { SELFCONNECT_GUARD: "of" } });
    expect(wrong.stderr).toContain('did you mean "off"');
  });

  it("guards once when it is loaded twice", async () => {
    expect(await run("here", { flags: [...REGISTER, ...REGISTER] })).toEqual({
      stdout: REJECTED,
      stderr: "",
    });
  });

  it("detects without the addon, and warns once", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-no-addon-"));
    try {
      const root = new URL("../..", import.meta.url).pathname;
      cpSync(path.join(root, "dist"), path.join(folder, "dist"), { recursive: true });
      symlinkSync(path.join(root, "package.json"), path.join(folder, "package.json"));
      const flags = ["--import", path.join(folder, "dist/register.js")];
      const { stdout, stderr } = await run("here", { flags });
      expect(stdout).toBe(REJECTED);
      expect(stderr.match(/ERR_ADDON_MISSING/g)).toHaveLength(1);
      expect(stderr).toContain("detected and rejected, but not prevented");
      expect((await run("off", { flags })).stdout).toBe(JOINED);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
