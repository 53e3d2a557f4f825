/** The options of a loop: defaults, bounds, and what is refused before the first packet. */
import { expect, it } from "vitest";
import type { ReconnectOptions } from "../../lib/loop/options.ts";
import { checkLoopOptions } from "../../lib/loop/options.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { Strategy } from "../../lib/socket/strategy.ts";
import { withNative } from "../support/harness.ts";

const peer = "127.0.0.1:1";
const onPorts = () => {};

it.each<[string, string, ReconnectOptions]>([
  ["ERR_NO_LIMIT", "needs attempts or durationMs", { peer }],
  ["ERR_OUT_OF_RANGE", "attempts 0 is not a count", { peer, attempts: 0 }],
  ["ERR_OUT_OF_RANGE", "attempts 9007199254740992 ", { peer, attempts: 2 ** 53 }],
  ["ERR_OUT_OF_RANGE", "durationMs 1.5 is not a count", { peer, durationMs: 1.5 }],
  ["ERR_OUT_OF_RANGE", "use 1 to 2147483647", { peer, durationMs: 2 ** 31 }],
  ["ERR_OUT_OF_RANGE", "selfConnects 0 is not a count", { peer, attempts: 1, selfConnects: 0 }],
  ["ERR_OUT_OF_RANGE", "use 1 to 4294967295", { peer, attempts: 1, selfConnects: 2 ** 32 }],
  ["ERR_OUT_OF_RANGE", "threads 257 is not a count: use 1 to 256", { peer, attempts: 1, threads: 257 }],
  ["ERR_OUT_OF_RANGE", "attemptsPerSecond 0 is not a rate", { peer, attempts: 1, attemptsPerSecond: 0 }],
  ["ERR_OUT_OF_RANGE", "Infinity is not a rate", { peer, attempts: 1, attemptsPerSecond: Infinity }],
  ["ERR_OUT_OF_RANGE", "NaN is not a rate", { peer, attempts: 1, attemptsPerSecond: Number.NaN }],
  ["ERR_PORTS_OF_THREADS", "use threads 1", { peer, attempts: 1, threads: 2, onPorts }],
  ["ERR_UNKNOWN_STRATEGY", "fresh", { peer, attempts: 1, strategy: "frehs" as Strategy }],
  [
    "ERR_UNKNOWN_OPTION",
    '"atempts" is not an option of ReconnectLoop: did you mean "attempts"?',
    { peer, atempts: 1 } as never,
  ],
  ["ERR_INVALID_PORT", "port 0", { peer: "127.0.0.1:0", attempts: 1 }],
  ["ERR_INVALID_SIGNAL", "signal", { peer, attempts: 1, signal: {} as AbortSignal }],
  ["ERR_OUT_OF_RANGE", "attempts Symbol(x)", { peer, attempts: Symbol("x") as never }],
  [
    "ERR_OUT_OF_RANGE",
    "attemptsPerSecond Symbol(x)",
    { peer, attempts: 1, attemptsPerSecond: Symbol("x") as never },
  ],
  ["ERR_INVALID_ADDRESS", "9 is not an address", { peer: 9 as never, attempts: 1 }],
  ["ERR_OPTION_VALUE", "onPorts cannot be 5", { peer, attempts: 1, onPorts: 5 as never }],
  ["ERR_NOT_THIS_HOST", "192.0.2.1:80", { peer: "192.0.2.1:80", attempts: 1 }],
  ["ERR_NOT_THIS_HOST", "2001:db8::1", { peer: "[2001:db8::1]:80", attempts: 1 }],
  ["ERR_NOT_THIS_HOST", "192.0.2.1", { peer: "[::ffff:192.0.2.1]:80", attempts: 1 }],
])("%s: %s", (code, message, options) => {
  expect(() => new ReconnectLoop(options)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

it.each<[ReconnectOptions, object]>([
  [
    { peer, attempts: 1 },
    { strategy: "fresh", threads: 1, engine: "auto" },
  ],
  [{ peer, durationMs: 1 }, { strategy: "fresh" }],
  [
    { peer, durationMs: 2 ** 31 - 1, attempts: 2 ** 53 - 1, selfConnects: 2 ** 32 - 1, threads: 256 },
    { threads: 256 },
  ],
  [
    { peer, attempts: 1, strategy: "bind", onPorts },
    { strategy: "bind", threads: 1, engine: "plain" },
  ],
  [
    { peer, attempts: 1, threads: 2, attemptsPerSecond: 0.001 },
    { threads: 2, engine: "plain" },
  ],
])("%o has its defaults, at the bounds too", (options, checked) => {
  expect(checkLoopOptions(options, loadNative())).toMatchObject({
    peer: { family: 4, host: "127.0.0.1", port: 1 },
    ...checked,
  });
});

it("the strategy range needs its option, and says which one does without", () => {
  const options = loadNative().options.map((row) =>
    row.name === "localPortRange" ? { ...row, inBuild: false } : row,
  );
  return withNative({ options }, () => {
    const refused = { code: "ERR_OPTION_UNSUPPORTED", message: expect.stringContaining("use bind") };
    expect(() => new ReconnectLoop({ peer, attempts: 1, strategy: "range" })).toThrow(
      expect.objectContaining(refused),
    );
    expect(new ReconnectLoop({ peer, attempts: 1, strategy: "bind" }).strategy).toBe("bind");
  });
});
