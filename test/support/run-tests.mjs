// Runs test/all.mjs, and reads what its last lines say.
import { runCommand } from "./run-command.mjs";

/**
 * npm test, or the tests in these files or folders alone: what failed, how many passed, and how many were skipped for each
 * reason. `prefix` is put before the command, `node` runs it; the rest are runCommand()'s options.
 */
export async function runTests(files, { prefix = [], node = process.execPath, ...options } = {}) {
  const command = [...prefix, node, "test/all.mjs", ...files];
  const { output } = await runCommand(command, options);
  const lines = output
    .slice(Math.max(0, output.lastIndexOf("\n— all: ")))
    .trimEnd()
    .split("\n");
  const linesOf = (word) =>
    lines.filter((line) => line.startsWith(word)).map((line) => line.slice(word.length));
  const failed = linesOf("failed: ");
  const passed = Number(/^(\d+) passed, /.exec(lines.at(-1))?.[1]);
  if (Number.isNaN(passed)) failed.push(`test/all.mjs did not end: ${lines.at(-1)}`);
  const skipped = linesOf("skipped: ");
  return { passed, failed, skipped, reasons: countReasons(skipped) };
}

/** Each reason once, with how often it was given: a line is "file > name — reason". */
function countReasons(skipped) {
  const counts = new Map();
  for (const reason of skipped.map((line) => line.replace(/^.* — /, ""))) {
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts].map(([reason, count]) => (count > 1 ? `${reason} (${count})` : reason));
}
