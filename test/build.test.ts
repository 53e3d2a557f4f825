/** build.mjs: prepares a bare clone. */
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { command } from "./support/harness.ts";

const INPUTS = [
  "build.mjs",
  ".ci/notices.mjs",
  "binding.gyp",
  "native",
  "lib",
  "benchmarks",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
];
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-build-"));
const tools = path.join(folder, "tools");

/** Runs build.mjs in a copy of the project, where PATH has only the programs in `tools`. */
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

  it("names the missing tools and how to install them", async () => {
    const { status, stderr } = await build();
    expect(status).toBe(1);
    expect(stderr).toContain("building the addon needs python3, make, c++");
    expect(stderr).toContain("apt-get install python3 make g++");
    expect(stderr).not.toMatch(/\n +at /);
  });

  it("names only the tools that are missing", async () => {
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

/** A built copy, whose build becomes stale without touching this one. */
describe("a stale build", () => {
  let copy: string;

  beforeEach(() => {
    copy = mkdtempSync(path.join(os.tmpdir(), "selfconnect-stale-"));
    for (const input of [...INPUTS, "vitest.config.ts"])
      cpSync(input, path.join(copy, input), { recursive: true });
    symlinkSync(path.resolve("node_modules"), path.join(copy, "node_modules"));
    for (const built of ["build", "dist"]) {
      mkdirSync(path.join(copy, built));
      cpSync(path.join(built, ".made-from"), path.join(copy, built, ".made-from"));
    }
    mkdirSync(path.join(copy, "test"));
    cpSync("test/support/fresh.mjs", path.join(copy, "test/support/fresh.mjs"));
    writeFileSync(path.join(copy, "test/support/census.ts"), "");
    writeFileSync(path.join(copy, "test/x.test.ts"), "import { it } from 'vitest'; it('runs', () => {});");
  });

  afterEach(() => rmSync(copy, { recursive: true }));

  function vitest() {
    return command("/bin/sh", ["-c", "cd $1 && exec node_modules/.bin/vitest run", "sh", copy]);
  }

  it("ends vitest at once, with one line", async () => {
    expect(await vitest()).toMatchObject({ status: 0, stderr: "" });
    appendFileSync(path.join(copy, "lib/index.ts"), "\n");
    const { status, stdout, stderr } = await vitest();
    expect({ status, stderr }).toEqual({ status: 1, stderr: "dist is older than lib: run node build.mjs\n" });
    expect(stdout).not.toContain("passed");
  });

  it.each([
    ["benchmarks/run.ts", "dist is older than lib: run node build.mjs"],
    ["native/core/result.h", "build is older than native: run node build.mjs"],
    // build.mjs is an input of everything that it builds.
    ["build.mjs", "build is older than native: run node build.mjs"],
  ])("results from a change to %s", async (input, line) => {
    const build = JSON.stringify(path.join(copy, "build.mjs"));
    const script = `import { describeStaleness } from ${build}; console.log(describeStaleness())`;
    const ask = () => command(process.execPath, ["--input-type=module", "-e", script]);
    expect((await ask()).stdout).toBe("null\n");
    appendFileSync(path.join(copy, input), "\n");
    expect((await ask()).stdout).toBe(`${line}\n`);
  });

  it("is rebuilt after a change to build.mjs itself", async () => {
    appendFileSync(path.join(copy, "build.mjs"), "\n");
    const { status, stderr } = await command("env", [
      "PATH=",
      process.execPath,
      path.join(copy, "build.mjs"),
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain("building the addon needs python3, make, c++");
  });
});
