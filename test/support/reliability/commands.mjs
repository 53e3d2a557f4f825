// The part `commands` of check:deep: commands-program.mjs in a namespace, and its verdicts by command. A command whose
// system call fails says so in a line that names call and errno and exits with a documented code, or it does its work
// all the same; it never prints a stack trace, and never ends as if all were well.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";
import { buildPreload } from "./preload.mjs";

const PROGRAM = fileURLToPath(new URL("commands-program.mjs", import.meta.url));

export async function attackByCommands({ folder }) {
  if (spawnSync("cc", ["--version"]).error)
    return { facts: [], red: [], skipped: ["no C compiler: apt-get install gcc"] };
  const own = path.resolve(folder, "commands");
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own, { recursive: true });
  const library = path.resolve(buildPreload(path.join(folder, "preload")));
  const command = [process.execPath, PROGRAM, library, path.join(own, "control"), own];
  const { status, output } = await runCommand([...IN_NAMESPACE, ...command]);
  const lines = output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  const ended = status === 0 ? [] : [`exit code ${status}: ${output.slice(-600)}`];
  const isAsked = !spawnSync("redis-server", ["--version"]).error;
  const skipped = isAsked ? [] : ["worker: no redis-server: apt-get install redis-server"];
  return { ...summarize(lines, ended), skipped };
}

function summarize(lines, ended) {
  const tried = lines.filter(({ verdict, call }) => call && verdict !== "none");
  const names = [...new Set(tried.map(({ command }) => command))];
  const count = (some, verdict) => some.filter((one) => one.verdict === verdict).length;
  return {
    facts: [
      ["commands", names.length],
      ["faults tried, one for each system call of a command", tried.length],
      ["said, with the call and the errno", count(tried, "said")],
      ["made no difference to how the command ended", count(tried, "went on")],
    ],
    head: ["command", "system calls", "said", "went on", "red"],
    rows: names.map((name) => {
      const some = tried.filter(({ command }) => command === name);
      return [
        `\`${name}\``,
        some.length,
        ...["said", "went on", "red"].map((verdict) => count(some, verdict)),
      ];
    }),
    red: [
      ...ended,
      ...lines.filter(({ verdict }) => verdict === "red").map(({ id, why }) => `${id}: ${why}`),
    ],
  };
}
