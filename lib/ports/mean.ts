/** The mean number of attempts until a walk without salts picks the port, from every place. Pure. */
import type { Chain } from "./chain.ts";

/** With more places than this where a lap can begin, the equations cost more than the distribution. */
const MOST_ENTRIES = 32;

/**
 * Solves the equations E = 1 + (mean of the E of the next places), lap by lap from the port backwards: each E is a
 * number of attempts and a share of each of the E with which the next lap begins. Returns the E of every place, by
 * steps from the place after the port; null when the port may never be picked, or a lap can begin at too many places.
 */
export function meansOf(chain: Chain): Float64Array | null {
  const { places, own, hit, moves } = chain;
  const entries = entriesOf(chain);
  if (entries === null) return null;
  const size = entries.length;
  const slot = new Map(entries.map((step, index) => [step, index]));
  // The attempts, then the shares, of each place.
  const parts = new Float64Array(places * (size + 1));
  for (let step = places - 1; step >= 0; step--) {
    const at = step * (size + 1);
    const place = (own + 1 + step) % places;
    const miss = 1 - hit[place]!;
    parts[at] = 1;
    if (miss === 0) continue;
    const { advances, chances } = moves[place]!;
    for (let index = 0; index < advances.length; index++) {
      const target = step + advances[index]!;
      const chance = miss * chances[index]!;
      if (target >= places) parts[at + 1 + slot.get(target % places)!]! += chance;
      else
        for (let part = 0; part <= size; part++)
          parts[at + part]! += chance * parts[target * (size + 1) + part]!;
    }
  }
  const means = solve(entries.map((step) => parts.slice(step * (size + 1), (step + 1) * (size + 1))));
  if (means === null) return null;
  return Float64Array.from({ length: places }, (_, step) => {
    const at = step * (size + 1);
    return means.reduce((sum, mean, index) => sum + mean * parts[at + 1 + index]!, parts[at]!);
  });
}

/** The steps at which a next lap can begin; null when there are too many, or a walk can be stuck. */
function entriesOf({ places, own, hit, moves }: Chain): number[] | null {
  const entries = new Set<number>();
  for (let step = 0; step < places; step++) {
    const place = (own + 1 + step) % places;
    if (hit[place] === 1) continue;
    for (const advance of moves[place]!.advances) {
      if (advance === 0) return null;
      if (step + advance >= places) entries.add((step + advance) % places);
    }
    if (entries.size > MOST_ENTRIES) return null;
  }
  return [...entries];
}

/** Solves x = a + B x by Gaussian elimination; a row is [a, ...B]. Null when there is no finite solution. */
function solve(rows: readonly Float64Array[]): number[] | null {
  const size = rows.length;
  const table = rows.map((row, index) => {
    const values = Array.from({ length: size }, (_, column) => (column === index ? 1 : 0) - row[column + 1]!);
    return [...values, row[0]!];
  });
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column; row < size; row++) {
      if (Math.abs(table[row]![column]!) > Math.abs(table[pivot]![column]!)) pivot = row;
    }
    if (Math.abs(table[pivot]![column]!) < 1e-12) return null;
    [table[column], table[pivot]] = [table[pivot]!, table[column]!];
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const factor = table[row]![column]! / table[column]![column]!;
      for (let index = column; index <= size; index++) table[row]![index]! -= factor * table[column]![index]!;
    }
  }
  return table.map((row, index) => row[size]! / row[index]!);
}
