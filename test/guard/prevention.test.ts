/** What is set on a socket before connect(2): facts about the host, remembered for a second and no longer. */
import os from "node:os";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  cachedPeer,
  cachedPortFacts,
  isCachedOwnAddress,
  isOptionSupported,
  preventiveRanges,
} from "../../lib/guard/prevention.ts";
import type * as host from "../../lib/kernel/host.ts";
import { isOwnAddress, portFacts } from "../../lib/kernel/host.ts";
import type { Address } from "../../lib/socket/address.ts";
import { replaceNative } from "../../lib/socket/native.ts";
import { supported } from "../../lib/socket/supported.ts";
import { requires, withNative } from "../support/harness.ts";

vi.mock("../../lib/kernel/host.ts", { spy: true });

const FACTS_LIVE_MS = 1000;
const RANGE = { low: 40_000, high: 40_009 };
const peer = (port: number, address = "127.0.0.1"): Address => ({ family: 4, host: address, port });
const facts = (reservedPorts: host.PortFacts["reservedPorts"] = [], ephemeralRange = RANGE) =>
  vi.mocked(portFacts).mockReturnValue({ ephemeralRange, reservedPorts });

/** Time begins later with each test, so that what the test before has remembered is forgotten. */
let startsAt = 1_000_000;

beforeEach(() => {
  startsAt += 1_000_000;
  vi.useFakeTimers({ toFake: ["performance"] });
  vi.advanceTimersByTime(startsAt);
  vi.clearAllMocks();
  facts();
});

afterEach(() => {
  vi.useRealTimers();
  vi.mocked(portFacts).mockReset();
  vi.mocked(isOwnAddress).mockReset();
});

describe("a fact about the host is remembered for a second, and then asked for again", () => {
  it("the ephemeral range", () => {
    expect(cachedPortFacts().ephemeralRange).toEqual(RANGE);
    const later = { low: 50_000, high: 50_009 };
    facts([], later);
    vi.advanceTimersByTime(FACTS_LIVE_MS - 1);
    expect(cachedPortFacts().ephemeralRange).toEqual(RANGE);
    vi.advanceTimersByTime(1);
    expect(cachedPortFacts().ephemeralRange).toEqual(later);
    expect(portFacts).toHaveBeenCalledTimes(2);
  });

  it("the reserved ports, which need no prevention", (context) => {
    requires(context, "6.3", "localPortRange");
    expect(preventiveRanges(peer(40_003), "prevent")).toHaveLength(2);
    facts([{ low: 40_003, high: 40_003 }]);
    expect(preventiveRanges(peer(40_003), "prevent")).toHaveLength(2);
    vi.advanceTimersByTime(FACTS_LIVE_MS);
    expect(preventiveRanges(peer(40_003), "prevent")).toEqual([]);
  });

  it("the own addresses", () => {
    vi.mocked(isOwnAddress).mockReturnValue(true);
    const address = peer(40_003, "192.0.2.7");
    expect(isCachedOwnAddress(address)).toBe(true);
    vi.mocked(isOwnAddress).mockReturnValue(false);
    vi.advanceTimersByTime(FACTS_LIVE_MS - 1);
    expect(isCachedOwnAddress(address)).toBe(true);
    expect(isOwnAddress).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1);
    expect(isCachedOwnAddress(address)).toBe(false);
  });

  it("a peer, its address and its ranges", (context) => {
    requires(context, "6.3", "localPortRange");
    const known = cachedPeer("127.0.0.1", 40_003, performance.now());
    expect(known.address).toEqual(peer(40_003));
    expect(known.ranges).toEqual([
      { low: 40_004, high: 40_009 },
      { low: 40_000, high: 40_002 },
    ]);
    facts([], { low: 50_000, high: 50_009 });
    vi.advanceTimersByTime(FACTS_LIVE_MS - 1);
    expect(cachedPeer("127.0.0.1", 40_003, performance.now())).toBe(known);
    vi.advanceTimersByTime(1);
    expect(cachedPeer("127.0.0.1", 40_003, performance.now()).ranges).toEqual([]);
  });
});

describe("what is remembered is about one host", () => {
  it("a peer of the same port is another by its address", () => {
    const now = performance.now();
    expect(cachedPeer("127.0.0.1", 40_003, now).address.host).toBe("127.0.0.1");
    expect(cachedPeer("127.0.0.2", 40_003, now).address.host).toBe("127.0.0.2");
  });

  it("an address is another by its scope", () => {
    vi.mocked(isOwnAddress).mockImplementation(({ scope }) => scope === "lo");
    const linkLocal = { family: 6, host: "fe80::7", port: 1 } as const;
    expect(isCachedOwnAddress({ ...linkLocal, scope: "lo" })).toBe(true);
    expect(isCachedOwnAddress({ ...linkLocal, scope: "eth0" })).toBe(false);
    expect(isCachedOwnAddress(linkLocal)).toBe(false);
  });

  it("addresses are remembered side by side", () => {
    vi.mocked(isOwnAddress).mockReturnValue(false);
    for (const each of ["198.19.0.1", "198.19.0.2", "198.19.0.1"]) isCachedOwnAddress(peer(1, each));
    expect(isOwnAddress).toHaveBeenCalledTimes(2);
  });

  it("the addresses that are remembered have a bound", () => {
    vi.mocked(isOwnAddress).mockReturnValue(false);
    const hosts = Array.from({ length: 1025 }, (_, i) => `198.18.${i >> 8}.${i & 255}`);
    for (const each of hosts) isCachedOwnAddress(peer(1, each));
    vi.mocked(isOwnAddress).mockClear();
    isCachedOwnAddress(peer(1, hosts.at(-1)));
    expect(isOwnAddress, "the last is remembered").toHaveBeenCalledTimes(0);
    isCachedOwnAddress(peer(1, hosts[0]));
    expect(isOwnAddress, "the first is forgotten").toHaveBeenCalledTimes(1);
  });
});

describe("preventiveRanges", () => {
  it("is empty where nothing is to be prevented", () => {
    expect(preventiveRanges(peer(40_003), "detect")).toEqual([]);
    expect(preventiveRanges(peer(40_003), "off")).toEqual([]);
    expect(portFacts, "and asks the host nothing").not.toHaveBeenCalled();
    vi.mocked(isOwnAddress).mockReturnValue(false);
    expect(preventiveRanges(peer(39_999), "prevent")).toEqual([]);
    expect(isOwnAddress, "the cheap questions come first").not.toHaveBeenCalled();
    expect(preventiveRanges(peer(40_003, "192.0.2.8"), "prevent")).toEqual([]);
  });

  it("is empty where the host does not tell its range", () => {
    vi.mocked(portFacts).mockReturnValue({ ephemeralRange: null, reservedPorts: [] });
    expect(preventiveRanges(peer(40_003), "prevent")).toEqual([]);
    expect(preventiveRanges(peer(40_003), "prevent", RANGE)).toEqual([]);
    expect(cachedPeer("127.0.0.1", 40_003, performance.now()).ranges).toEqual([]);
  });

  it("keeps within the range that is asked for", (context) => {
    requires(context, "6.3", "localPortRange");
    expect(preventiveRanges(peer(40_003), "prevent", { low: 40_002, high: 40_004 })).toEqual([
      { low: 40_002, high: 40_002 },
      { low: 40_004, high: 40_004 },
    ]);
  });

  it("is empty where the kernel has no such option", () =>
    withNative(
      {
        setsockopt: () => -os.constants.errno.ENOPROTOOPT,
        getsockopt: () => -os.constants.errno.ENOPROTOOPT,
      },
      () => {
        expect(preventiveRanges(peer(40_003), "prevent")).toEqual([]);
      },
    ));

  it("a peer outside the range costs no question about its address", () => {
    expect(cachedPeer("127.0.0.1", 39_999, performance.now()).ranges).toEqual([]);
    expect(isOwnAddress).not.toHaveBeenCalled();
  });
});

describe("isOptionSupported", () => {
  it("asks a kernel once for each option", () => {
    const getsockopt = vi.fn(() => -os.constants.errno.ENOPROTOOPT);
    return withNative({ getsockopt }, () => {
      expect(isOptionSupported("localPortRange")).toBe(false);
      const { length } = getsockopt.mock.calls;
      expect(length).toBeGreaterThan(0);
      expect(isOptionSupported("localPortRange")).toBe(false);
      expect(getsockopt).toHaveBeenCalledTimes(length);
      expect(isOptionSupported("bindAddressNoPort")).toBe(false);
      expect(getsockopt.mock.calls.length).toBeGreaterThan(length);
    });
  });

  it("is what supported() says of this kernel, and false without the addon", () => {
    for (const name of ["localPortRange", "bindAddressNoPort", "noDelay"] as const)
      expect(isOptionSupported(name)).toBe(supported(name));
    const restore = replaceNative(null);
    try {
      expect(isOptionSupported("noDelay")).toBe(false);
    } finally {
      restore();
    }
  });
});
