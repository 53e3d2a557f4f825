/** The examples of --help run: each for three seconds at most, where the files that it names are. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { examplesOf, readCommands } from "../support/cli-help.ts";
import { command, MAIN, needsNamespaces } from "../support/harness.ts";

/** Done, failed, found, could not ask, and interrupted; a usage error is none of them. */
const CODES = [0, 1, 3, 125, 130];

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-examples-"));
const commands = await readCommands();

/** Programs of the examples, and what stands in for those that a test cannot run. */
function prepare(): void {
  const bin = path.join(folder, "bin");
  mkdirSync(bin);
  const run = `exec "${process.execPath}" "${MAIN}" "$@"`;
  const programs = { selfconnect: run, sudo: 'exec "$@"', tcpdump: "cat lo.pcap" };
  for (const [name, line] of Object.entries(programs))
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  for (const name of ["app.js", "server.js"]) writeFileSync(path.join(folder, name), "");
  writeFileSync(path.join(folder, "package.json"), '{ "scripts": { "start": "node app.js" } }');
  mkdirSync(path.join(folder, "node_modules"));
  symlinkSync(process.cwd(), path.join(folder, "node_modules", "selfconnect"));
}

/** In namespaces of its own: other network, no /etc/sysctl.d, a home for the cache, a queue that nobody answers. */
function runLine(line: string) {
  const script = `ip link set lo up && mount -t tmpfs none /etc/sysctl.d
    cd ${folder} && export PATH=${folder}/bin:$PATH HOME=${folder} SELFCONNECT_QUEUE=redis://127.0.0.1:9
    ${line}`;
  return command("unshare", ["-rnmpf", "--mount-proc", "--kill-child", "sh", "-c", script]);
}

/** A Dockerfile's line as a line of the shell; what the namespace cannot reach is replaced: a name, a mirror, /app. */
function toShell(example: string): string {
  const [, list] = /CMD (\[.+\])$/.exec(example) ?? [];
  const line = list ? (JSON.parse(list) as string[]).join(" ") : example;
  return line
    .replace("/app/node_modules/.bin/", "")
    .replace("db:5432 --wait 1m", "127.0.0.1:9 --wait 1s")
    .replace("lab --all", "lab --machine host --all");
}

/** The shell that an example is for: those of completion name theirs. */
function shellOf(example: string): string {
  return /\bcompletion (\w+)/.exec(example)?.[1] ?? "sh";
}

/** Short runs whose results the examples of a command compare with; those of the others read the lab's. */
const BASELINES: Readonly<Record<string, string>> = {
  bench: "bench --only start-up --rounds 1",
  ports: "ports --count 500",
  predict: "predict",
  lab: "lab --machine host --experiments bind-first --write-expect expected.json",
};
const RESULTS = ["monday", "friday", "one", "other", "before", "after", "6.1", "6.12"];

beforeAll(async () => {
  prepare();
  const runs = Object.entries(BASELINES).map(
    ([name, words]) => `selfconnect ${words} --output ${name}.result`,
  );
  const { status, stderr } = await runLine(["selfconnect trace --write lo.pcap", ...runs].join(" && "));
  if (status !== 0) throw new Error(stderr);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("--help of", () => {
  beforeEach((context) => needsNamespaces(context));

  it.for([...commands].flatMap(([name, one]) => examplesOf(one).map((example) => [name, example] as const)))(
    "%s: %s runs",
    { timeout: 60_000 },
    async ([name, example], context) => {
      const shell = shellOf(example);
      context.skip(
        spawnSync(shell, ["-c", "true"]).error !== undefined,
        `needs ${shell} (Debian: apt-get install ${shell})`,
      );
      const result = `${name in BASELINES ? name : "lab"}.result`; // An example may write over one.
      const files = `for name in ${RESULTS.join(" ")}; do cp ${result} $name.json; done`;
      // Everybody's .zshrc has it, and without it zsh completes nothing.
      const start = shell === "zsh" ? "autoload -U compinit && compinit -u && " : "";
      const line = quote(start + toShell(example));
      const { status, stderr } = await runLine(
        `${files}; timeout --signal=INT --kill-after=20 3 ${shell} -c ${line}`,
      );
      // timeout exits with 124 when it had to interrupt.
      expect([...CODES, 124], stderr).toContain(status);
      expect(stderr).not.toMatch(/^\s+at /m);
    },
  );
});

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
