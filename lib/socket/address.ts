/** TCP addresses as text, as objects, and as the 24 bytes that native code reads and writes. */
import { parseHostAndPort } from "./address-forms.ts";
import { checkPort, hostBytes, hostText, MAPPED_PREFIX } from "./address-text.ts";
import { invalidArgument, textOf } from "./misuse.ts";
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

/**
 * Parses every form that parseHostAndPort() takes, except names: only localhost is one, and 127.0.0.1. Throws
 * ERR_INVALID_ADDRESS or ERR_INVALID_PORT, with what to write instead.
 */
export function parseAddress(text: string): Address {
  const { host, port } = parseHostAndPort(text);
  return numericAddress(
    host,
    port,
    `"${host}" is a name: use its IP address, or dial(), which resolves names`,
  );
}

function numericAddress(host: string, port: number, otherwise: string): Address {
  if (hostBytes(host.split("%")[0]!)) return toAddress(host, port);
  if (host.toLowerCase() === "localhost") return { family: 4, host: "127.0.0.1", port };
  throw invalidArgument("ERR_INVALID_ADDRESS", otherwise);
}

/** Checks a caller's address, text or object, and returns it with its host in canonical text. */
export function checkAddress(value: Address | string): Address {
  if (typeof value === "string") return parseAddress(value);
  if (value === null || typeof value !== "object" || typeof value.host !== "string") {
    const message = `${textOf(value)} is not an address: use a string or { family, host, port }`;
    throw invalidArgument("ERR_INVALID_ADDRESS", message);
  }
  const host = value.scope === undefined ? value.host : `${value.host}%${value.scope}`;
  const isLocalhost = host.toLowerCase() === "localhost" && value.family !== 6;
  const address = isLocalhost ? toAddress("127.0.0.1", value.port) : toAddress(host, value.port);
  if (value.family !== undefined && value.family !== address.family) {
    throw invalidArgument(
      "ERR_INVALID_ADDRESS",
      `${value.host} is an IPv${address.family} address, but family is ${value.family}`,
    );
  }
  return address;
}

/** checkAddress() of an address to connect to. Throws ERR_INVALID_PORT for port 0. */
export function checkPeer(value: Address | string): Address {
  const peer = checkAddress(value);
  checkPeerPort(peer.port);
  return peer;
}

/** Throws ERR_INVALID_PORT for port 0, which nobody can listen on. */
export function checkPeerPort(port: number): void {
  if (port !== 0) return;
  throw invalidArgument("ERR_INVALID_PORT", "port 0 cannot be connected to: use 1 to 65535", RangeError);
}

/** Throws ERR_INVALID_ADDRESS for a local address and a peer of two families: no socket connects one to the other. */
export function checkSameFamily(local: Address, peer: Address): void {
  const message = describeFamilies(local, peer);
  if (message !== null) throw invalidArgument("ERR_INVALID_ADDRESS", message);
}

/** What is wrong with a local address and a peer of two families, and the fix; null for two of one family. */
export function describeFamilies(local: Address, peer: Address): string | null {
  if (local.family === peer.family) return null;
  const [four, six] = local.family === 4 ? [local, peer] : [peer, local];
  const takesMapped = six.host === "::" || unmap(six).family === 4;
  const fix = takesMapped ? `write ${four.host} as ::ffff:${four.host}` : "take both of one family";
  const [from, to] = [`local ${local.host} is an IPv${local.family} address`, `peer ${peer.host}`];
  return `${from} and ${to} an IPv${peer.family} address: ${fix}`;
}

/**
 * Parses an address that is text; returns an Address as it is, for functions that are called too often to check what
 * its host is. Throws ERR_INVALID_ADDRESS for anything else.
 */
export function parseText(value: Address | string): Address {
  return typeof value !== "string" && isShaped(value) ? value : checkAddress(value);
}

function isShaped(value: Partial<Address> | null | undefined): value is Address {
  const isOfFamily = value?.family === 4 || value?.family === 6;
  return isOfFamily && typeof value?.host === "string" && typeof value.port === "number";
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
  const whole = bracketed ?? value;
  const isWhole =
    hostBytes(whole.split("%")[0]!) !== null && (bracketed === undefined || whole.includes(":"));
  if (isWhole) return toAddress(whole, 0);
  const [, digits] = /^:?(\d+)$/.exec(value) ?? [];
  if (digits !== undefined) {
    const fix = `write "127.0.0.1:${digits}", or "0.0.0.0:${digits}" for every address`;
    throw invalidArgument("ERR_INVALID_ADDRESS", `"${value}" has no host to bind to: ${fix}`);
  }
  if (value === "localhost") return { family: 4, host: "127.0.0.1", port: 0 };
  const { host, port } = parseHostAndPort(value);
  return numericAddress(host, port, `"${host}" is a name: bind to an IP address of this host`);
}

/** Creates an address from a numeric host, which may include a scope ("fe80::1%eth0"), and a port. */
export function toAddress(host: string, port: number): Address {
  checkPort(port);
  const percent = host.indexOf("%");
  const bare = percent < 0 ? host : host.slice(0, percent);
  const scope = percent < 0 ? undefined : host.slice(percent + 1);
  const bytes = hostBytes(bare);
  if (!bytes) {
    const fix = "use a numeric IPv4 or IPv6 address";
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

/** Formats an address as "127.0.0.1:80" or "[fe80::1%eth0]:80". */
export function formatAddress(address: Address): string {
  if (typeof address?.host !== "string") checkAddress(address);
  if (address.family === 4) return `${address.host}:${address.port}`;
  const scope = address.scope === undefined ? "" : `%${address.scope}`;
  return `[${address.host}${scope}]:${address.port}`;
}

/** Whether two addresses have the same host, scope and port; ::ffff:127.0.0.1 is the same host as 127.0.0.1. */
export function isSameAddress(one: Address | string, other: Address | string): boolean {
  const [a, b] = [parseText(one), parseText(other)];
  return a.port === b.port && isSameHost(a, b);
}

/** Whether two addresses have the same host and scope; their ports may differ. */
export function isSameHost(one: Address, other: Address): boolean {
  const a = unmap(one);
  const b = unmap(other);
  return a.host === b.host && a.scope === b.scope;
}

/** An address without its scope. A scope is a name on this host only: packets and socket tables have none. */
export function dropScope({ family, host, port }: Address): Address {
  return { family, host, port };
}

/** Converts ::ffff:a.b.c.d to a.b.c.d, the address that the kernel uses. Returns any other address unchanged. */
export function unmap(address: Address): Address {
  const bytes = hostBytes(address.host);
  if (address.family === 4 || !bytes || !MAPPED_PREFIX.every((byte, i) => bytes[i] === byte)) return address;
  return { family: 4, host: hostText(bytes.subarray(12)), port: address.port };
}

/**
 * Memory for an address that native code reads or writes, with anything in it. A piece of Node's pool: a small array of
 * its own is on V8's heap, and moves off it when native code asks where it is.
 */
export function allocateAddress(): Buffer {
  return Buffer.allocUnsafe(ADDRESS_BYTES);
}

/** Encodes an address for native code. The caller looks up the index of its scope. Throws ERR_INVALID_ADDRESS. */
export function encodeAddress(address: Address, scopeIndex = 0): Uint8Array {
  const host = hostBytes(address.host);
  if (host?.length !== (address.family === 4 ? 4 : 16)) {
    const message = `"${address.host}" is not the text of an IPv${address.family} address`;
    throw invalidArgument("ERR_INVALID_ADDRESS", message);
  }
  const bytes = allocateAddress().fill(0);
  bytes[0] = address.family;
  bytes[2] = address.port >> 8;
  bytes[3] = address.port;
  if (scopeIndex > 0) bytes.writeUInt32BE(scopeIndex, 4);
  bytes.set(host, 8);
  return bytes;
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
  const bytes = allocateAddress();
  const result = native[call](handle, bytes);
  return result < 0 ? result : decodeAddress(bytes, (index) => interfaceName(index, native));
}
