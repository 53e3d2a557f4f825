/** lab --expect: what differs, what could not be asked, and the exit codes of git bisect run. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { labExitCode } from "../../lib/cli/lab.ts";
import type { LabResult } from "../../lib/lab/index.ts";
import { expectationOf, judge, parseExpectation } from "../../lib/lab/index.ts";
import { judgementText, parseLabResult } from "../../lib/report/index.ts";
import { command, MAIN, needsNamespaces } from "../support/harness.ts";

const recorded = parseLabResult(readFileSync("test/golden/lab.json", "utf8"));
const kernels = recorded.kernels.filter(({ environment }) => environment);
const answered: LabResult = {
  ...recorded,
  kernels,
  findings: recorded.findings.filter(({ answer }) => answer !== undefined),
};
const expectation = expectationOf(answered);
const exitCode = (result: LabResult, of = expectation) =>
  labExitCode(result, { judgement: judge(result, of) });

function validator(name: string) {
  return new Ajv2020({ allowUnionTypes: true }).compile(
    JSON.parse(readFileSync(`docs/schema/${name}.json`, "utf8")),
  );
}

describe("an expectation", () => {
  it("is what a lab answered, and is the same when read from its file", () => {
    expect(validator("lab-expect-1")(expectation)).toBe(true);
    expect(parseExpectation(JSON.stringify(expectation))).toEqual(expectation);
    expect(exitCode(answered)).toBe(0);
  });

  it.each([
    ["another schema", { ...expectation, schema: "other/1" }],
    ["no kernels", { ...expectation, kernels: [] }],
    ["an answer that is not text", { ...expectation, kernels: [{ id: "a", answers: { steps: 1 } }] }],
  ])("is refused with %s", (_, value) => {
    expect(() => parseExpectation(JSON.stringify(value))).toThrow();
    expect(validator("lab-expect-1")(value)).toBe(false);
  });

  it("cannot be made of a lab without an answer", () => {
    expect(() => expectationOf({ ...answered, findings: [] })).toThrow(/no kernel gave an answer/);
  });

  it("exits with 3 where an answer differs, even where another could not be asked", () => {
    const [first, ...others] = answered.findings;
    const other = { ...answered, findings: [{ ...first!, answer: "another" }, ...others.slice(1)] };
    expect(exitCode(other)).toBe(3);
    const judgement = judge(other, expectation);
    expect({ differs: judgement.differs.length, unasked: judgement.unasked.length }).toEqual({
      differs: 1,
      unasked: 1,
    });
    expect(judgementText(judgement)).toMatch(
      new RegExp(`^${first!.kernel}, ${first!.experiment}: another; expected `),
    );
    expect(judgementText(judgement)).toMatch(/\d+ as expected, 1 differs, 1 could not be asked$/);
  });

  it("exits with 125 where a guest died, a kernel is missing, or nothing is expected of it", () => {
    expect(exitCode({ ...answered, findings: answered.findings.slice(1) })).toBe(125);
    const missing = answered.kernels.map((kernel) => ({ ...kernel, missing: "needs a tool" }));
    expect(exitCode({ ...answered, kernels: missing })).toBe(125);
    const [one, two] = [expectation.kernels[0]!, { id: "other", answers: {} }];
    const renamed = { ...answered, kernels: [{ ...kernels[0]!, id: "unknown" }] };
    expect(exitCode(renamed, { ...expectation, kernels: [one, two] })).toBe(125);
    expect(exitCode({ ...answered, kernels: [] })).toBe(125);
  });

  it("of one kernel is expected of every kernel: each commit of a bisection has a name of its own", () => {
    const { id } = kernels[0]!;
    const one = { ...expectation, kernels: expectation.kernels.filter((kernel) => kernel.id === id) };
    const renamed = {
      ...answered,
      kernels: [{ ...kernels[0]!, id: "qemu ./bzImage" }],
      findings: answered.findings
        .filter(({ kernel }) => kernel === id)
        .map((finding) => ({ ...finding, kernel: "qemu ./bzImage" })),
    };
    expect(exitCode(renamed, one)).toBe(0);
  });
});

it("a kernel that was named and is missing is not exit 0; a machine of the default is skipped", () => {
  const absent = {
    id: "uml 6.1",
    machine: "uml" as const,
    isEmulated: false,
    missing: "no",
    environment: null,
  };
  const findings = answered.findings.map((finding) => ({ ...finding, isAsExpected: null }));
  const result = { ...answered, findings, kernels: [...kernels, absent] };
  expect(labExitCode(result, { isNamed: true })).toBe(1);
  expect(labExitCode(result)).toBe(0);
});

describe("the command", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-expect-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const lab = (...args: string[]) =>
    command(process.execPath, [MAIN, "lab", "--output", path.join(folder, "lab.json"), ...args]);

  it("writes what it expects, and then exits with 0, 3 and 125", async (context) => {
    needsNamespaces(context);
    const [file, wrong] = [path.join(folder, "expect.json"), path.join(folder, "wrong.json")];
    const host = ["--machine", "host"];
    await lab(...host, "--experiments", "bind-first,reuse-address", "--write-expect", file);
    const asExpected = await lab(...host, "--expect", file, "--json");
    expect(asExpected).toMatchObject({ status: 0, stderr: "" });
    const printed = JSON.parse(asExpected.stdout);
    const validate = validator("lab-1");
    expect(validate(printed), JSON.stringify(validate.errors)).toBe(true);
    expect(printed.judgement).toEqual({ asExpected: 2, differs: [], unasked: [] });
    writeFileSync(wrong, readFileSync(file, "utf8").replace("EADDRINUSE", "yes"));
    expect(await lab(...host, "--expect", wrong)).toMatchObject({
      status: 3,
      stdout: expect.stringContaining("host, reuse-address: bound: yes; listening: EADDRINUSE; expected"),
    });
    const absent = path.join(folder, "vmlinuz");
    expect(await lab("--machine", "qemu", "--kernels", absent, "--expect", file)).toMatchObject({
      status: 125,
      stdout: expect.stringContaining("could not be asked"),
    });
    expect(await lab("--expect", path.join(folder, "none.json"))).toMatchObject({ status: 2 });
  });

  it("looks for the tools of a machine before it fetches a kernel", async () => {
    const programs = path.join(folder, "programs");
    mkdirSync(programs);
    const started = path.join(folder, "started");
    for (const name of ["apt-get", "apt-cache"]) {
      writeFileSync(path.join(programs, name), `#!/bin/sh\necho "$@" >> ${started}\n`, { mode: 0o755 });
    }
    writeFileSync(path.join(programs, "sh"), `#!/bin/sh\nPATH=${programs} exec /bin/sh "$@"\n`, {
      mode: 0o755,
    });
    const asked = ["--machine", "qemu", "--kernels", "6.1", "--cache", path.join(folder, "cache")];
    const args = [`PATH=${programs}`, process.execPath, MAIN, "lab", "--output", path.join(folder, "o.json")];
    const { status, stdout } = await command("env", [...args, ...asked]);
    expect({ status, stdout }).toEqual({
      status: 1,
      stdout: expect.stringMatching(/needs qemu-system-x86_64, busybox, cpio/),
    });
    expect(() => readFileSync(started)).toThrow(/ENOENT/);
  });

  it("lists its experiments and machines, and asks nothing", async () => {
    const { status, stdout } = await lab("--list", "--json");
    const list = JSON.parse(stdout);
    const validate = validator("lab-list-1");
    expect({ status, valid: validate(list) }, JSON.stringify(validate.errors)).toEqual({
      status: 0,
      valid: true,
    });
    const defaultOf = (name: string) =>
      list.experiments.find((one: { name: string }) => one.name === name)?.isDefault;
    expect([defaultOf("parity"), defaultOf("rate")]).toEqual([true, false]);
  });
});
