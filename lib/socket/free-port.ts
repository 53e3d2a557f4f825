/** Finds a port that a listener could have now. */
import type { Address } from "./address.ts";
import { listenRefusal } from "./listen-refusal.ts";
import type { PortRange } from "./port-range.ts";
import { holds } from "./port-range.ts";

/** Which of the ports to look at, and in which order. */
export interface FreePortOptions {
  /** Where the port must be free: on each of these; 127.0.0.1 unless given. Their ports are ignored. */
  readonly addresses?: readonly Address[];
  /** Only every second port: those with the parity of the range's low end, or the others. */
  readonly parity?: "low" | "other" | "any";
  /** So many ports side by side, all of them free; the first is returned. */
  readonly count?: number;
  /** Where the search begins; it goes upward, and on from the low end. Anywhere in the range unless given. */
  readonly from?: number;
  /** Ports for which this returns false are passed over. */
  readonly isWanted?: (port: number) => boolean;
}

const LOOPBACK: readonly Address[] = [{ family: 4, host: "127.0.0.1", port: 0 }];
/** Refusals of one port. Any other, such as an address that is not of this host, would be that of every port. */
const TAKEN = ["EADDRINUSE", "EACCES"];

/**
 * Returns a port of the range on which listenRefusal() is null. Looks at each port once at most, and throws
 * ERR_NO_FREE_PORT when none is left.
 */
export function findFreePort(range: PortRange, options: FreePortOptions = {}): number {
  const { addresses = LOOPBACK, parity = "any", count = 1, isWanted = () => true } = options;
  const step = parity === "any" ? 1 : 2;
  const first = range.low + (parity === "other" ? 1 : 0);
  const places = Math.max(0, Math.floor((range.high - count + 1 - first) / step) + 1);
  const from = options.from ?? first + step * Math.floor(Math.random() * places);
  const start = holds(range, from) ? Math.max(0, Math.ceil((from - first) / step)) : 0;
  let last = "none was wanted";
  for (let place = 0; place < places; place++) {
    const port = first + step * ((start + place) % places);
    if (!isWanted(port)) continue;
    const refusal = refusalOf(port, count, addresses);
    if (refusal === null) return port;
    last = refusal;
  }
  throw noFreePort(range, options, places === 0 ? "it has none" : `${places} looked at, ${last}`);
}

/** "the last was EADDRINUSE", or null where all of these ports are free. */
function refusalOf(first: number, count: number, addresses: readonly Address[]): string | null {
  for (let port = first; port < first + count; port++) {
    for (const address of addresses) {
      const code = listenRefusal({ ...address, port });
      if (code === null) continue;
      if (!TAKEN.includes(code)) throw new Error(`no port of ${address.host} can be listened on: ${code}`);
      return `the last was ${code}`;
    }
  }
  return null;
}

function noFreePort(range: PortRange, { parity, count = 1 }: FreePortOptions, why: string): Error {
  const ports = count > 1 ? `${count} free ports side by side` : "free port";
  const ofParity = parity === "low" || parity === "other" ? " of this parity" : "";
  const message = `no ${ports}${ofParity} in ${range.low}-${range.high}: ${why}`;
  return Object.assign(new RangeError(message), { code: "ERR_NO_FREE_PORT" });
}
