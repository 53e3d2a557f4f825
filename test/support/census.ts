/**
 * The census of descriptors around every test: a test fails that leaves one open, of whatever kind, or whose handles
 * garbage collection had to close.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { loadNative } from "../../lib/socket/native.ts";
import { watchWritable } from "../../lib/socket/reactor.ts";
import { openDescriptors } from "./descriptors.ts";
import { endPrograms } from "./harness.ts";

const SETTLE_MS = 2000;
const STEP_MS = 10;

let beforeFile: ReadonlyMap<string, string>;
let beforeTest: ReadonlyMap<string, string>;

beforeAll(() => {
  startReactor();
  beforeFile = openDescriptors();
});

beforeEach(() => {
  beforeTest = openDescriptors();
});

afterEach(async ({ task }) => {
  await expectNoneLeft(beforeTest, `"${task.name}" left descriptors open: close, reset or release each`);
});

// What a hook opened for all tests of a file is closed by another hook.
afterAll(async () => {
  endPrograms();
  await expectNoneLeft(beforeFile, "this file left descriptors open: close, reset or release each");
  expect(loadNative().leaks(), "handles that garbage collection had to close").toBe(0);
});

/** The reactor's descriptors are there from the first wait to the end of the process: let that be before the tests. */
function startReactor(): void {
  const native = loadNative();
  // An empty handle cannot be watched; the reactor has been started by then.
  watchWritable(native, native.handle(), () => {});
}

/** Node closes handles on the next turn of its loop, and a peer's end a little later: that is waited for. */
async function expectNoneLeft(before: ReadonlyMap<string, string>, message: string): Promise<void> {
  const left = () => [...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what);
  const endsAt = performance.now() + SETTLE_MS;
  while (left().length > 0 && performance.now() < endsAt) await sleep(STEP_MS);
  const names = left().map(([fd, what]) => `${fd}: ${what}`);
  expect(names, `${message}: ${names.join(", ")}`).toEqual([]);
}
