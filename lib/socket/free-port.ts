/** Finds a port on which a listener can start now. */
import type { Address, LocalAddress } from "./address.ts";
import { checkLocalAddress } from "./address.ts";
import { checkPort } from "./address-text.ts";
import { findListenError } from "./listen-refusal.ts";
import { checkChoice, checkKeys, checkShape, invalidArgument, textOf } from "./misuse.ts";
import type { PortRange } from "./port-range.ts";
import { holds } from "./port-range.ts";

/** Which ports to try, and in which order. */
export interface FreePortOptions {
  /** The port must be free on each of these addresses (default 127.0.0.1). Their own ports are ignored. */
  readonly addresses?: readonly LocalAddress[];
  /** Try every second port only: ports with the parity of the range's low end, or of the other parity. */
  readonly parity?: "low" | "other" | "any";
  /** This many consecutive ports must be free; the first is returned. */
  readonly count?: number;
  /** The first port to try; the search goes up and continues at the low end. Any port of the range when absent. */
  readonly from?: number;
  /** A port for which this returns false is skipped. */
  readonly isWanted?: (port: number) => boolean;
}

const PARITIES = ["low", "other", "any"] as const;
const LOOPBACK: readonly Address[] = [{ family: 4, host: "127.0.0.1", port: 0 }];
/** These errors concern one port. Any other, such as an address that this host lacks, would recur on every port. */
const TAKEN = ["EADDRINUSE", "EACCES"];

/**
 * bind(2), listen(2): returns a port of the range on which listenRefusal() is null. Tries each port once at most, then
 * throws ERR_NO_FREE_PORT; at once an Error with the errno name where no port of an address can be listened on
 * (EADDRNOTAVAIL). Throws ERR_INVALID_PORT for a range with bounds that are no ports, ERR_UNKNOWN_OPTION,
 * ERR_UNKNOWN_PARITY, ERR_OUT_OF_RANGE, and ERR_INVALID_ADDRESS.
 *
 * @example
 * import { findFreePort } from "selfconnect";
 *
 * const port = findFreePort({ low: 20_000, high: 20_099 }, { addresses: ["127.0.0.1", "::1"], count: 2 });
 * console.log(port >= 20_000 && port < 20_099); // true
 */
export function findFreePort(range: PortRange, options: FreePortOptions = {}): number {
  checkOptions(range, options);
  const { parity = "any", count = 1, isWanted = () => true } = options;
  const addresses = options.addresses?.map(checkLocalAddress) ?? LOOPBACK;
  const step = parity === "any" ? 1 : 2;
  const first = range.low + (parity === "other" ? 1 : 0);
  const places = Math.max(0, Math.floor((range.high - count + 1 - first) / step) + 1);
  const from = options.from ?? first + step * Math.floor(Math.random() * places);
  const start = holds(range, from) ? Math.max(0, Math.ceil((from - first) / step)) : 0;
  let last = "all unwanted";
  for (let place = 0; place < places; place++) {
    const port = first + step * ((start + place) % places);
    if (!isWanted(port)) continue;
    const refusal = refusalOf(port, count, addresses);
    if (refusal === null) return port;
    last = refusal;
  }
  throw noFreePort(range, options, places === 0 ? "it has none" : `${places} tried, ${last}`);
}

function checkOptions(range: PortRange, options: FreePortOptions): void {
  checkShape("findFreePort() takes a range, { low, high }", range, ["low", "high"]);
  checkPort(range.low);
  checkPort(range.high);
  checkKeys("findFreePort()", options, ["addresses", "parity", "count", "from", "isWanted"]);
  const { parity = "any", count = 1, from } = options;
  checkChoice("ERR_UNKNOWN_PARITY", "a parity", parity, PARITIES);
  if (!Number.isInteger(count) || count < 1)
    throw invalidArgument(
      "ERR_OUT_OF_RANGE",
      `count ${textOf(count)} is not a number of ports: use 1 or more`,
      RangeError,
    );
  if (from !== undefined) checkPort(from);
}

/** "the last was EADDRINUSE", or null when all of these ports are free. */
function refusalOf(first: number, count: number, addresses: readonly Address[]): string | null {
  for (let port = first; port < first + count; port++) {
    for (const address of addresses) {
      const cause = findListenError({ ...address, port });
      if (cause === null) continue;
      const { code, syscall } = cause;
      if (!TAKEN.includes(code)) {
        const message = `listening on any port of ${address.host} fails: ${syscall} ${code}`;
        throw Object.assign(new Error(message, { cause }), { code });
      }
      return `the last was ${code}`;
    }
  }
  return null;
}

function noFreePort(range: PortRange, { parity, count = 1 }: FreePortOptions, why: string): Error {
  const ports = count > 1 ? `${count} consecutive free ports` : "free port";
  const ofParity = parity === "low" || parity === "other" ? " of this parity" : "";
  const message = `no ${ports}${ofParity} in ${range.low}-${range.high}: ${why}`;
  return Object.assign(new RangeError(message), { code: "ERR_NO_FREE_PORT" });
}
