/** The bytes of an address for native code, with the index of its interface. */
import type { Address } from "./address.ts";
import { encodeAddress } from "./address.ts";
import { errnoName, SocketError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Native } from "./native.ts";

/** Linux numbers interfaces with a positive int. */
const MOST_SCOPE = 2 ** 31 - 1;
/** What if_nametoindex(3) fails with when there is no such interface: on Linux and on macOS. */
const NO_INTERFACE = ["ENODEV", "ENXIO"];

/**
 * @internal Encodes an address for native code and looks up its scope. Throws ERR_UNKNOWN_SCOPE; SocketError EMFILE …
 * when the interface cannot be looked up.
 */
export function addressBytes(address: Address, native: Native): Uint8Array {
  return encodeAddress(address, address.scope === undefined ? 0 : interfaceIndex(address.scope, native));
}

/**
 * @internal if_nametoindex(3): the index of a scope, which may be the index itself. Throws what addressBytes() does.
 */
export function interfaceIndex(scope: string, native: Native): number {
  const isIndex = /^\d+$/.test(scope);
  const index = isIndex ? Number(scope) : native.ifNameToIndex(scope);
  if (index > 0 && index <= MOST_SCOPE) return index;
  if (index < 0 && !NO_INTERFACE.includes(errnoName(index)))
    throw new SocketError(index, { syscall: "if_nametoindex" });
  throw invalidArgument("ERR_UNKNOWN_SCOPE", `"${scope}" is not an interface of this host`);
}
