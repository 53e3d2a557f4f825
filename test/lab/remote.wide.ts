/**
 * Several hosts by ssh, each a real sshd on an address of loopback; `npm run check:wide -- fleet` runs this in a network
 * namespace of its own. One host hangs, one has no Node, one needs an addon that is not shipped, one breaks off.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { LIMITS, runLaunch } from "../../lib/lab/machine.ts";
import { parseSshHost, quoteWord, sshLaunch } from "../../lib/lab/remote.ts";
import { parseLabResult } from "../../lib/report/lab-schema.ts";
import { findFreePort } from "../../lib/socket/free-port.ts";
import { cli } from "../support/harness.ts";
import { needsSshd, SshdHosts } from "../support/sshd.ts";

const TIMEOUT_MS = 120_000;
const RANGE = { low: 2000, high: 3000 };
const NAMES = ["db1", "db2", "hanging", "nodeless", "foreign", "breaking", "quiet", "loud"] as const;
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-remote-"));
let hosts: SshdHosts;

/** Addresses of loopback that differ from each other, each with a port where nothing listens. */
function addressOf(name: (typeof NAMES)[number]) {
  const host = `127.0.0.${NAMES.indexOf(name) + 1}`;
  const address = { family: 4 as const, host, port: 0 };
  return { address: { ...address, port: findFreePort(RANGE, { addresses: [address] }) } };
}

beforeAll(async () => {
  const foreign = path.join(folder, "foreign.cjs");
  writeFileSync(foreign, `Object.defineProperty(process, "arch", { value: "riscv64" });`);
  const programs = path.join(folder, "bin");
  mkdirSync(programs);
  for (const name of ["mktemp", "rm", "mkdir", "uname", "head", "tail", "tar", "gzip"])
    symlinkSync(
      execFileSync("sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" }).trim(),
      path.join(programs, name),
    );
  const banner = path.join(folder, "banner");
  writeFileSync(banner, "\u001b[31mno entry\n".repeat(100));
  hosts = new SshdHosts({
    db1: addressOf("db1"),
    db2: addressOf("db2"),
    hanging: { ...addressOf("hanging"), sshd: ["ForceCommand exec sleep 1000"] },
    nodeless: { ...addressOf("nodeless"), environment: { PATH: programs, SHELL: "/bin/false" } },
    foreign: { ...addressOf("foreign"), environment: { NODE_OPTIONS: `--require=${foreign}` } },
    breaking: addressOf("breaking"),
    quiet: { ...addressOf("quiet"), sshd: ["ForceCommand exit 0"] },
    loud: { ...addressOf("loud"), sshd: [`Banner ${banner}`, "ForceCommand yes \"$(printf '\\033[2J')\""] },
  });
  await hosts.listening();
});
beforeEach(needsSshd);
afterAll(async () => {
  await hosts[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

function labOf(names: readonly string[], ...more: readonly string[]): string[] {
  const output = path.join(folder, "lab.json");
  const machine = names.map((name) => (name === "host" ? name : `ssh:${name}`)).join(",");
  return ["lab", "--ssh-config", hosts.config, "--machine", machine, "--output", output, "--json", ...more];
}

/** The command that hangs is a host's own, and not ours to end. */
async function expectNothingLeft(): Promise<void> {
  for (const name of NAMES) if (name !== "hanging") await hosts.expectNothingLeft(name);
}

it("the columns of those that can run are whole, and each other says why not", {
  timeout: TIMEOUT_MS,
}, async () => {
  const asked = ["host", ...NAMES.filter((name) => name !== "breaking")];
  const html = path.join(folder, "lab.html");
  const args = labOf(asked, "--experiments", "parity,peers", "--html", html);
  const { status, stdout } = await cli(args);
  const { kernels, findings } = parseLabResult(stdout);
  expect(kernels.map(({ id }) => id)).toEqual(asked.map((name) => (name === "host" ? name : `ssh:${name}`)));
  expect(kernels.map(({ missing }) => missing)).toEqual([
    ...[null, null, null],
    expect.stringMatching(/^it sent no message for 30 s$/),
    expect.stringMatching(/^it has no Node that runs \(.*\): install Node 20\.12/),
    expect.stringMatching(/^this package has no addon for linux-riscv64.*: it has it for linux-/),
    expect.stringMatching(/^it did not begin/),
    expect.stringMatching(/^it printed too much/),
  ]);
  const answers = (kernel: string) =>
    findings.filter((one) => one.kernel === kernel).map(({ experiment, answer }) => [experiment, answer]);
  expect(answers("host")).toHaveLength(2);
  expect(answers("ssh:db1")).toEqual(answers("host"));
  expect(answers("ssh:db2")).toEqual(answers("host"));
  expect(findings).toHaveLength(6);
  expect(status).toBe(1);
  const page = readFileSync(html, "utf8");
  for (const column of ["host", "ssh:db1", "ssh:db2"])
    expect(page).toMatch(new RegExp(`${column} \\d+\\.\\d+`));
  await expectNothingLeft();
  // The control: sshd ends no command with its connection.
  expect(hosts.processesOn("hanging").length).toBeGreaterThan(0);
});

it("a connection that breaks in each attempt at a question is a gap, which --resume fills", {
  timeout: TIMEOUT_MS,
}, async () => {
  const breakAll = setInterval(() => hosts.breakConnections("breaking"), 50);
  const questions = ["--experiments", "parity,rate"];
  const first = await cli(labOf(["db1", "breaking"], ...questions, "--trials", "2")).finally(() =>
    clearInterval(breakAll),
  );
  const broken = parseLabResult(first.stdout);
  const answered = (result: typeof broken, id: string) =>
    result.findings.filter(({ kernel, status }) => kernel === id && status === "answered").length;
  expect(answered(broken, "ssh:db1")).toBe(2);
  expect(answered(broken, "ssh:breaking")).toBeLessThan(2);
  expect(first.status).toBe(1);
  await expectNothingLeft();
  const second = await cli(labOf(["db1", "breaking"], ...questions, "--resume"));
  const whole = parseLabResult(second.stdout);
  expect(answered(whole, "ssh:breaking")).toBe(2);
  const ofOne = ({ findings }: typeof broken) => findings.filter(({ kernel }) => kernel === "ssh:db1");
  expect(ofOne(whole)).toEqual(ofOne(broken));
  expect(second.status).toBe(0);
  await expectNothingLeft();
});

it.for(["SIGINT", "SIGKILL"] as const)("%s ends it here and there", {
  timeout: TIMEOUT_MS,
}, async (signal) => {
  let isKilled = false;
  const result = await cli(labOf(["db1", "db2"], "--experiments", "rate,time"), (child) => {
    const watch = setInterval(() => {
      if (isKilled || hosts.processesOn("db1").length < 4 || hosts.processesOn("db2").length < 4) return;
      isKilled = true;
      clearInterval(watch);
      child.kill(signal);
    }, 20);
  });
  expect(isKilled).toBe(true);
  expect(result.status).toBe(signal === "SIGINT" ? 130 : null);
  await expectNothingLeft();
});

it("--on prints a line for each host, and the worst exit code", { timeout: TIMEOUT_MS }, async () => {
  const on = ["--on", "host,ssh:db1,ssh:nodeless", "--ssh-config", hosts.config];
  const audit = await cli(["audit", ...on]);
  const [here, there, none] = audit.stdout.split("\n");
  expect(here).toMatch(/^host +\d/);
  expect(there!.replace("ssh:db1", "host   ").replaceAll(/ +/g, " ")).toBe(here!.replaceAll(/ +/g, " "));
  expect(none).toMatch(/^ssh:nodeless +no result: it has no Node that runs/);
  expect(audit.status).toBe(1);
  await expectNothingLeft();
});

it.for([
  ["ports", "--count", "2000"],
  ["audit", "--port", "50000"],
  ["who", "50000"],
  ["predict", "--check", "10"],
  ["bench", "--only", "stop", "--rounds", "1"],
])("%j --on gives each host's object", { timeout: TIMEOUT_MS }, async (args) => {
  const { stdout, stderr } = await cli([
    ...args,
    "--on",
    "host,ssh:db1",
    "--ssh-config",
    hosts.config,
    "--json",
  ]);
  const results = JSON.parse(stdout);
  expect(results, stderr).toMatchObject([
    { host: "host", result: { schema: `selfconnect.${args[0]}/1` } },
    { host: "ssh:db1", result: { schema: `selfconnect.${args[0]}/1` } },
  ]);
  const text = await cli([...args, "--on", "ssh:db1", "--ssh-config", hosts.config]);
  expect(text.stdout).toMatch(/^ssh:db1 +\d/);
  expect(text.stdout).not.toMatch(/no result/);
  await expectNothingLeft();
});

it("the commands of docs/fleet.md run", { timeout: 3 * TIMEOUT_MS }, async () => {
  const section = readFileSync("docs/fleet.md", "utf8").split("## By ssh")[1]!;
  const commands = /```sh\n(.*?)```/s.exec(section)![1]!.trim().split("\n");
  expect(commands).toHaveLength(6);
  for (const command of commands) {
    const words = command
      .split(" ")
      .slice(1)
      .map((word) => word.replace(/^lab\.html$/, path.join(folder, word)));
    const { status, stdout, stderr } = await cli([...words, "--ssh-config", hosts.config]);
    expect(stdout, stderr).toMatch(/ssh:db1 .*ssh:db2 /s);
    expect(stdout).not.toMatch(/no result|could not run/);
    expect([0, 1, 3]).toContain(status); // A prediction that is checked by ten trials, or a bound, may be missed.
  }
  await expectNothingLeft();
});

it("arguments reach the command as they were given", { timeout: TIMEOUT_MS }, async () => {
  const word = `'"$(touch ${folder}/touched)' \\ * \\n`;
  const command = (given: string) => () => ["printf", quoteWord("said %s\\n"), quoteWord(given)];
  const run = async (given: string) => {
    let said = "";
    const work = { nonce: "abc", command: command(given), totalMs: TIMEOUT_MS };
    const launch = sshLaunch(parseSshHost("ssh:db1"), work, { sshConfig: hosts.config });
    const readLine = (line: string) => {
      said += /^said (.*)$/.exec(line)?.[1] ?? "";
      return said === "" ? "noise" : "last";
    };
    return [await runLaunch(launch, readLine, LIMITS), said];
  };
  expect(await run(word)).toEqual([null, word]);
  expect(existsSync(path.join(folder, "touched"))).toBe(false);
  expect(await run("1\n2")).toEqual(["a line break in an argument cannot be sent", ""]);
});

it("a Node that is named is the one that runs", { timeout: TIMEOUT_MS }, async () => {
  const program = path.join(folder, "node it's");
  writeFileSync(program, `#!/bin/sh\necho run >> '${folder}/runs'\nexec ${process.execPath} "$@"\n`, {
    mode: 0o755,
  });
  const named = ["--ssh-config", hosts.config, "--remote-node", program];
  const { status } = await cli(["who", "1", "--on", "ssh:nodeless", ...named]);
  expect(existsSync(path.join(folder, "runs"))).toBe(true);
  expect(status).toBe(0);
});

it("an unknown host key is refused, whatever the configuration says", async () => {
  const lax = path.join(folder, "lax_config");
  const strict = readFileSync(hosts.config, "utf8");
  writeFileSync(
    lax,
    `StrictHostKeyChecking no\n${strict.replaceAll(/UserKnownHostsFile .*/g, "UserKnownHostsFile /dev/null")}`,
  );
  const { stdout, status } = await cli(["audit", "--on", "ssh:db1", "--ssh-config", lax]);
  expect(stdout).toMatch(/Host key verification failed/);
  expect(status).toBe(1);
});
