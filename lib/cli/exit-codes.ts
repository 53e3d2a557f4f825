/** The exit codes: one table for all commands. */

export const EXIT = { done: 0, failed: 1, usage: 2, found: 3, unasked: 125, interrupted: 130 } as const;

const MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: "done",
  failed: "failed, or the result is unknown",
  usage: "usage",
  found: "found what the command looks for: a self-connect, a port at risk,\nan unexpected answer",
  unasked: "lab --expect could not ask: git bisect skips the commit",
  interrupted: "interrupted; the results so far are printed",
};

/** The table, for --help. */
export function exitCodeHelp(): string {
  const lines = Object.entries(EXIT).flatMap(([name, code]) => {
    const [first, ...more] = MEANINGS[name as keyof typeof EXIT].split("\n");
    return [`  ${String(code).padEnd(5)}${first}`, ...more.map((line) => " ".repeat(7) + line)];
  });
  return ["Exit codes:", ...lines].join("\n");
}
