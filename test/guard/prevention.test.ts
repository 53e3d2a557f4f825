/** What is set on a socket before connect(2): facts about the host, remembered for a second and no longer. */
import os from "node:os";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  cachedPeer,
  cachedPortFacts,
  isCachedRoutedBack,
  isOptionSupported,
  preventiveRanges,
} from "../../lib/guard/prevention.ts";
import type * as host from "../../lib/kernel/host.ts";
import { portFacts } from "../../lib/kernel/host.ts";
import type { Address } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { replaceNative } from "../../lib/socket/native.ts";
import { canSelfConnect } from "../../lib/socket/route.ts";
import { supported } from "../../lib/socket/supported.ts";
import { requires, withNative } from "../support/harness.ts";

vi.mock("../../lib/kernel/host.ts", { spy: true });
vi.mock("../../lib/socket/route.ts", { spy: true });

const FACTS_LIVE_MS = 1000;
const RANGE = { low: 40_000, high: 40_009 };
/** The range without port 40,002, the longer part first. */
const WITHOUT = [
  { low: 40_003, high: 40_009 },
  { low: 40_000, high: 40_001 },
];
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
  vi.mocked(canSelfConnect).mockReset();
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
    expect(preventiveRanges(peer(40_002), "prevent").slice(-2)).toEqual(WITHOUT);
    facts([{ low: 40_002, high: 40_002 }]);
    expect(preventiveRanges(peer(40_002), "prevent").slice(-2)).toEqual(WITHOUT);
    vi.advanceTimersByTime(FACTS_LIVE_MS);
    expect(preventiveRanges(peer(40_002), "prevent")).toEqual([]);
  });

  it("the route back", () => {
    vi.mocked(canSelfConnect).mockReturnValue(true);
    const address = peer(40_002, "192.0.2.7");
    expect(isCachedRoutedBack(address)).toBe(true);
    vi.mocked(canSelfConnect).mockReturnValue(false);
    vi.advanceTimersByTime(FACTS_LIVE_MS - 1);
    expect(isCachedRoutedBack(address)).toBe(true);
    expect(canSelfConnect).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1);
    expect(isCachedRoutedBack(address)).toBe(false);
  });

  it("a peer, its address and its ranges", (context) => {
    requires(context, "6.3", "localPortRange");
    const known = cachedPeer("127.0.0.1", 40_002, performance.now());
    expect(known.address).toEqual(peer(40_002));
    const ranges = known.prevention!();
    expect([...{ [Symbol.iterator]: () => ranges }].slice(-2)).toEqual(WITHOUT);
    facts([], { low: 50_000, high: 50_009 });
    vi.advanceTimersByTime(FACTS_LIVE_MS - 1);
    expect(cachedPeer("127.0.0.1", 40_002, performance.now())).toBe(known);
    vi.advanceTimersByTime(1);
    expect(cachedPeer("127.0.0.1", 40_002, performance.now()).prevention).toBe(null);
  });
});

describe("what is remembered is about one host", () => {
  it("a peer of the same port is another by its address", () => {
    const now = performance.now();
    expect(cachedPeer("127.0.0.1", 40_002, now).address.host).toBe("127.0.0.1");
    expect(cachedPeer("127.0.0.2", 40_002, now).address.host).toBe("127.0.0.2");
  });

  it("an address is another by its scope", () => {
    vi.mocked(canSelfConnect).mockImplementation((peer) => typeof peer === "object" && peer.scope === "lo");
    const linkLocal = { family: 6, host: "fe80::7", port: 1 } as const;
    expect(isCachedRoutedBack({ ...linkLocal, scope: "lo" })).toBe(true);
    expect(isCachedRoutedBack({ ...linkLocal, scope: "eth0" })).toBe(false);
    expect(isCachedRoutedBack(linkLocal)).toBe(false);
  });

  it("addresses are remembered side by side", () => {
    vi.mocked(canSelfConnect).mockReturnValue(false);
    for (const each of ["198.19.0.1", "198.19.0.2", "198.19.0.1"]) isCachedRoutedBack(peer(1, each));
    expect(canSelfConnect).toHaveBeenCalledTimes(2);
  });

  it("the addresses that are remembered have a bound", () => {
    vi.mocked(canSelfConnect).mockReturnValue(false);
    const hosts = Array.from({ length: 1025 }, (_, i) => `198.18.${i >> 8}.${i & 255}`);
    for (const each of hosts) isCachedRoutedBack(peer(1, each));
    vi.mocked(canSelfConnect).mockClear();
    isCachedRoutedBack(peer(1, hosts.at(-1)));
    expect(canSelfConnect, "the last is remembered").toHaveBeenCalledTimes(0);
    isCachedRoutedBack(peer(1, hosts[0]));
    expect(canSelfConnect, "the first is forgotten").toHaveBeenCalledTimes(1);
  });
});

describe("preventiveRanges", () => {
  it("is empty where nothing is to be prevented", () => {
    expect(preventiveRanges(peer(40_002), "detect")).toEqual([]);
    expect(preventiveRanges(peer(40_002), "off")).toEqual([]);
    expect(portFacts, "and asks the host nothing").not.toHaveBeenCalled();
    vi.mocked(canSelfConnect).mockReturnValue(false);
    expect(preventiveRanges(peer(39_999), "prevent")).toEqual([]);
    expect(canSelfConnect, "the cheap questions come first").not.toHaveBeenCalled();
    expect(preventiveRanges(peer(40_002, "192.0.2.8"), "prevent")).toEqual([]);
  });

  it("is empty where the host does not report its range", () => {
    vi.mocked(portFacts).mockReturnValue({ ephemeralRange: null, reservedPorts: [] });
    expect(preventiveRanges(peer(40_002), "prevent")).toEqual([]);
    expect(preventiveRanges(peer(40_002), "prevent", { options: { localPortRange: RANGE } })).toEqual([]);
    expect(cachedPeer("127.0.0.1", 40_002, performance.now()).prevention).toBe(null);
  });

  it("keeps the parity of connect(2): ports of servers, which have the other, stay free", (context) => {
    requires(context, "6.3", "localPortRange");
    const drawn = Array.from({ length: 200 }, () =>
      preventiveRanges(peer(40_002), "prevent").slice(0, -2),
    ).flat();
    const ports = new Set(drawn.map(({ low, high }) => (low === high ? low : Number.NaN)));
    expect([...ports].sort()).toEqual([40_000, 40_004, 40_006, 40_008]);
    expect(preventiveRanges(peer(40_003), "prevent"), "and there parity prevents").toEqual([]);
    facts([{ low: 40_006, high: 40_008 }]);
    vi.advanceTimersByTime(FACTS_LIVE_MS);
    // One connect in 60 draws only ports that are excluded.
    const unreserved = Array.from({ length: 2000 }, () => preventiveRanges(peer(40_002), "prevent")[0]!.low);
    expect([...new Set(unreserved)].sort()).toEqual([40_000, 40_003, 40_004]);
  });

  it("asks the route with what it depends on: the local address, the device, the mark", () => {
    vi.mocked(canSelfConnect).mockReturnValue(false);
    const local = peer(0, "127.0.0.9");
    expect(
      preventiveRanges(peer(40_002), "prevent", { local, options: { device: "lo", noDelay: true } }),
    ).toEqual([]);
    expect(canSelfConnect).toHaveBeenCalledWith(peer(40_002), { local, options: { device: "lo" } });
    preventiveRanges(peer(40_002), "prevent", { options: { device: "lo" } });
    expect(canSelfConnect, "each is another route").toHaveBeenCalledTimes(2);
  });

  it("prevents when the kernel does not answer which route it is", (context) => {
    requires(context, "6.3", "localPortRange");
    vi.mocked(canSelfConnect).mockImplementation(() => {
      throw new SocketError(-os.constants.errno.EMFILE, { syscall: "socket" });
    });
    expect(isCachedRoutedBack(peer(40_002))).toBe(null);
    expect(preventiveRanges(peer(40_002), "prevent")).not.toEqual([]);
  });

  it("keeps within the range that is asked for", (context) => {
    requires(context, "6.3", "localPortRange");
    expect(
      preventiveRanges(peer(40_002), "prevent", {
        options: { localPortRange: { low: 40_001, high: 40_003 } },
      }),
    ).toEqual([
      { low: 40_001, high: 40_001 },
      { low: 40_003, high: 40_003 },
    ]);
  });

  it("is empty where the kernel has no such option", () =>
    withNative(
      {
        setsockopt: () => -os.constants.errno.ENOPROTOOPT,
        getsockopt: () => -os.constants.errno.ENOPROTOOPT,
      },
      () => {
        expect(preventiveRanges(peer(40_002), "prevent")).toEqual([]);
      },
    ));

  it("a peer outside the range costs no question about its address", () => {
    expect(cachedPeer("127.0.0.1", 39_999, performance.now()).prevention).toBe(null);
    expect(canSelfConnect).not.toHaveBeenCalled();
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
