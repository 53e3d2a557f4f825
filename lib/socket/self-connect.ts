/** Recognizes a self-connect, and predicts whether a connect would end in one. */
import type { Address } from "./address.ts";
import { isSameAddress, isSameHost, unmap } from "./address.ts";

/**
 * Whether the local address equals the peer address: a self-connect. A simultaneous open (RFC 9293 section 3.5) has
 * joined the socket to itself, and it receives what it sends.
 */
export function isSelfConnect(local: Address, peer: Address): boolean {
  return isSameAddress(local, peer);
}

/**
 * Whether connecting from a bound address would end in a self-connect. The kernel replaces an unspecified local
 * address by the peer's when the peer is an address of this host (by 127.0.0.1 in 127.0.0.0/8), and an unspecified
 * peer by loopback.
 */
export function wouldSelfConnect(local: Address, peer: Address, isOwnPeer: boolean): boolean {
  if (local.port === 0 || local.port !== peer.port) return false;
  const to = specify(peer);
  if (!isUnspecified(local)) return isSameHost(unmap(local), unmap(to));
  return isOwnPeer && (to.family === 6 || !to.host.startsWith("127.") || to.host === "127.0.0.1");
}

/** Replaces the unspecified address by loopback, as connect(2) does. */
function specify(address: Address): Address {
  const plain = unmap(address);
  if (!isUnspecified(plain)) return plain;
  return { family: plain.family, host: plain.family === 4 ? "127.0.0.1" : "::1", port: plain.port };
}

function isUnspecified(address: Address): boolean {
  const { host } = unmap(address);
  return host === "0.0.0.0" || host === "::";
}
