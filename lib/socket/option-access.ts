/** Reads and sets one socket option, by name or raw, whoever owns the socket; a failure becomes an error here. */
import { readFileSync } from "node:fs";
import { inspect, types } from "node:util";
import { errnoName, SocketError } from "./errors.ts";
import { checkObject, invalidArgument, textOf } from "./misuse.ts";
import type { Handle, Native, OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import { allocateValue, decodeOption, encodeOption, optionIndex } from "./option-values.ts";
import type { OptionName, SocketOptions } from "./options.ts";

/** Larger than the value of any option. */
const MOST_RAW_BYTES = 2 ** 20;

/** A native getsockopt or setsockopt of one socket: the row of the option, and its value. */
type OptionCall = (row: number, value: BigInt64Array | Uint8Array) => number;

/** getsockopt(2) by `call`, decoded. Throws what TcpSocket.getsockopt() documents. */
export function readOption<N extends OptionName>(
  native: Native,
  name: N,
  call: OptionCall,
): SocketOptions[N] {
  const index = optionIndex(native.options, name);
  const row = native.options[index]!;
  if (row.access === "write-only") {
    throw invalidArgument("ERR_OPTION_WRITE_ONLY", `${row.name} (${row.constant}) can only be set`);
  }
  const memory = allocateValue(row);
  const result = call(index, memory);
  if (result < 0) throw optionError(row, result, "getsockopt", undefined);
  return decodeOption(row, memory, result, native) as SocketOptions[N];
}

/** setsockopt(2) by `call` with the encoded value. Throws what TcpSocket.setsockopt() documents. */
export function writeOption(
  native: Native,
  name: OptionName,
  value: unknown,
  call: OptionCall,
  otherKeys: readonly string[] = [],
): void {
  const index = optionIndex(native.options, name, otherKeys);
  const row = native.options[index]!;
  const result = call(index, encodeOption(row, value, native));
  if (result < 0) throw optionError(row, result, "setsockopt", value);
}

/** setsockopt(2) by `call` for each option in the order given; one that is undefined is left out. */
export function writeOptions(
  native: Native,
  options: Partial<SocketOptions>,
  call: OptionCall,
  otherKeys: readonly string[] = [],
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) writeOption(native, name as OptionName, value, call, otherKeys);
  }
}

/**
 * Throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE or ERR_OPTION_READ_ONLY, before there is a socket to set them on, and
 * ERR_INVALID_OPTIONS for what is no object. `of` names it. `otherKeys` are names that it may have beside options;
 * their values are not checked.
 */
export function checkOptions(
  of: string,
  native: Native,
  options: Partial<SocketOptions>,
  otherKeys: readonly string[] = [],
): void {
  checkObject(of, options, ["the names of optionTable()", ...otherKeys]);
  for (const [name, value] of Object.entries(options)) {
    if (otherKeys.includes(name)) continue;
    const index = optionIndex(native.options, name, otherKeys);
    if (value !== undefined) encodeOption(native.options[index]!, value, native);
  }
}

/** getsockopt(2) of any option: up to `length` bytes, as many as the kernel wrote. */
export function getRawOption(
  native: Native,
  handle: Handle,
  level: number,
  name: number,
  length: number,
): Uint8Array {
  checkConstants(level, name);
  if (!Number.isInteger(length) || length < 0 || length > MOST_RAW_BYTES) {
    const message = `length ${textOf(length)} is not a number of bytes: use 0 to ${MOST_RAW_BYTES}`;
    throw invalidArgument("ERR_OPTION_VALUE", message);
  }
  const bytes = new Uint8Array(length);
  const result = native.rawGetsockopt(handle, level, name, bytes);
  if (result < 0) throw rawError(result, "getsockopt", level, name);
  return bytes.subarray(0, result);
}

/** setsockopt(2) of any option. */
export function setRawOption(
  native: Native,
  handle: Handle,
  level: number,
  name: number,
  bytes: Uint8Array,
): void {
  checkConstants(level, name);
  if (!types.isUint8Array(bytes)) {
    const message = `a raw option cannot be ${inspect(bytes, { depth: 0 })}: use a Uint8Array of the kernel's bytes`;
    throw invalidArgument("ERR_OPTION_VALUE", message);
  }
  const result = native.rawSetsockopt(handle, level, name, bytes);
  if (result < 0) throw rawError(result, "setsockopt", level, name);
}

/**
 * The numbers of the levels and options of getsockopt(2), by name, as this platform's compiler knows them: "SOL_TLS",
 * "TCP_REPAIR". For rawGetsockopt() and rawSetsockopt(). A constant that the platform lacks is absent.
 *
 * @example
 * import { socketConstants, TcpSocket } from "selfconnect";
 *
 * const { SOL_SOCKET, SO_TYPE } = socketConstants();
 * const socket = TcpSocket.open(4);
 * console.log(new Int32Array(socket.rawGetsockopt(SOL_SOCKET, SO_TYPE, 4).buffer)[0]); // 1
 * socket.close();
 */
export function socketConstants(): Readonly<Record<string, number>> {
  return loadNative().constants;
}

/** The options of tcp(7), ip(7), ipv6(7) and socket(7) that the table does not have, and why not. */
export function otherOptions(): Readonly<Record<string, string>> {
  return loadNative().otherOptions;
}

function checkConstants(level: number, name: number): void {
  for (const [what, number] of Object.entries({ level, name })) {
    if (Number.isInteger(number) && number >= 0 && number < 2 ** 31) continue;
    const fix = "use a number of socketConstants(), which has those of this platform";
    throw invalidArgument("ERR_OPTION_CONSTANT", `${what} ${textOf(number)} is not a constant: ${fix}`);
  }
}

function optionError(row: OptionRow, result: number, syscall: string, value: unknown): Error {
  const code = errnoName(result);
  if (!row.inBuild || code === "ENOPROTOOPT" || code === "ENOTSUP") {
    const why = row.ipv6Only ? "it is an option of IPv6 sockets" : `Linux has it since ${row.since}`;
    const message = `${row.name} (${row.constant}) is not supported here: ${why}`;
    return invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  const shown =
    typeof value === "string"
      ? JSON.stringify(value)
      : inspect(value, { compact: true, breakLength: Infinity });
  const given = syscall === "setsockopt" ? ` ${shown}` : "";
  return new SocketError(result, { syscall, fix: `${row.constant}${given}, ${fixFor(row, code)}` });
}

/** What the user can do about the errno of an option. */
function fixFor(row: OptionRow, code: string): string {
  const isRefused = code === "EPERM" || code === "EACCES";
  if (row.name === "congestion" && (isRefused || code === "ENOENT")) {
    const list = isRefused ? "tcp_allowed_congestion_control" : "tcp_available_congestion_control";
    return `use one of net.ipv4.${list}${sysctlValues(list)}${isRefused ? ", or CAP_NET_ADMIN" : ""}`;
  }
  if (row.name === "upperLayerProtocol" && code === "ENOENT") {
    return `use one of net.ipv4.tcp_available_ulp${sysctlValues("tcp_available_ulp")}, or load its module`;
  }
  if (row.kind === "address" && code === "ENOENT") {
    return "this connection was not redirected by netfilter (REDIRECT, DNAT)";
  }
  if (isRefused && row.name === "filter") return `lockFilter keeps it, or it needs ${row.capability}`;
  if (isRefused && row.capability) return `it needs ${row.capability}`;
  return row.manual;
}

function sysctlValues(name: string): string {
  try {
    return ` (${readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/).join(", ")})`;
  } catch {
    return ""; // Another platform, or a sandbox without /proc.
  }
}

function rawError(result: number, syscall: string, level: number, name: number): SocketError {
  const constants = Object.entries(socketConstants()).filter(([, number]) => number === name);
  const known = constants.map(([constant]) => constant).join(", ");
  return new SocketError(result, {
    syscall,
    fix: `level ${level}, option ${name}${known && ` (one of ${known})`}`,
  });
}
