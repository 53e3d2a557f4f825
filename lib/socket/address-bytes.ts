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
  if (address.scope === undefined) return encodeAddress(address);
  const isIndex = /^\d+$/.test(address.scope);
  const index = isIndex ? Number(address.scope) : native.ifNameToIndex(address.scope);
  if (index > 0 && index <= MOST_SCOPE) return encodeAddress(address, index);
  if (index < 0 && !NO_INTERFACE.includes(errnoName(index)))
    throw new SocketError(index, { syscall: "if_nametoindex" });
  throw invalidArgument("ERR_UNKNOWN_SCOPE", `"${address.scope}" is not an interface of this host`);
}
