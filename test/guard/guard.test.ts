/** The guard's pure functions, with every port of every small range. */
import { describe, expect, it } from "vitest";
import type { Guard } from "../../lib/guard/guard.ts";
import { checkGuard } from "../../lib/guard/guard.ts";
import { rangesWithout } from "../../lib/guard/prevention.ts";
import { parseAddress } from "../../lib/socket/address.ts";
import { clipRange, portCount } from "../../lib/socket/port-range.ts";
import { isSelfConnect, wouldSelfConnect } from "../../lib/socket/self-connect.ts";

describe("rangesWithout", () => {
  it("leaves out the peer's port and no other, at every position and parity", () => {
    for (let low = 100; low < 104; low++) {
      for (let high = low; high < low + 8; high++) {
        for (let port = low; port <= high; port++) {
          const ranges = rangesWithout(port, { low, high });
          const kept = ranges.flatMap((range) =>
            Array.from({ length: portCount(range) }, (_, i) => range.low + i),
          );
          const all = Array.from({ length: high - low + 1 }, (_, i) => low + i);
          expect(kept.sort(), `${port} of ${low}-${high}`).toEqual(all.filter((each) => each !== port));
        }
      }
    }
  });

  it("returns the longer range first", () => {
    expect(rangesWithout(50000, { low: 32768, high: 60999 })).toEqual([
      { low: 32768, high: 49999 },
      { low: 50001, high: 60999 },
    ]);
    expect(rangesWithout(32770, { low: 32768, high: 60999 })[0]).toEqual({ low: 32771, high: 60999 });
  });

  it("returns no range where the kernel cannot pick the port, or has no other", () => {
    expect(rangesWithout(80, { low: 32768, high: 60999 })).toEqual([]);
    expect(rangesWithout(50000, { low: 32768, high: 60999 }, [{ low: 49990, high: 50010 }])).toEqual([]);
    expect(rangesWithout(50000, { low: 50000, high: 50000 })).toEqual([]);
  });
});

describe("clipRange", () => {
  it("ignores a bound of 0 and a bound outside, as the kernel does", () => {
    const outer = { low: 100, high: 200 };
    expect(clipRange({ low: 0, high: 150 }, outer)).toEqual({ low: 100, high: 150 });
    expect(clipRange({ low: 120, high: 300 }, outer)).toEqual({ low: 120, high: 200 });
  });
});

describe("isSelfConnect and wouldSelfConnect", () => {
  const cases: [local: string, peer: string, isOwn: boolean, would: boolean][] = [
    ["127.0.0.1:80", "127.0.0.1:80", true, true],
    ["127.0.0.1:80", "127.0.0.1:81", true, false],
    ["127.0.0.1:0", "127.0.0.1:80", true, false],
    ["127.0.0.1:0", "127.0.0.1:0", true, false],
    ["127.0.0.2:80", "127.0.0.1:80", true, false],
    ["127.0.0.2:80", "127.0.0.2:80", true, true],
    ["0.0.0.0:80", "127.0.0.1:80", true, true],
    ["0.0.0.0:80", "127.0.0.2:80", false, false],
    ["0.0.0.0:80", "10.1.2.3:80", true, true],
    ["0.0.0.0:80", "10.1.2.3:80", false, false],
    ["127.0.0.1:80", "0.0.0.0:80", true, true],
    ["[::1]:80", "[::]:80", true, true],
    ["[::]:80", "[::1]:80", true, true],
    ["[::]:80", "[::ffff:127.0.0.1]:80", true, true],
    ["[::ffff:127.0.0.1]:80", "127.0.0.1:80", true, true],
    ["[fe80::1%lo]:80", "[fe80::1%eth0]:80", true, false],
  ];
  for (const [local, peer, isOwn, would] of cases) {
    it(`bound to ${local}, to ${peer}${isOwn ? "" : ", whose route has another source"}: ${would}`, () => {
      expect(wouldSelfConnect(parseAddress(local), parseAddress(peer), isOwn)).toBe(would);
    });
  }

  it("treats an IPv4-mapped address as its IPv4 address", () => {
    expect(isSelfConnect(parseAddress("[::ffff:127.0.0.1]:80"), parseAddress("127.0.0.1:80"))).toBe(true);
    expect(isSelfConnect(parseAddress("127.0.0.1:80"), parseAddress("127.0.0.1:82"))).toBe(false);
  });
});

describe("checkGuard", () => {
  it("suggests the name that was meant", () => {
    expect(() => checkGuard("prevnt" as Guard)).toThrow(/did you mean "prevent"/);
    expect(checkGuard(undefined)).toBe("prevent");
  });
});
