/** How often a walk went past a port. */
import { expect, it } from "vitest";
import { findPasses } from "../../lib/ports/index.ts";

const range = { low: 100, high: 119 };
const passes = (ports: readonly number[], port: number) => findPasses(Uint16Array.from(ports), port, range);

it("counts the steps over a port, over the end of the range too, and the one that ends on it", () => {
  expect(passes([100, 104, 110, 118, 102, 106], 106)).toEqual({ at: [2, 5], otherParity: 0 });
  expect(passes([112, 116, 102], 118)).toEqual({ at: [2], otherParity: 0 });
});

it("takes a step of more than half the range for a jump, and counts the other parity", () => {
  expect(passes([100, 118, 101, 103], 110)).toEqual({ at: [], otherParity: 2 });
});

it("counts a walk that begins on the port once", () => {
  expect(passes([106, 108], 106).at).toEqual([0]);
});
