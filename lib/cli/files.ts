/** Files that commands write: whole, or not at all. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Writes beside the file and renames: an interruption leaves the old one. */
export function writeWhole(file: string, text: string): void {
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const beside = `${file}.${process.pid}.part`;
  writeFileSync(beside, text);
  renameSync(beside, file);
}
