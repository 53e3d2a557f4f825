/** The command line under a Node that is too old; npm run check:wide runs it there. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { describeOldNode } from "../../lib/cli/node-version.ts";

const { engines } = JSON.parse(readFileSync("package.json", "utf8"));
const oldest = engines.node.replace(">=", "");

describe("describeOldNode", () => {
  it.each([
    "16.20.2",
    "18.20.8",
    "20.11.1",
  ])("refuses %s in one line, which names what is needed", (version) => {
    const line = `selfconnect: Node ${version} is too old: install Node ${oldest} or later`;
    expect(describeOldNode(version)).toBe(line);
  });

  it.each([`${oldest}.0`, "20.20.2", "22.0.0", "26.10.0"])("accepts %s", (version) => {
    expect(describeOldNode(version)).toBeNull();
  });
});

it("README names the same version as engines", () => {
  expect(readFileSync("README.md", "utf8")).toContain(`Node ${oldest} or later`);
});
