/** Behind a load balancer that rewrites connect(2) and getpeername(2) a name proves nothing; the kernel's four-tuple does. */
import { describe, expect, it } from "vitest";
import { BACKEND, runBalanced, SERVICE } from "../support/balancer.ts";

const PROGRAM = new URL("../support/programs/balanced.mjs", import.meta.url).pathname;

const COUNT = 100;

describe.each([
  ["the port unchanged", BACKEND],
  ["another port", 80],
])("a service whose only backend is this host, with %s", (_what, port) => {
  it("hands out no socket that is joined to itself; control: without the guard it does", async (context) => {
    const found = await runBalanced<Record<string, number>>(context, port, [
      process.execPath,
      ...[PROGRAM, SERVICE, String(port), String(COUNT)],
    ]);
    expect(found.off, "control").toBeGreaterThan(0);
    expect(found).toMatchObject({ prevent: 0, detect: 0, dial: 0, proven: 1 });
    expect(found.refusals, "each a refusal with its verdict").toBeGreaterThan(0);
  });
});
