/** Which engine a loop asks for, and what its result says about it; the bursts are made up. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import { burstError, checkEngine, checkLoopPlatform, nameRefusal } from "../../lib/loop/engine.ts";
import type { ReconnectOptions } from "../../lib/loop/options.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { deadPeer, withNative } from "../support/harness.ts";

const { ECONNREFUSED, EMFILE, EPERM } = os.constants.errno;
const HEADER_WORDS = 6;
const RING_ATTEMPTS = 4;
const RING_REFUSAL = 5;

const onPorts = () => {};
const native = loadNative();

it.each([
  [{}, "auto"],
  [{ engine: "auto" }, "auto"],
  [{ engine: "plain" }, "plain"],
  [{ engine: "io_uring" }, "io_uring"],
  [{ onPorts }, "plain"],
  [{ onPorts, engine: "auto" }, "plain"],
  [{ attemptsPerSecond: 5 }, "plain"],
  [{ attemptsPerSecond: 5, engine: "plain" }, "plain"],
  [{ onPorts: undefined, engine: "io_uring" }, "io_uring"],
] as const)("%o asks for %s", (options, engine) => {
  expect(checkEngine(options, native)).toBe(engine);
});

it.each([
  [{ engine: "io_uring", onPorts }, "ERR_ENGINE_UNSUPPORTED", "onPorts needs the plain engine"],
  [
    { engine: "io_uring", attemptsPerSecond: 5 },
    "ERR_ENGINE_UNSUPPORTED",
    "attemptsPerSecond needs the plain engine",
  ],
  [{ engine: "iouring" as never }, "ERR_UNKNOWN_ENGINE", 'did you mean "io_uring"?'],
  [{ engine: null as never }, "ERR_UNKNOWN_ENGINE", "null is not an engine"],
] as const)("%o is an error at once", (options, code, message) => {
  expect(() => checkEngine(options, native)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

it("the error of a burst says what to do only where io_uring itself is missing", () => {
  expect(nameRefusal(EPERM)).toBe("io_uring: EPERM");
  const missing = burstError(-EPERM, "io_uring_setup");
  expect(missing).toMatchObject({ code: "EPERM", syscall: "io_uring_setup" });
  expect(missing.message).toMatch(/: io_uring is missing, .*: leave out the engine/);
  const other = burstError(-EMFILE, "socket");
  expect(other).toMatchObject({ code: "EMFILE", syscall: "socket" });
  expect(other.message).not.toContain("io_uring");
});

/** Runs a loop of bursts of which so many attempts of 100 are made by io_uring, and it is refused with an errno. */
async function runWith(options: Partial<ReconnectOptions>, byRing: readonly number[], refusal: number) {
  const asked: unknown[] = [];
  const burst: Native["burst"] = (...values) => {
    const [report, , engine] = values.slice(8) as [Uint32Array, number, string];
    const done = values.at(-1) as (result: number) => void;
    report[RING_ATTEMPTS] = byRing[asked.length]!;
    report[RING_REFUSAL] = refusal;
    report[HEADER_WORDS + ECONNREFUSED] = 100;
    asked.push(engine);
    done(0);
    return 0;
  };
  return withNative({ burst }, async () => {
    const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), attempts: 100 * byRing.length, ...options });
    const { engine, engineRefusal, attempts } = await loop.run();
    return { asked, engine, engineRefusal, attempts };
  });
}

describe("the result names the engine that made most attempts, and the refusal of io_uring", () => {
  it.each([
    [{}, [100, 100], 0, "io_uring", null],
    [{}, [51, 50], 0, "io_uring", null],
    [{}, [50, 50], 0, "plain", null],
    [{}, [0, 0], EPERM, "plain", "io_uring: EPERM"],
    [{ engine: "io_uring" }, [100], 0, "io_uring", null],
    [{ engine: "plain" }, [0], 0, "plain", null],
    [{ attemptsPerSecond: 1e9 }, [0], 0, "plain", null],
  ] as const)("%o, of 100 each %o, errno %i: %s, %s", async (options, byRing, refusal, engine, engineRefusal) => {
    const needsPlain = "attemptsPerSecond" in options;
    const asks = "engine" in options ? options.engine : needsPlain ? "plain" : "auto";
    expect(await runWith(options, byRing, refusal)).toEqual({
      asked: byRing.map(() => asks),
      engine,
      engineRefusal,
      attempts: 100 * byRing.length,
    });
  });
});

describe("a loop", () => {
  it("is refused where nothing could stop an attempt that waits", () => {
    expect(() => checkLoopPlatform("linux")).not.toThrow();
    expect(() => checkLoopPlatform("darwin")).toThrow(
      expect.objectContaining({
        code: "ERR_LOOP_UNSUPPORTED",
        message: expect.stringContaining("a reconnect loop needs Linux, and this is darwin"),
      }),
    );
  });
});
