/** lib/socket/free-port.ts: a search for a port ends, even when no port is free. */
import { describe, expect, it } from "vitest";
import { Instruments, NotHere } from "../../lib/lab/instruments.ts";
import { findFreePort } from "../../lib/socket/free-port.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { PortRange } from "../../lib/socket/port-range.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPort, LOOPBACK } from "../support/harness.ts";

const COUNT = 6;

function loopback(port: number) {
  return { family: 4, host: LOOPBACK[4], port } as const;
}

/** Calls `use` with a range of six ports. Listens on the ports at `taken`, counted from its low end. */
function withRange(taken: readonly number[], use: (range: PortRange) => void): void {
  const low = findFreePort({ low: 1024, high: 65_535 }, { count: COUNT });
  const listeners = taken.map((place) =>
    TcpSocket.open(4)
      .bind(loopback(low + place))
      .listen(),
  );
  try {
    use({ low, high: low + COUNT - 1 });
  } finally {
    for (const listener of listeners) listener.close();
  }
}

describe("findFreePort", () => {
  it("finds the only free port from any start", () => {
    withRange([0, 1, 2, 4, 5], (range) => {
      for (let from = range.low; from <= range.high; from++)
        expect(findFreePort(range, { from })).toBe(range.low + 3);
      expect(findFreePort(range, { from: range.high + 1 })).toBe(range.low + 3);
      expect(findFreePort(range)).toBe(range.low + 3);
    });
  });

  it("returns ports of one parity only", () => {
    withRange([0, 3], (range) => {
      const found = (parity: "low" | "other") =>
        new Set(Array.from({ length: 200 }, () => findFreePort(range, { parity }) - range.low));
      expect([...found("low")].sort()).toEqual([2, 4]);
      expect([...found("other")].sort()).toEqual([1, 5]);
    });
  });

  it("finds consecutive ports", () => {
    withRange([1], (range) => {
      expect(findFreePort(range, { count: 4, from: range.low })).toBe(range.low + 2);
      expect(() => findFreePort(range, { count: 5 })).toThrow(
        `no 5 consecutive free ports in ${range.low}-${range.high}: 2 tried, the last was EADDRINUSE`,
      );
    });
  });

  it("ends in a range of one port", () => {
    const low = deadPort();
    const range = { low, high: low };
    expect(findFreePort(range)).toBe(low);
    expect(() => findFreePort(range, { parity: "other" })).toThrow(
      expect.objectContaining({
        code: "ERR_NO_FREE_PORT",
        message: `no free port of this parity in ${low}-${low}: it has none`,
      }),
    );
    expect(() => findFreePort(range, { isWanted: (port) => port !== low })).toThrow(
      `no free port in ${low}-${low}: 1 tried, all unwanted`,
    );
  });

  it("ends in a full range", () => {
    withRange([0, 1, 2, 3, 4, 5], (range) => {
      expect(() => findFreePort(range, { parity: "low" })).toThrow(
        `no free port of this parity in ${range.low}-${range.high}: 3 tried, the last was EADDRINUSE`,
      );
    });
  });

  it("requires the port to be free on all addresses", () => {
    withRange([0, 1, 2, 3, 4], (range) => {
      using _sixth = TcpSocket.open(6).bind({ family: 6, host: LOOPBACK[6], port: range.high }).listen();
      const addresses = [loopback(0), { family: 6, host: LOOPBACK[6], port: 0 } as const];
      expect(findFreePort(range)).toBe(range.high);
      expect(() => findFreePort(range, { addresses })).toThrow("EADDRINUSE");
    });
  });

  it("stops after one port of an address that this host does not have", () => {
    const addresses = [{ family: 4, host: "192.0.2.1", port: 0 } as const];
    expect(listenRefusal({ ...addresses[0]!, port: deadPort() })).toBe("EADDRNOTAVAIL");
    const message = "listening on any port of 192.0.2.1 fails: bind EADDRNOTAVAIL";
    expect(() => findFreePort({ low: 1024, high: 65_535 }, { addresses })).toThrow(
      expect.objectContaining({ code: "EADDRNOTAVAIL", message }),
    );
  });
});

describe("the lab's ports", () => {
  /** Creates instruments whose ephemeral range is this one. */
  function createInstruments(range: PortRange): Instruments {
    return new (class extends Instruments {
      override get range(): PortRange {
        return range;
      }
    })(1, false);
  }

  it("throw NotHere for the second port of a range of one", () => {
    const low = deadPort();
    const instruments = createInstruments({ low, high: low });
    expect(instruments.findPort()).toBe(low);
    expect(() => instruments.findPort()).toThrow(NotHere);
    expect(() => instruments.findPort("other")).toThrow(NotHere);
  });

  it("throw NotHere in a full range", () => {
    withRange([0, 1, 2, 3, 4, 5], (range) => {
      const instruments = createInstruments(range);
      expect(() => instruments.findPort()).toThrow(NotHere);
      expect(() => instruments.findPorts(2)).toThrow(NotHere);
      expect(instruments.findPortOutside()).toBeLessThan(range.low);
    });
  });
});
