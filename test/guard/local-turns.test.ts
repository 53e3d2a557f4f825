/** The local addresses of a dial: which fit the peer, and which is next. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { LocalTurns } from "../../lib/guard/local-turns.ts";
import { parseAddress } from "../../lib/socket/address.ts";

const PEERS = { 4: parseAddress("10.0.0.9:9"), 6: parseAddress("[::9]:9") };
const hosts = (turns: LocalTurns, family: 4 | 6) => turns.for(PEERS[family]).map(({ host }) => host);

afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  [undefined, 0],
  ["10.0.0.1", 4],
  ["::1", 6],
  [["10.0.0.1", "10.0.0.2"], 4],
  [["::1", "::2"], 6],
  [["10.0.0.1", "::1"], 0],
  [["::1", "10.0.0.1"], 0],
] as const)("%j resolves names for family %i", (local, family) => {
  expect(new LocalTurns(local).family).toBe(family);
});

it.each([
  [undefined, false],
  ["10.0.0.1", false],
  ["10.0.0.1:0", false],
  ["10.0.0.1:4711", true],
  [["10.0.0.1", "10.0.0.2:4711"], true],
  [["10.0.0.1", "10.0.0.2"], false],
] as const)("%j has a fixed port: %s", (local, isFixed) => {
  expect(new LocalTurns(local).isFixed).toBe(isFixed);
});

it("an empty list is an error", () => {
  expect(() => new LocalTurns([])).toThrow(expect.objectContaining({ code: "ERR_INVALID_ADDRESS" }));
});

describe("the addresses for a peer", () => {
  it("are those of its family; none is an error at once", () => {
    const mixed = new LocalTurns(["10.0.0.1", "::1", "10.0.0.2"]);
    expect(hosts(mixed, 4)).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(hosts(mixed, 6)).toEqual(["::1"]);
    for (const local of ["10.0.0.1", ["10.0.0.1", "10.0.0.2"]]) {
      expect(() => hosts(new LocalTurns(local), 6)).toThrow(
        /local 10\.0\.0\.1 is an IPv4 address and peer ::9 an IPv6/,
      );
    }
    expect(hosts(new LocalTurns(undefined), 4)).toEqual([]);
  });
});

describe("the next address", () => {
  const next = (turns: LocalTurns) => turns.next(turns.for(PEERS[4]))?.host;

  it("of one, or of none, is always the same", () => {
    expect([1, 2].map(() => next(new LocalTurns("10.0.0.1")))).toEqual(["10.0.0.1", "10.0.0.1"]);
    expect(next(new LocalTurns(undefined))).toBe(undefined);
  });

  it("of a list begins at a random one, and goes round, also over several dials with the same list", () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const list = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    const seen = [1, 2, 3, 4, 5].map(() => next(new LocalTurns(list)));
    expect(seen).toEqual(["10.0.0.3", "10.0.0.4", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    vi.spyOn(Math, "random").mockReturnValue(0);
    expect(next(new LocalTurns([...list])), "a new list begins anew").toBe("10.0.0.1");
  });

  it("does not count a turn where only one address fits", () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const list = ["10.0.0.1", "10.0.0.2", "::1"];
    expect(next(new LocalTurns(list))).toBe("10.0.0.1");
    const turns = new LocalTurns(list);
    expect(turns.next(turns.for(PEERS[6]))?.host).toBe("::1");
    expect(next(new LocalTurns(list))).toBe("10.0.0.2");
  });
});
