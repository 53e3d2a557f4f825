/** The local addresses of a dial, which it binds to in turn. */
import type { Address, LocalAddress } from "../socket/address.ts";
import { checkLocalAddress, checkSameFamily } from "../socket/address.ts";
import { invalidArgument } from "../socket/misuse.ts";

/** One local address, or several that are used in turn. */
export type LocalAddresses = LocalAddress | readonly LocalAddress[];

/** How many turns each list has had: a program that passes the same array to every dial() goes round exactly. */
const turns = new WeakMap<object, number>();

/** Takes the local addresses of one dial in turn, those of the peer's family where there are any. */
export class LocalTurns {
  readonly addresses: readonly Address[];
  readonly #list: object | undefined;

  /** Throws ERR_INVALID_ADDRESS for an address that is none, and for an empty list. */
  constructor(local: LocalAddresses | undefined) {
    const isList = Array.isArray(local);
    if (isList && local.length === 0) {
      throw invalidArgument("ERR_INVALID_ADDRESS", "local [] has no address: leave it out, or name one");
    }
    const given = local === undefined ? [] : isList ? (local as readonly LocalAddress[]) : [local];
    this.#list = isList ? local : undefined;
    this.addresses = given.map((each) => checkLocalAddress(each as LocalAddress));
  }

  /** The family for which a name is resolved: that of the local addresses; 0 for any. */
  get family(): 0 | 4 | 6 {
    const [first, ...others] = this.addresses;
    return first && others.every(({ family }) => family === first.family) ? first.family : 0;
  }

  /** Whether a port is fixed, so that two connects at the same time would need the same one. */
  get isFixed(): boolean {
    return this.addresses.some(({ port }) => port !== 0);
  }

  /** Those from which a connect can go to this peer. Throws ERR_INVALID_ADDRESS where none is of its family. */
  for(peer: Address): readonly Address[] {
    const fit = this.addresses.filter((address) => address.family === peer.family);
    if (fit.length === 0 && this.addresses.length > 0) checkSameFamily(this.addresses[0]!, peer);
    return fit;
  }

  /** The next of these. A list that was not used before begins at a random one: programs may create it each time. */
  next(of: readonly Address[]): Address | undefined {
    if (!this.#list || of.length <= 1) return of[0];
    const turn = turns.get(this.#list) ?? Math.floor(Math.random() * of.length);
    turns.set(this.#list, turn + 1);
    return of[turn % of.length];
  }
}
