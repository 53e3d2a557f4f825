/** What a self-connect is, and when a connect would end in one. */
import type { Address } from "./address.ts";
import { isSameAddress, isSameHost, unmap } from "./address.ts";

/**
 * A self-connect: the local address equals the peer address. The socket is joined to itself by a simultaneous
 * open (RFC 9293 section 3.5), and what it sends comes back to it.
 */
export function isSelfConnect(local: Address, peer: Address): boolean {
  return isSameAddress(local, peer);
}

/**
 * Whether connecting from a bound address would end in a self-connect. An unspecified local address becomes the
 * peer's own when the peer is of this host (of 127.0.0.0/8: 127.0.0.1), and an unspecified peer becomes loopback.
 */
export function wouldSelfConnect(local: Address, peer: Address, isOwnPeer: boolean): boolean {
  if (local.port === 0 || local.port !== peer.port) return false;
  const to = specify(peer);
  if (!isUnspecified(local)) return isSameHost(unmap(local), unmap(to));
  return isOwnPeer && (to.family === 6 || !to.host.startsWith("127.") || to.host === "127.0.0.1");
}

/** connect(2) to the unspecified address goes to loopback. */
function specify(address: Address): Address {
  const plain = unmap(address);
  if (!isUnspecified(plain)) return plain;
  return { family: plain.family, host: plain.family === 4 ? "127.0.0.1" : "::1", port: plain.port };
}

function isUnspecified(address: Address): boolean {
  const { host } = unmap(address);
  return host === "0.0.0.0" || host === "::";
}
