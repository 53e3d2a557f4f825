// What the programs of the deep checks print: one JSON object a line, written at once, because a crash may follow.
import { writeSync } from "node:fs";

const printed = new Set();

export function print(object) {
  writeSync(1, `${JSON.stringify(object)}\n`);
}

/** Prints an error that is a finding, with the first lines of its stack: once, whatever numbers are in it. */
export function printFinding(name, error, details = {}) {
  const lines = String(error?.stack ?? error).split("\n");
  const finding = `${name}: ${lines.slice(0, 3).join(" ")}`;
  const key = finding.replace(/\d+/g, "");
  if (printed.has(key)) return;
  printed.add(key);
  print({ finding, ...details });
}
