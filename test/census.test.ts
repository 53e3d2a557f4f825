/** The census of descriptors can fail: each test that leaves descriptors open fails and names them. */
import { expect, it } from "vitest";
import { command } from "./support/harness.ts";

it("a descriptor left open is reported with its test, of whatever kind", { timeout: 120_000 }, async () => {
  const args = ["node_modules/vitest/vitest.mjs", "run", "--reporter=json"];
  const config = ["--config", "test/support/leaking.config.ts"];
  const { stdout } = await command(process.execPath, [...args, ...config]);
  const results: { title: string; failureMessages: string[] }[] =
    JSON.parse(stdout).testResults[0].assertionResults;
  const left = results.map(({ title, failureMessages }) => [title, failureMessages.join("\n")] as const);
  const reports = Object.fromEntries(left);
  expect(reports["closes what it opens"]).toBe("");
  for (const [title, ...kinds] of [
    ["forgets a socket", /\d+: socket:/],
    ["forgets a file", /\d+: \/dev\/null/],
    ["forgets a worker, with its epoll and its pipes", /anon_inode:\[eventpoll\]/, /pipe:/],
  ] as const) {
    expect(reports[title]).toContain(`"${title}" left descriptors open`);
    for (const kind of kinds) expect(reports[title]).toMatch(kind);
  }
});
