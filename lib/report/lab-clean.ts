/** What was removed from the lab's cache, as the object of docs/schema/lab-clean-1.json and as text. */
import type { CleanedCache } from "../lab/cache.ts";
import { mebibytes } from "./numbers.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText, tableLines } from "./terminal.ts";

/** The object of docs/schema/lab-clean-1.json. */
export interface LabCleanReport extends CleanedCache {
  /** The name and the version of the schema. */
  readonly schema: "selfconnect.lab-clean/1";
}

/** Builds the object of docs/schema/lab-clean-1.json. */
export function labCleanReport(cleaned: CleanedCache): LabCleanReport {
  return { schema: "selfconnect.lab-clean/1", ...cleaned };
}

/** The entries with their sizes, and the sum, for a terminal. */
export function labCleanText(cleaned: CleanedCache, options: TextOptions = {}): string {
  const { folder, entries, bytes, isDone } = cleaned;
  if (entries.length === 0) return renderText([`${folder}: nothing to remove`], options);
  const rows = entries.map((entry) => [entry.name, mebibytes(entry.bytes)]);
  const sum = `${folder}: ${mebibytes(bytes)} ${isDone ? "removed" : "would be removed"}`;
  return renderText([...tableLines(rows, "lr"), sum], options);
}
