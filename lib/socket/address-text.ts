/** The text of hosts and ports: numeric addresses as their bytes, and back. */
import { invalidArgument, textOf } from "./misuse.ts";

const ZERO = "0".charCodeAt(0);
/** The code of "." minus the code of "0". */
const DOT = ".".charCodeAt(0) - ZERO;

/** The first bytes of ::ffff:a.b.c.d. */
export const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** Throws ERR_INVALID_PORT unless the value is an integer from 0 to 65535. */
export function checkPort(port: unknown): asserts port is number {
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw invalidArgument(
      "ERR_INVALID_PORT",
      `port ${textOf(port)} is not a port: use 0 to 65535`,
      RangeError,
    );
  }
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
