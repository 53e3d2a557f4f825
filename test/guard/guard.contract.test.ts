/** The contract of every way in and Node's insides, on the Node that runs this; npm run check:wide asks the others. */
import { expect, it } from "vitest";
import { command, needsRoot } from "../support/harness.ts";

it("every way in keeps the contract, and Node's insides are as the guard needs them", {
  timeout: 90_000,
}, async (context) => {
  needsRoot(context, "for network namespaces whose user it stays");
  const { status, stdout } = await command(process.execPath, ["test/wide.mjs", "--here"]);
  expect(stdout).toMatch(/^(?<checks>[2-9]\d) passed, 0 failed$/m);
  expect(status).toBe(0);
});
