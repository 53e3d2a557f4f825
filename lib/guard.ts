/** The self-connect predicate: the one place that says what a self-connect is. */
import type { Address } from "./address.ts";
import { isSameAddress } from "./address.ts";

/**
 * A self-connect: the local address equals the peer address. The socket is joined to itself by a simultaneous
 * open (RFC 9293 section 3.5), and what it sends comes back to it.
 */
export function isSelfConnect(local: Address, peer: Address): boolean {
  return isSameAddress(local, peer);
}
