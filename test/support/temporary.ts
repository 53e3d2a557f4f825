/** Files of one test, in a folder that its end removes. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";

export function temporaryFile(name: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return path.join(folder, name);
}
