/** The chances of many ports at once are those that pickChance() computes one by one. */
import { expect, test } from "vitest";
import { pickChance } from "../../lib/ports/chain.ts";
import { PORT_ALGORITHMS, portAlgorithm } from "../../lib/ports/index.ts";
import { PickChances } from "../../lib/ports/pick-chances.ts";
import { random } from "../support/harness.ts";

const LOW = 40_001;

test.each(["linux-5.18", "linux-bind", "hash-based"])("%s, in every range of up to nine ports", (name) => {
  const algorithm = portAlgorithm(name);
  for (const low of [LOW, LOW + 1]) {
    for (let size = 1; size <= 9; size++) {
      for (let mask = 0; mask < 1 << size; mask++) {
        const ports = Array.from({ length: size }, (_, index) => low + index);
        expectEqual(
          algorithm,
          low,
          size,
          ports.filter((_, index) => mask & (1 << index)),
        );
      }
    }
  }
});

test("all algorithms, in random ranges", () => {
  const { seed, next } = random();
  for (let round = 0; round < 30; round++) {
    const size = 10 + Math.floor(next() * 50);
    const density = next();
    const ports = Array.from({ length: size }, (_, index) => LOW + index).filter(() => next() < density);
    for (const algorithm of PORT_ALGORITHMS) expectEqual(algorithm, LOW, size, ports, `SEED=${seed}`);
  }
});

function expectEqual(
  algorithm: (typeof PORT_ALGORITHMS)[number],
  low: number,
  size: number,
  unusable: readonly number[],
  hint = "",
): void {
  const ephemeralRange = { low, high: low + size - 1 };
  const toRanges = (ports: readonly number[]) => ports.map((port) => ({ low: port, high: port }));
  const chances = new PickChances(algorithm, ephemeralRange, toRanges(unusable));
  for (let port = low; port < low + size; port++) {
    const others = toRanges(unusable.filter((other) => other !== port));
    const exact = pickChance(algorithm, { ephemeralRange, unusable: others }, port);
    const what = `${algorithm.name} ${low}+${size} without ${unusable}: ${port} ${hint}`;
    if (Math.abs(chances.of(port) - exact) > 1e-12) expect(chances.of(port), what).toBe(exact);
  }
}
