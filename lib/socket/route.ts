/** Asks the kernel from which local address a connect would come: its routes decide, not a list of interfaces. */
import type { Address, LocalAddress } from "./address.ts";
import {
  ADDRESS_BYTES,
  checkLocalAddress,
  decodeAddress,
  interfaceName,
  parseText,
  unmap,
} from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import { errnoName, SocketError } from "./errors.ts";
import { checkKeys } from "./misuse.ts";
import { loadNative } from "./native.ts";
import { checkOptions, writeOptions } from "./option-access.ts";
import type { SocketOptions } from "./options.ts";
import { specify } from "./self-connect.ts";

/** What a route depends on besides the peer. */
export interface RouteInput {
  /** The address given to bind(2); its port is not used. */
  readonly local?: LocalAddress | undefined;
  /** Options of the socket; those that a route does not depend on are not used. */
  readonly options?: Partial<SocketOptions> | undefined;
}

/** A RouteInput that has been checked. */
export interface RouteOrigin extends RouteInput {
  readonly local?: Address | undefined;
}

/** Throws for what is no RouteInput; `of` names the call. */
export function checkRouteInput(of: string, input: RouteInput): RouteOrigin {
  checkKeys(of, input, ["local", "options"]);
  const { local, options } = input;
  if (options !== undefined) checkOptions(`the options of ${of}`, loadNative(), options);
  return { local: local === undefined ? undefined : checkLocalAddress(local), options };
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
  return askKernel(specify(parseText(peer)), checkRouteInput("sourceAddress()", input));
}

function askKernel(to: Address, { local, options }: RouteOrigin): Address | null {
  const native = loadNative();
  const handle = native.handle();
  const created = native.datagramSocket(handle, to.family);
  if (created < 0) return withoutRoute(created, "socket");
  try {
    const routing = pickRouting(options);
    if (routing) writeOptions(native, routing, (row, value) => native.setsockopt(handle, row, value));
    if (local) {
      const bound = native.bind(handle, addressBytes({ ...unmap(local), port: 0 }, native));
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
  const to = specify(parseText(peer));
  const source = askKernel(to, checkRouteInput("canSelfConnect()", input));
  // The scope of a link-local peer has decided the route already.
  return source !== null && unmap(source).host === to.host;
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
