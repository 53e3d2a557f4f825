/** build.mjs: what a bare clone meets first. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command } from "./harness.ts";

const INPUTS = [
  "build.mjs",
  "binding.gyp",
  "native",
  "lib",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
];
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-build-"));
const tools = path.join(folder, "tools");

/** Runs build.mjs in a copy of the project, with no other programs around than those in `tools`. */
function build() {
  return command("env", [`PATH=${tools}`, process.execPath, path.join(folder, "build.mjs")]);
}

describe("node build.mjs", () => {
  beforeAll(() => {
    for (const input of INPUTS) cpSync(input, path.join(folder, input), { recursive: true });
    symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"));
    mkdirSync(tools);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it("says which tools are missing and how to get them", async () => {
    const { status, stderr } = await build();
    expect(status).toBe(1);
    expect(stderr).toContain("building the addon needs python3, make, c++");
    expect(stderr).toContain("apt-get install python3 make g++");
    expect(stderr).not.toMatch(/\n +at /);
  });

  it("names only those that are missing", async () => {
    for (const tool of ["python3", "make"]) symlinkSync("/bin/true", path.join(tools, tool));
    const { status, stderr } = await build();
    expect(status).toBe(1);
    expect(stderr).toContain("building the addon needs c++. On Debian: apt-get install g++\n");
  });

  it("does nothing where everything is built", async () => {
    const { status, stderr, stdout } = await command(process.execPath, ["build.mjs"]);
    expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: "", stdout: "" });
  });
});
