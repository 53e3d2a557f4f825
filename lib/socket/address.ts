/** TCP addresses as text, as objects, and as the 24 bytes that native code reads and writes. */
import { invalidArgument } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";

/** A TCP address. `host` is numeric: dial() and connect() resolve names before they create one. */
export interface Address {
  /** The version of IP. */
  readonly family: 4 | 6;
  /** In canonical text: dotted quad, or RFC 5952. */
  readonly host: string;
  /** 0 to 65535; 0 lets the kernel pick in bind(2). */
  readonly port: number;
  /** The zone of a link-local IPv6 address: an interface's name or index (RFC 4007). */
  readonly scope?: string;
}

/** `sizeof(core::Address)`: family, 0, port, scope index, 16 bytes of host; integers in network order. */
export const ADDRESS_BYTES = 24;

/** Longer than any interface name. */
const MOST_NAME_BYTES = 256;

const ZERO = "0".charCodeAt(0);
/** The code of "." minus the code of "0". */
const DOT = ".".charCodeAt(0) - ZERO;

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** Parses "127.0.0.1:80" or "[::1%lo]:80". Throws ERR_INVALID_ADDRESS or ERR_INVALID_PORT. */
export function parseAddress(text: string): Address {
  const bracketed = /^\[([^\]]*)\]:(.*)$/.exec(text);
  const plain = bracketed ?? /^([^:]*):([^:]*)$/.exec(text);
  if (!plain) {
    const fix = text.includes(":")
      ? 'write an IPv6 address in brackets, as in "[::1]:80"'
      : 'write "address:port", as in "127.0.0.1:80"';
    throw invalidArgument("ERR_INVALID_ADDRESS", `"${text}" is not an address with a port: ${fix}`);
  }
  const port = plain[2] ?? "";
  if (!/^\d+$/.test(port)) {
    throw invalidArgument(
      "ERR_INVALID_PORT",
      `"${port}" in "${text}" is not a port: use a number, 0 to 65535`,
    );
  }
  const address = toAddress(plain[1] ?? "", Number(port));
  if (bracketed && address.family === 4) {
    throw invalidArgument("ERR_INVALID_ADDRESS", `"${text}": only IPv6 addresses are written in brackets`);
  }
  return address;
}

/** Checks a caller's address, text or object, and returns it with its host in canonical text. */
export function checkAddress(value: Address | string): Address {
  if (typeof value === "string") return parseAddress(value);
  if (value === null || typeof value !== "object" || typeof value.host !== "string") {
    throw invalidArgument("ERR_INVALID_ADDRESS", "an address is a string or { family, host, port }");
  }
  const host = value.scope === undefined ? value.host : `${value.host}%${value.scope}`;
  const address = toAddress(host, value.port);
  if (value.family !== undefined && value.family !== address.family) {
    throw invalidArgument(
      "ERR_INVALID_ADDRESS",
      `${value.host} is an IPv${address.family} address, but family is ${value.family}`,
    );
  }
  return address;
}

/** An address of this host, as text or as an object. Without a port, "10.0.0.1", the kernel picks one (port 0). */
export type LocalAddress =
  | string
  | Address
  | { readonly host: string; readonly family?: 4 | 6; readonly port?: number; readonly scope?: string };

/** Checks an address to bind(2) to, and returns it with its host in canonical text and its port, which may be 0. */
export function checkLocalAddress(value: LocalAddress): Address {
  if (typeof value !== "string") {
    return checkAddress(
      value !== null && typeof value === "object" ? ({ port: 0, ...value } as Address) : value,
    );
  }
  const [, bracketed] = /^\[([^\]]*)\]$/.exec(value) ?? [];
  const host = bracketed ?? value;
  const isWhole = hostBytes(host.split("%")[0]!) !== null && (bracketed === undefined || host.includes(":"));
  return isWhole ? toAddress(host, 0) : parseAddress(value);
}

/** Creates an address from a numeric host, which may include a scope ("fe80::1%eth0"), and a port. */
export function toAddress(host: string, port: number): Address {
  checkPort(port);
  const percent = host.indexOf("%");
  const bare = percent < 0 ? host : host.slice(0, percent);
  const scope = percent < 0 ? undefined : host.slice(percent + 1);
  const bytes = hostBytes(bare);
  if (!bytes) {
    const fix = "use a numeric IPv4 or IPv6 address; names are resolved by dial() and connect()";
    throw invalidArgument("ERR_INVALID_ADDRESS", `"${host}" is not an IP address: ${fix}`);
  }
  const family = bytes.length === 4 ? 4 : 6;
  if (scope !== undefined && (family === 4 || scope === "")) {
    throw invalidArgument("ERR_INVALID_ADDRESS", `"${host}": only an IPv6 address has a scope, an interface`);
  }
  // An IPv4 address that can be parsed is in canonical text already.
  const text = family === 4 ? bare : hostText(bytes);
  return scope === undefined ? { family, host: text, port } : { family, host: text, port, scope };
}

/** Throws ERR_INVALID_PORT unless the value is an integer from 0 to 65535. */
export function checkPort(port: unknown): asserts port is number {
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw invalidArgument(
      "ERR_INVALID_PORT",
      `port ${String(port)} is not a port: use 0 to 65535`,
      RangeError,
    );
  }
}

/** Formats an address as "127.0.0.1:80" or "[fe80::1%eth0]:80". */
export function formatAddress(address: Address): string {
  if (address.family === 4) return `${address.host}:${address.port}`;
  const scope = address.scope === undefined ? "" : `%${address.scope}`;
  return `[${address.host}${scope}]:${address.port}`;
}

/** Whether two addresses have the same host, scope and port; ::ffff:127.0.0.1 is the same host as 127.0.0.1. */
export function isSameAddress(one: Address, other: Address): boolean {
  return one.port === other.port && isSameHost(one, other);
}

/** Whether two addresses have the same host and scope; their ports may differ. */
export function isSameHost(one: Address, other: Address): boolean {
  const a = unmap(one);
  const b = unmap(other);
  return a.host === b.host && a.scope === b.scope;
}

/** An address without its scope. A scope is a name on this host only: packets and socket tables have none. */
export function bare({ family, host, port }: Address): Address {
  return { family, host, port };
}

/** Converts ::ffff:a.b.c.d to a.b.c.d, the address that the kernel uses. Returns any other address unchanged. */
export function unmap(address: Address): Address {
  const bytes = hostBytes(address.host);
  if (address.family === 4 || !bytes || !MAPPED_PREFIX.every((byte, i) => bytes[i] === byte)) return address;
  return { family: 4, host: hostText(bytes.subarray(12)), port: address.port };
}

/** Encodes an address for native code. The caller looks up the index of its scope. */
export function encodeAddress(address: Address, scopeIndex = 0): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  bytes[0] = address.family;
  bytes[2] = address.port >> 8;
  bytes[3] = address.port;
  if (scopeIndex > 0) new DataView(bytes.buffer).setUint32(4, scopeIndex);
  bytes.set(hostBytes(address.host) ?? [], 8);
  return bytes;
}

/** @internal Encodes an address for native code and looks up its scope. Throws ERR_UNKNOWN_SCOPE. */
export function addressBytes(address: Address, native: Native): Uint8Array {
  if (address.scope === undefined) return encodeAddress(address);
  const isIndex = /^\d+$/.test(address.scope);
  const index = isIndex ? Number(address.scope) : native.ifNameToIndex(address.scope);
  if (index > 0) return encodeAddress(address, index);
  throw invalidArgument("ERR_UNKNOWN_SCOPE", `"${address.scope}" is not an interface of this host`);
}

/** Decodes an address that native code wrote. `scopeName` returns the name of the interface with an index. */
export function decodeAddress(bytes: Uint8Array, scopeName: (index: number) => string): Address {
  const port = bytes[2]! * 256 + bytes[3]!;
  if (bytes[0] === 4) return { family: 4, host: `${bytes[8]}.${bytes[9]}.${bytes[10]}.${bytes[11]}`, port };
  const host = hostText(bytes.subarray(8, ADDRESS_BYTES));
  const scopeIndex = new DataView(bytes.buffer, bytes.byteOffset, ADDRESS_BYTES).getUint32(4);
  const address: Address = { family: 6, host, port };
  return scopeIndex === 0 ? address : { ...address, scope: scopeName(scopeIndex) };
}

/** if_indextoname(3): the name of an interface, or its index in digits when the interface no longer exists. */
export function interfaceName(index: number, native: Native): string {
  const name = new Uint8Array(MOST_NAME_BYTES);
  const length = native.ifIndexToName(index, name);
  return length < 0 ? String(index) : new TextDecoder().decode(name.subarray(0, length));
}

/** getsockname(2) or getpeername(2). Returns the address or -errno. */
export function readAddress(
  native: Native,
  handle: Handle,
  call: "getsockname" | "getpeername",
): Address | number {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  const result = native[call](handle, bytes);
  return result < 0 ? result : decodeAddress(bytes, (index) => interfaceName(index, native));
}

/** The 4 or 16 bytes of a numeric host; null when the text is not an IP address. */
export function hostBytes(host: string): Uint8Array | null {
  return host.includes(":") ? ipv6Bytes(host) : ipv4Bytes(host);
}

/** The canonical text of 4 or 16 bytes: dotted quad, or RFC 5952. */
export function hostText(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join(".") : ipv6Text(bytes);
}

/** Parses digit by digit: each bind and connect calls this, and a pattern for each part is four times slower. */
function ipv4Bytes(text: string): Uint8Array | null {
  const bytes = new Uint8Array(4);
  let part = 0;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit === DOT && digits > 0 && part < 3) {
      part++;
      digits = 0;
      continue;
    }
    // Leading zeros are rejected: some programs read them as octal, and an address must mean one thing.
    const value = bytes[part]! * 10 + digit;
    const isDigit = digit >= 0 && digit <= 9;
    if (!isDigit || value > 255 || (digits > 0 && bytes[part] === 0)) return null;
    bytes[part] = value;
    digits++;
  }
  return part === 3 && digits > 0 ? bytes : null;
}

function ipv6Bytes(text: string): Uint8Array | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = ipv6Groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? ipv6Groups(halves[1]!, true) : [];
  if (!head || !tail) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
}

/** The 16-bit groups on one side of "::"; only the end of the address may be a dotted quad. */
function ipv6Groups(text: string, isEnd: boolean): number[] | null {
  if (text === "") return [];
  const parts = text.split(":");
  const quad = isEnd ? ipv4Bytes(parts.at(-1)!) : null;
  if (quad) parts.pop();
  if (!parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return null;
  const groups = parts.map((part) => Number.parseInt(part, 16));
  return quad ? [...groups, quad[0]! * 256 + quad[1]!, quad[2]! * 256 + quad[3]!] : groups;
}

function ipv6Text(bytes: Uint8Array): string {
  if (MAPPED_PREFIX.every((byte, i) => bytes[i] === byte)) return `::ffff:${bytes.subarray(12).join(".")}`;
  const groups = Array.from({ length: 8 }, (_, i) => bytes[2 * i]! * 256 + bytes[2 * i + 1]!);
  const zeros = longestZeros(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

/** RFC 5952 section 4.2: finds the longest run of zero groups, and the first of several, to shorten it to "::". */
function longestZeros(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
