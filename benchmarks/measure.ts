/** What a driver in TypeScript measures and prints: how often it did its work, how long, and its own CPU time. */

/**
 * V8 compiles what runs often; until it has, a connect costs twice as much. What it has compiled for the only object
 * of a class it compiles again for the second one, so the warm-up is many runs: connectMany() took 70 to 97 µs after
 * one of a second, and 51 to 71 after ten of 100 ms.
 */
const WARM_UPS = 10;
const WARM_UP_MS = 100;
const NS_PER_MS = 1e6;
const NS_PER_US = 1e3;

/**
 * Runs `run` for so long, after a warm-up that does not count, and prints one line of JSON. `run` returns how often it
 * did its work.
 */
export async function measure(
  run: (milliseconds: number) => number | Promise<number>,
  milliseconds: number,
): Promise<void> {
  for (let runs = 0; runs < WARM_UPS; runs++) await run(WARM_UP_MS);
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const count = await run(milliseconds);
  const elapsedNs = (performance.now() - startedAt) * NS_PER_MS;
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ count, elapsedNs, cpuNs: (user + system) * NS_PER_US }));
}
