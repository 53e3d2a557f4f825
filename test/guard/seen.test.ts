/** The addresses that connectMany() has seen are remembered exactly, whatever they are and however many. */
import { describe, expect, it } from "vitest";
import { SeenAddresses } from "../../lib/guard/seen.ts";
import { encodeAddress, toAddress } from "../../lib/socket/address.ts";
import { FAMILIES, random } from "../support/harness.ts";

const bytesOf = (host: string, port: number) => encodeAddress(toAddress(host, port));

describe.each(FAMILIES)("SeenAddresses of IPv%i", (family) => {
  const prefix = family === 4 ? "10." : "fe80::10.";

  it("finds each address new once, for 20,000 random ones of which many repeat", () => {
    const { next, seed } = random();
    const below = (most: number) => Math.floor(next() * most);
    const seen = new SeenAddresses();
    const expected = new Set<string>();
    const wrong: string[] = [];
    for (let i = 0; i < 20_000; i++) {
      const [host, port] = [`${prefix}${below(4)}.${below(16)}.${below(256)}`, below(4)];
      const text = `${host} ${port}`;
      if (seen.add(bytesOf(host, port)) === expected.has(text)) wrong.push(text);
      expected.add(text);
    }
    expect(wrong, `SEED=${seed}`).toEqual([]);
  });

  it("finds each port of a host new once", () => {
    const seen = new SeenAddresses();
    // The port is the second 16-bit number. To encode the address 65,536 times takes seconds.
    const bytes = bytesOf(`${prefix}0.0.1`, 0);
    const port = new DataView(bytes.buffer, bytes.byteOffset + 2, 2);
    const addAll = () =>
      Array.from({ length: 65_536 }, (_, i) => {
        port.setUint16(0, i);
        return seen.add(bytes);
      }).filter(Boolean);
    expect(addAll()).toHaveLength(65_536);
    expect(addAll()).toEqual([]);
  });
});

it.each([
  "0.0.0.0",
  "255.255.255.255",
  "::",
  "::1",
])("%s is new once, at the lowest and highest port", (host) => {
  const seen = new SeenAddresses();
  for (const isNew of [true, false]) {
    for (const port of [0, 1, 65_535]) expect(seen.add(bytesOf(host, port))).toBe(isNew);
  }
});

it("an IPv4-mapped address is its IPv4 address", () => {
  const seen = new SeenAddresses();
  expect(seen.add(bytesOf("::ffff:127.0.0.1", 80))).toBe(true);
  expect(seen.add(bytesOf("127.0.0.1", 80))).toBe(false);
  expect(seen.add(bytesOf("::127.0.0.1", 80))).toBe(true);
});

it("addresses that differ in one byte only are different", () => {
  const seen = new SeenAddresses();
  const values = [0, 1, 255];
  const hosts = values.flatMap((a) => values.flatMap((b) => values.map((c) => `${a}.${b}.${c}.7`)));
  const addAll = () =>
    hosts.flatMap((host) => [0, 1, 255, 256, 65_535].map((port) => seen.add(bytesOf(host, port))));
  expect(new Set(addAll())).toEqual(new Set([true]));
  expect(new Set(addAll())).toEqual(new Set([false]));
});

it.each([
  "::feff:102:304",
  "::fffe:102:304",
  "1::ffff:102:304",
  "::1:ffff:102:304",
  "::102:304",
])("%s is no IPv4 address", (host) => {
  const seen = new SeenAddresses();
  seen.add(bytesOf("1.2.3.4", 80));
  expect(seen.add(bytesOf(host, 80))).toBe(true);
});
