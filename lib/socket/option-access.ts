/** Reads and sets one option of a socket by its name, whoever owns the socket; a failure becomes an error here. */
import { errnoName, SocketError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Native, OptionRow } from "./native.ts";
import type { OptionName, SocketOptions } from "./options.ts";
import { allocateValue, decodeOption, encodeOption, optionIndex } from "./options.ts";

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
  const memory = allocateValue(row);
  const count = checkOptionResult(row, call(index, memory), "getsockopt");
  const { informationFields: fields, tcpStates: states } = native;
  return decodeOption(row, memory, count, { fields, states }) as SocketOptions[N];
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
  checkOptionResult(row, call(index, encodeOption(row, value)), "setsockopt");
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

/** Throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE or ERR_OPTION_READ_ONLY, before there is a socket to set them on. */
export function checkOptions(
  native: Native,
  options: Partial<SocketOptions>,
  otherKeys: readonly string[] = [],
): void {
  for (const [name, value] of Object.entries(options)) {
    const index = optionIndex(native.options, name, otherKeys);
    if (value !== undefined) encodeOption(native.options[index]!, value);
  }
}

function checkOptionResult(row: OptionRow, result: number, syscall: string): number {
  if (result >= 0) return result;
  const code = errnoName(result);
  if (!row.inBuild || code === "ENOPROTOOPT" || code === "ENOTSUP") {
    const why = row.ipv6Only ? "it is an option of IPv6 sockets" : `Linux has it since ${row.since}`;
    const message = `${row.name} (${row.constant}) is not supported here: ${why}`;
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  const fix = code === "EPERM" && row.capability ? `it needs ${row.capability}` : row.manual;
  throw new SocketError(result, { syscall, fix: `${row.constant}, ${fix}` });
}
