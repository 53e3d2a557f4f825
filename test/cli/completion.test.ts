/** What shells complete with the scripts that completion prints. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { beforeAll, expect, it } from "vitest";
import { STRATEGIES } from "../../lib/socket/strategy.ts";
import { cli, command } from "../support/harness.ts";

const scripts: Record<string, string> = {};

beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { status, stdout } = await cli(["completion", shell]);
    expect(status).toBe(0);
    scripts[shell] = stdout;
  }
}, 60_000);

/** What bash proposes at the end of each line, as it splits it into words. */
async function proposedByBash(lines: readonly string[][]): Promise<string[][]> {
  const asks = lines.map((words) => {
    const array = words.map((word) => `'${word}'`).join(" ");
    return `COMP_WORDS=(${array}); COMP_CWORD=${words.length - 1}; _selfconnect; echo "\${COMPREPLY[*]}"`;
  });
  const { stdout, stderr } = await command("bash", ["-u", "-c", `${scripts.bash}\n${asks.join("\n")}`]);
  expect(stderr).toBe("");
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" "));
}

it("bash completes commands, options, their values and subcommands", async () => {
  const [commands, options, values, joined, below, choices, files, reused] = await proposedByBash([
    ["selfconnect", "re"],
    ["selfconnect", "trace", "--"],
    ["selfconnect", "reconnect", "--strategy", ""],
    ["selfconnect", "reconnect", "--strategy", "=", "f"],
    ["selfconnect", "lab", "clean", "--d"],
    ["selfconnect", "completion", ""],
    ["selfconnect", "trace", "--html", ""],
    ["selfconnect", "--help", "lab", "k"],
  ]);
  expect(commands).toEqual(["reconnect", "reserve", "report"]);
  expect(options).toEqual(expect.arrayContaining(["--html", "--json", "--help"]));
  expect(values).toEqual([...STRATEGIES]);
  expect(joined).toEqual(["fresh"]);
  expect(below).toEqual(["--dry-run"]);
  expect(choices).toEqual(expect.arrayContaining(["bash", "zsh", "fish", "man"]));
  // Nothing is proposed, so that bash proposes the names of files.
  expect(files).toEqual([""]);
  expect(reused).toEqual(["kernels"]);
});

it.each(["zsh", "fish"])("the script of %s has the commands and the values", (shell) => {
  for (const word of ["reconnect", "doctor", STRATEGIES.join(" ")]) expect(scripts[shell]).toContain(word);
});

for (const shell of ["zsh", "fish"])
  it(`${shell} reads its script without an error`, async (context) => {
    const isMissing = spawnSync(shell, ["--version"]).error !== undefined;
    context.skip(isMissing, `needs ${shell} (Debian: apt-get install ${shell})`);
    const file = path.join(os.tmpdir(), `selfconnect-completion-${process.pid}.${shell}`);
    writeFileSync(file, scripts[shell]!);
    try {
      const checked = await command(shell, ["-n", file]);
      expect(checked).toMatchObject({ status: 0, stderr: "" });
    } finally {
      await rm(file);
    }
  });
