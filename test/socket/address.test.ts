import net from "node:net";
import { describe, expect, it } from "vitest";
import {
  ADDRESS_BYTES,
  checkAddress,
  decodeAddress,
  encodeAddress,
  formatAddress,
  isSameAddress,
  parseAddress,
  toAddress,
} from "../../lib/socket/address.ts";
import { hostBytes, hostText } from "../../lib/socket/address-text.ts";
import { random } from "../support/harness.ts";

const returnNoScope = () => "";

describe("addresses as text", () => {
  it.each([
    ["127.0.0.1:80", { family: 4, host: "127.0.0.1", port: 80 }],
    ["0.0.0.0:0", { family: 4, host: "0.0.0.0", port: 0 }],
    ["[::1]:443", { family: 6, host: "::1", port: 443 }],
    ["[::]:65535", { family: 6, host: "::", port: 65535 }],
    ["[2001:DB8:0:0:1:0:0:1]:1", { family: 6, host: "2001:db8::1:0:0:1", port: 1 }],
    ["[::ffff:127.0.0.1]:80", { family: 6, host: "::ffff:127.0.0.1", port: 80 }],
    ["[::ffff:7f00:1]:80", { family: 6, host: "::ffff:127.0.0.1", port: 80 }],
    ["[fe80::1%eth0]:22", { family: 6, host: "fe80::1", port: 22, scope: "eth0" }],
    ["[64:ff9b::192.0.2.33]:80", { family: 6, host: "64:ff9b::c000:221", port: 80 }],
  ])("%s is parsed", (text, address) => {
    expect(parseAddress(text)).toEqual(address);
  });

  it.each([
    "127.0.0.1:80",
    "[::1]:443",
    "[fe80::1%lo]:22",
    "[::ffff:127.0.0.1]:80",
  ])("%s is formatted as it was parsed", (text) => {
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  it.each([
    ["db:80", "ERR_INVALID_ADDRESS", '"db" is a name'],
    ["127.0.0.1", "ERR_INVALID_ADDRESS", "address:port"],
    ["::1:80", "ERR_INVALID_ADDRESS", "brackets"],
    ["[127.0.0.1]:80", "ERR_INVALID_ADDRESS", "brackets"],
    ["127.0.0.1:", "ERR_INVALID_PORT", "0 to 65535"],
    ["127.0.0.1:http", "ERR_INVALID_PORT", "http"],
    ["127.0.0.1:65536", "ERR_INVALID_PORT", "65536"],
    ["127.0.0.1:-1", "ERR_INVALID_PORT", "-1"],
    ["127.0.0.1:1e3", "ERR_INVALID_PORT", "1e3"],
    ["256.0.0.1:80", "ERR_INVALID_ADDRESS", "256.0.0.1"],
    ["127.1:80", "ERR_INVALID_ADDRESS", "127.1"],
    ["010.0.0.1:80", "ERR_INVALID_ADDRESS", "010.0.0.1"],
    ["[::1::2]:80", "ERR_INVALID_ADDRESS", "::1::2"],
    ["[1:2:3:4:5:6:7]:80", "ERR_INVALID_ADDRESS", "1:2:3"],
    ["[1:2:3:4:5:6:7::8]:80", "ERR_INVALID_ADDRESS", "::8"],
    ["[127.0.0.1%lo]:80", "ERR_INVALID_ADDRESS", "brackets"],
    ["127.0.0.1%lo:80", "ERR_INVALID_ADDRESS", "scope"],
    ["[fe80::1%]:80", "ERR_INVALID_ADDRESS", "scope"],
    ["", "ERR_INVALID_ADDRESS", "address:port"],
  ])("%j is refused: the error has a code and names the wrong part", (text, code, part) => {
    expect(() => parseAddress(text)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(part) }),
    );
  });

  it("an object is checked like text, and its family must match its host", () => {
    expect(checkAddress({ family: 6, host: "0:0::1", port: 7 })).toEqual({ family: 6, host: "::1", port: 7 });
    expect(() => checkAddress({ family: 4, host: "::1", port: 7 })).toThrow(/family is 4/);
    expect(() => checkAddress({ family: 4, host: "127.0.0.1", port: 1.5 })).toThrow(/1\.5/);
    expect(() => checkAddress(null as never)).toThrow(/^null is not an address: use/);
  });
});

describe("isSameAddress", () => {
  it.each([
    ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", true],
    ["[::1]:80", "[0:0:0:0:0:0:0:1]:80", true],
    ["127.0.0.1:80", "127.0.0.1:81", false],
    ["127.0.0.1:80", "[::1]:80", false],
    ["[fe80::1%a]:80", "[fe80::1%b]:80", false],
    ["[::127.0.0.1]:80", "127.0.0.1:80", false],
  ])("%s and %s: %s", (one, other, same) => {
    expect(isSameAddress(parseAddress(one), parseAddress(other))).toBe(same);
  });
});

describe("addresses as bytes", () => {
  it("are decoded to the address that was encoded, including its scope", () => {
    for (const text of ["127.0.0.1:80", "[2001:db8::7]:65535", "[::]:0"]) {
      const address = parseAddress(text);
      const bytes = encodeAddress(address);
      expect(bytes).toHaveLength(ADDRESS_BYTES);
      expect(decodeAddress(bytes, returnNoScope)).toEqual(address);
    }
    const scoped = decodeAddress(encodeAddress(parseAddress("[fe80::1%x]:9"), 3), (index) => `if${index}`);
    expect(scoped).toEqual({ family: 6, host: "fe80::1", port: 9, scope: "if3" });
  });

  it("are parsed and formatted as by node:net, for 20,000 random ones", () => {
    const { next, seed } = random();
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.from({ length: next() < 0.5 ? 4 : 16 }, () =>
        next() < 0.6 ? 0 : next() * 256,
      );
      const text = hostText(bytes);
      const family = bytes.length === 4 ? "ipv4" : "ipv6";
      expect(hostBytes(text), `seed ${seed}`).toEqual(bytes);
      const nodes = new net.SocketAddress({ address: text, family }).address;
      // inet_ntop(3) writes ::/96 with a dotted quad, which RFC 5952 does not require.
      const isCompatible = /^::\d+\./.test(nodes);
      expect(isCompatible ? hostText(hostBytes(nodes)!) : nodes, `seed ${seed}`).toBe(text);
    }
  });

  it("hostBytes() and node:net reject the same texts, for 20,000 mangled ones", () => {
    const { next, seed } = random();
    const pieces = ["0", "1", "ff", "ffff", "10000", ":", "::", ".", "127.0.0.1", "256", "g", "%"];
    for (let i = 0; i < 20_000; i++) {
      const length = 1 + Math.floor(next() * 12);
      const text = Array.from({ length }, () => pieces[Math.floor(next() * pieces.length)]).join("");
      expect(hostBytes(text) !== null, `${text}, seed ${seed}`).toBe(
        net.isIP(text) !== 0 && !text.includes("%"),
      );
    }
  });

  it("toAddress() returns the canonical text of a host", () => {
    expect(toAddress("0:0:0:0:0:ffff:1.2.3.4", 1).host).toBe("::ffff:1.2.3.4");
    expect(toAddress("1:0:0:2:0:0:0:3", 1).host).toBe("1:0:0:2::3");
  });
});
