/** Asks the kernel from which local address a connect would come: its routes decide, not a list of interfaces. */
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, decodeAddress, interfaceName, parseText, unmap } from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import { errnoName, SocketError } from "./errors.ts";
import { loadNative } from "./native.ts";
import { writeOptions } from "./option-access.ts";
import type { SocketOptions } from "./options.ts";
import { specify } from "./self-connect.ts";

/** What a route depends on besides the peer. */
export interface RouteInput {
  /** The address given to bind(2); its port is not used. */
  readonly local?: Address | undefined;
  /** Options of the socket; those that a route does not depend on are not used. */
  readonly options?: Partial<SocketOptions> | undefined;
}

/** The options by which the kernel chooses a route, or lets bind(2) use an address of another host. */
const ROUTING = [
  "device",
  "deviceIndex",
  "mark",
  "typeOfService",
  "freeBind",
  "transparent",
] as const satisfies readonly (keyof SocketOptions)[];

/** The socket itself could not be created or used; for any other errno connect(2) to the peer fails as well. */
const WITHOUT_ANSWER: ReadonlySet<string> = new Set([
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "EAGAIN",
  "EPERM",
]);

/**
 * connect(2) of a UDP socket, then getsockname(2): the address from which a connect to the peer would come. Sends no
 * packet and takes 10 microseconds. Null when the kernel has no route to the peer, or does not let the socket bind or
 * have the options. Throws SocketError when the kernel does not answer: EMFILE, EPERM …
 *
 * @example
 * import { sourceAddress } from "selfconnect/kernel";
 *
 * console.log(sourceAddress("127.0.0.1:80").host); // 127.0.0.1
 * console.log(sourceAddress("192.0.2.1:80")?.host ?? "no route"); // no route
 */
export function sourceAddress(peer: Address | string, input: RouteInput = {}): Address | null {
  const native = loadNative();
  const to = specify(parseText(peer));
  const handle = native.handle();
  const created = native.datagramSocket(handle, to.family);
  if (created < 0) return withoutRoute(created, "socket");
  try {
    const routing = pickRouting(input.options);
    if (routing) writeOptions(native, routing, (row, value) => native.setsockopt(handle, row, value));
    if (input.local) {
      const local = addressBytes({ ...unmap(parseText(input.local)), port: 0 }, native);
      const bound = native.bind(handle, local);
      if (bound < 0) return withoutRoute(bound, "bind");
    }
    const source = new Uint8Array(ADDRESS_BYTES);
    const connected = native.sourceAddress(handle, addressBytes(to, native), source);
    if (connected < 0) return withoutRoute(connected, "connect");
    return decodeAddress(source, (index) => interfaceName(index, native));
  } finally {
    native.close(handle);
  }
}

/**
 * connect(2) of a UDP socket, then getsockname(2): whether a TCP connect to the peer would come from the peer's own
 * address. Only then can the kernel pick the peer's port for it, and join the socket to itself. Throws as
 * sourceAddress() does.
 */
export function canSelfConnect(peer: Address | string, input: RouteInput = {}): boolean {
  const to = parseText(peer);
  const source = sourceAddress(to, input);
  // The scope of a link-local peer has decided the route already.
  return source !== null && unmap(source).host === specify(to).host;
}

/** The options that a route depends on; undefined for none. */
export function pickRouting(options: Partial<SocketOptions> | undefined): Partial<SocketOptions> | undefined {
  if (!options) return undefined;
  const given = ROUTING.filter((name) => options[name] !== undefined);
  return given.length > 0 ? Object.fromEntries(given.map((name) => [name, options[name]])) : undefined;
}

function withoutRoute(errno: number, syscall: string): null {
  if (WITHOUT_ANSWER.has(errnoName(errno))) throw new SocketError(errno, { syscall });
  return null;
}
