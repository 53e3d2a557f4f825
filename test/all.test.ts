/** npm test -- FILTER: what its last lines say, and its exit code. */
import { mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { command } from "./support/harness.ts";
import { temporaryFile } from "./support/temporary.ts";

const lastLines = (text: string, count: number) => text.trimEnd().split("\n").slice(-count);

it("a run in which nothing passed and nothing failed has failed", async () => {
  const { status, stdout } = await command(process.execPath, ["test/all.mjs", "test/no-such-file"]);
  expect(lastLines(stdout, 2)).toEqual(["failed: tests", "0 passed, 1 failed"]);
  expect(status).toBe(1);
});

it("what is skipped is named, with what this machine lacks", async () => {
  const folder = temporaryFile("bin");
  mkdirSync(folder);
  symlinkSync(process.execPath, path.join(folder, "node"));
  const file = "test/guard/handle.ground.test.ts";
  const { stdout } = await command("env", [`PATH=${folder}`, process.execPath, "test/all.mjs", file]);
  const [skip, counts] = lastLines(stdout, 2);
  expect(skip).toMatch(new RegExp(`^skipped: ${file} > .+ — no network namespaces here: needs unshare`));
  expect(counts).toMatch(/^\d+ passed, 0 failed, \d+ skipped$/);
});
