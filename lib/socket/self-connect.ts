/** Recognizes a self-connect, and predicts whether a connect would end in one. */
import type { Address } from "./address.ts";
import { isSameAddress, isSameHost, parseText, unmap } from "./address.ts";

/**
 * Whether the local address equals the peer address: a self-connect. A simultaneous open (RFC 9293 section 3.5) has
 * joined the socket to itself, and it receives what it sends.
 */
export function isSelfConnect(local: Address | string, peer: Address | string): boolean {
  return isSameAddress(local, peer);
}

/**
 * Whether connecting from a bound address would end in a self-connect. The kernel replaces an unspecified local
 * address by the one of the route, and an unspecified peer by loopback. `isRoutedBack`: canSelfConnect(), whether
 * the route to the peer has the peer's own address.
 */
export function wouldSelfConnect(
  local: Address | string,
  peer: Address | string,
  isRoutedBack: boolean,
): boolean {
  const [from, to] = [parseText(local), parseText(peer)];
  if (from.port === 0 || from.port !== to.port) return false;
  return isUnspecified(from) ? isRoutedBack : isSameHost(unmap(from), specify(to));
}

/** Converts ::ffff:a.b.c.d to a.b.c.d, and the unspecified address to loopback, as connect(2) does. */
export function specify(peer: Address): Address {
  const plain = unmap(peer);
  if (!isUnspecified(plain)) return plain;
  return { family: plain.family, host: plain.family === 4 ? "127.0.0.1" : "::1", port: plain.port };
}

/** Whether it is 0.0.0.0 or ::, also IPv4-mapped. */
export function isUnspecified(address: Address): boolean {
  const { host } = unmap(address);
  return host === "0.0.0.0" || host === "::";
}
