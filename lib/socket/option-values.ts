/** The values of socket options as native code reads and writes them: 64-bit integers, or bytes. */

import { inspect, types } from "node:util";
import { ADDRESS_BYTES, checkAddress, decodeAddress, interfaceName } from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import { invalidArgument, nearest, textOf } from "./misuse.ts";
import type { Native, OptionRow } from "./native.ts";
import type { BpfProgram, Md5Signature } from "./option-structures.ts";
import type { OptionValue } from "./options.ts";
import type { PortRange } from "./port-range.ts";
import { decodeState } from "./tcp-state.ts";

/** Larger than a name, and than the headers of a SYN with many extension headers. */
const MOST_BYTES = 4096;
/** Larger than the number of fields of any structure. */
const MOST_INTEGERS = 128;
/** sizeof(struct sock_filter), and BPF_MAXINSNS. */
const INSTRUCTION_BYTES = 8;
const MOST_INSTRUCTIONS = 4096;
const MOST_KEY_BYTES = 80;
/** What native code writes for a field that this kernel does not report: kNoField. */
const NO_FIELD = -(2n ** 63n);
const UNLIMITED = 2n ** 64n - 1n;

/**
 * Finds a row by name. Throws ERR_UNKNOWN_OPTION, whose message names the near miss; `otherKeys` are names that the
 * same object may have beside options.
 */
export function optionIndex(
  rows: readonly OptionRow[],
  name: string,
  otherKeys: readonly string[] = [],
): number {
  const index = rows.findIndex((row) => row.name === name);
  if (index >= 0) return index;
  if (typeof name !== "string") {
    const fix = "use one of optionTable()";
    throw invalidArgument(
      "ERR_UNKNOWN_OPTION",
      `${inspect(name)} is not the name of a socket option: ${fix}`,
    );
  }
  const byConstant = rows.find((row) => row.constant === name)?.name;
  const meant = byConstant ?? nearest(name, [...rows.map((row) => row.name), ...otherKeys]);
  const fix = meant ? `; did you mean "${meant}"?` : "";
  throw invalidArgument("ERR_UNKNOWN_OPTION", `"${name}" is not a socket option${fix}`);
}

/** Allocates memory for the value that native code writes. */
export function allocateValue(row: OptionRow): BigInt64Array | Uint8Array {
  return hasBytes(row) ? new Uint8Array(MOST_BYTES) : new BigInt64Array(MOST_INTEGERS);
}

/** Whether the value is bytes for native code. */
function hasBytes(row: OptionRow): boolean {
  return ["text", "bytes", "address", "signature", "program"].includes(row.kind);
}

/** Encodes a value for native code. Throws ERR_OPTION_VALUE when the value is not one that the option can have. */
export function encodeOption(row: OptionRow, value: unknown, native: Native): BigInt64Array | Uint8Array {
  if (row.access === "read-only") {
    throw invalidArgument("ERR_OPTION_READ_ONLY", `${row.name} (${row.constant}) can only be read`);
  }
  switch (row.kind) {
    case "flag":
      if (typeof value !== "boolean") throw wrongValue(row, value, "true or false");
      return numbers(value ? 1n : 0n);
    case "integer":
      if (!isInteger(value, row.low, row.high)) throw wrongValue(row, value, `${row.low} to ${row.high}`);
      return numbers(BigInt(value));
    case "unsigned64":
      return encodeUnsigned(row, value);
    case "rate":
      return value === null ? numbers(UNLIMITED) : encodeUnsigned(row, value);
    case "seconds":
      if (value === null) return numbers(0n, 0n);
      if (!isInteger(value, 0, 65535)) throw wrongValue(row, value, "null, or 0 to 65535 seconds");
      return numbers(1n, BigInt(value));
    case "range":
      return encodeRange(row, value);
    case "word":
      return encodeWord(row, value);
    case "text":
      if (typeof value !== "string" || value.includes("\0")) throw wrongValue(row, value, "text without NUL");
      return new TextEncoder().encode(value);
    case "bytes":
      if (!types.isUint8Array(value)) throw wrongValue(row, value, "a Uint8Array");
      return value;
    case "signature":
      return encodeSignature(row, value, native);
    case "program":
      return encodeProgram(row, value);
    case "address":
    case "structure":
      throw wrongValue(row, value, "nothing: it can only be read");
  }
}

/** Decodes the value that native code wrote: `count` bytes or integers in `memory`. */
export function decodeOption(
  row: OptionRow,
  memory: BigInt64Array | Uint8Array,
  count: number,
  native: Native,
): OptionValue {
  if (memory instanceof Uint8Array) return decodeBytes(row, memory.subarray(0, count), native);
  const [first = 0n, second = 0n] = memory;
  switch (row.kind) {
    case "flag":
      return first !== 0n;
    case "unsigned64":
      return BigInt.asUintN(64, first);
    case "rate":
      return isUnlimited(first) ? null : BigInt.asUintN(64, first);
    case "seconds":
      return first === 0n ? null : Number(second);
    case "range":
      return { low: Number(first), high: Number(second) };
    case "word":
      return row.words[Number(first)] as OptionValue;
    case "structure":
      return decodeStructure(row, memory.subarray(0, count), native);
    default:
      return Number(first);
  }
}

function decodeBytes(row: OptionRow, bytes: Uint8Array, native: Native): OptionValue {
  if (row.kind === "text") return new TextDecoder().decode(bytes);
  if (row.kind === "address") return decodeAddress(bytes, (index) => interfaceName(index, native));
  return bytes.slice();
}

/** One property for each field that the kernel reports. */
function decodeStructure(row: OptionRow, values: BigInt64Array, native: Native): OptionValue {
  const fields = row.fields.flatMap((name, i) => {
    const value = values[i] ?? NO_FIELD;
    return value === NO_FIELD ? [] : [[name, decodeField(name, value, native)]];
  });
  return Object.fromEntries(fields) as OptionValue;
}

function decodeField(name: string, value: bigint, native: Native): string | number | boolean | null {
  if (name === "state") return decodeState(native.tcpStates, Number(value));
  if (name === "applicationLimited") return value !== 0n;
  if (/pacingBytesPerSecond$/i.test(name) && isUnlimited(value)) return null;
  return Number(BigInt.asUintN(64, value));
}

function isUnlimited(value: bigint): boolean {
  return BigInt.asUintN(64, value) === UNLIMITED;
}

function encodeUnsigned(row: OptionRow, value: unknown): BigInt64Array {
  if (typeof value !== "bigint" || value < 0n || value > UNLIMITED) {
    throw wrongValue(row, value, `a bigint of up to 64 bits${row.kind === "rate" ? ", or null" : ""}`);
  }
  return numbers(value);
}

function encodeRange(row: OptionRow, value: unknown): BigInt64Array {
  const { low, high } = (value ?? {}) as Partial<PortRange>;
  if (!isInteger(low, 0, 65535) || !isInteger(high, 0, 65535) || (low > high && high !== 0)) {
    throw wrongValue(row, value, "{ low, high } of 0 to 65535, with low not above high");
  }
  return numbers(BigInt(low), BigInt(high));
}

function encodeWord(row: OptionRow, value: unknown): BigInt64Array {
  const index = row.words.indexOf(value as string);
  if (index >= 0) return numbers(BigInt(index));
  const meant = nearest(textOf(value), row.words);
  const words = row.words.map((word) => `"${word}"`).join(", ");
  throw wrongValue(row, value, `${meant ? `"${meant}", one of ` : "one of "}${words}`);
}

function encodeSignature(row: OptionRow, value: unknown, native: Native): Uint8Array {
  const { peer, key } = (value ?? {}) as Partial<Md5Signature>;
  if (peer === undefined || !types.isUint8Array(key) || key.length > MOST_KEY_BYTES) {
    throw wrongValue(row, value, `{ peer, key } with a Uint8Array of up to ${MOST_KEY_BYTES} bytes`);
  }
  const bytes = new Uint8Array(ADDRESS_BYTES + key.length);
  bytes.set(addressBytes(checkAddress(peer), native));
  bytes.set(key, ADDRESS_BYTES);
  return bytes;
}

function encodeProgram(row: OptionRow, value: unknown): Uint8Array {
  const allowed = `1 to ${MOST_INSTRUCTIONS} instructions [code, jt, jf, k]`;
  if (!isProgram(value)) throw wrongValue(row, value, allowed);
  const bytes = new Uint8Array(value.length * INSTRUCTION_BYTES);
  const codes = new Uint16Array(bytes.buffer);
  const words = new Uint32Array(bytes.buffer);
  for (const [i, [code, jt, jf, k]] of value.entries()) {
    const at = i * INSTRUCTION_BYTES;
    codes[at / 2] = code;
    bytes[at + 2] = jt;
    bytes[at + 3] = jf;
    words[at / 4 + 1] = k;
  }
  return bytes;
}

function isProgram(value: unknown): value is BpfProgram {
  if (!Array.isArray(value) || value.length === 0 || value.length > MOST_INSTRUCTIONS) return false;
  const most = [2 ** 16 - 1, 255, 255, 2 ** 32 - 1];
  return value.every(
    (instruction) =>
      Array.isArray(instruction) &&
      instruction.length === most.length &&
      most.every((high, i) => isInteger(instruction[i], 0, high)),
  );
}

function numbers(first: bigint, second = 0n): BigInt64Array {
  return BigInt64Array.of(first, second);
}

function isInteger(value: unknown, low: number, high: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
}

function wrongValue(row: OptionRow, value: unknown, allowed: string): TypeError | RangeError {
  const message = `${row.name} (${row.constant}) cannot be ${inspect(value)}: use ${allowed}`;
  return invalidArgument("ERR_OPTION_VALUE", message);
}
