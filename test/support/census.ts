/**
 * The census of descriptors around every test: a test fails if it leaves a descriptor of any kind open, or if garbage
 * collection had to close one of its handles.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { loadNative } from "../../lib/socket/native.ts";
import { watchWritable } from "../../lib/socket/reactor.ts";
import { openDescriptors } from "./descriptors.ts";
import { endPrograms } from "./harness.ts";

/** test/census.test.ts leaves descriptors open on purpose, and need not wait for them. */
const SETTLE_MS = Number(process.env.CENSUS_SETTLE_MS ?? 2000);
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

// Another hook closes what a hook opened for all tests of a file.
afterAll(async () => {
  endPrograms();
  await expectNoneLeft(beforeFile, "this file left descriptors open: close, reset or release each");
  expect(loadNative().leaks(), "handles that garbage collection had to close").toBe(0);
});

/** Starts the reactor before the tests, because its descriptors stay open from the first wait to the end of the process. */
function startReactor(): void {
  const native = loadNative();
  // An empty handle cannot be watched, but the call starts the reactor.
  watchWritable(native, native.handle(), () => {});
}

/** Waits for descriptors to close: Node closes handles in its next turn, and a peer's end a little later. */
async function expectNoneLeft(before: ReadonlyMap<string, string>, message: string): Promise<void> {
  const findLeft = () => [...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what);
  const endsAt = performance.now() + SETTLE_MS;
  while (findLeft().length > 0 && performance.now() < endsAt) await sleep(STEP_MS);
  const names = findLeft().map(([fd, what]) => `${fd}: ${what}`);
  expect(names, `${message}: ${names.join(", ")}`).toEqual([]);
}
