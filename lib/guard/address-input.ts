/** The addresses that a caller passes in an iterable of either kind, each once. */
import type { Address } from "../socket/address.ts";
import { checkPeer } from "../socket/address.ts";
import { addressBytes } from "../socket/address-bytes.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { Native } from "../socket/native.ts";
import { SeenAddresses } from "./seen.ts";

/** What connectMany() takes its addresses from. */
export type AddressSource = Iterable<Address | string> | AsyncIterable<Address | string>;

/** An address, and its 24 bytes for native code. */
export interface Found {
  readonly address: Address;
  readonly bytes: Uint8Array;
}

/** Values taken in one call before the event loop gets its turn: an endless source may have nothing but duplicates. */
const MOST_TAKEN = 1024;

/** Takes addresses from the source no faster than they are needed. */
export class AddressInput {
  /** Taken, and not yet connected to. */
  readonly waiting: Found[] = [];
  readonly #native: Native;
  readonly #seen = new SeenAddresses();
  readonly #iterator: Iterator<Address | string> | AsyncIterator<Address | string>;
  readonly #isAsync: boolean;
  readonly #reportReply: () => void;
  /** "asked": an asynchronous source has been asked for its next value. */
  #state: "idle" | "asked" | "ended" | { readonly error: unknown } = "idle";

  /** `reportReply` is called when an asynchronous source has replied. */
  constructor(source: AddressSource, native: Native, reportReply: () => void) {
    const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = Object(source);
    if (typeof source === "string" || (typeof later !== "function" && typeof now !== "function")) {
      const message = 'addresses must be iterable, as ["127.0.0.1:80"] or an async generator';
      throw invalidArgument("ERR_INVALID_ARG_TYPE", message);
    }
    this.#isAsync = typeof later === "function";
    this.#iterator = (later ?? now).call(source);
    this.#native = native;
    this.#reportReply = reportReply;
  }

  /** Whether every address has been taken and connected to. */
  get isEnded(): boolean {
    return this.#state === "ended" && this.waiting.length === 0;
  }

  /**
   * Takes values until `count` addresses wait. Returns whether another call would find more without waiting. Throws
   * what the source threw, and ERR_INVALID_ADDRESS, ERR_INVALID_PORT, ERR_UNKNOWN_SCOPE, once no address before that
   * waits any more.
   */
  pull(count: number): boolean {
    if (typeof this.#state === "object" && this.waiting.length === 0) throw this.#state.error;
    for (let taken = 0; this.waiting.length < count && this.#state === "idle"; taken++) {
      if (taken === MOST_TAKEN) return true;
      if (this.#isAsync) this.#ask();
      else this.#try(() => this.#take((this.#iterator as Iterator<Address | string>).next()));
    }
    return typeof this.#state === "object";
  }

  #try(take: () => void): void {
    try {
      take();
    } catch (error) {
      this.#state = { error };
    }
  }

  /**
   * Ends the source, as `break` in a for loop does, but in a microtask: a generator that aborts the signal itself
   * is running now. Does not wait for an asynchronous source. An error has no reader any more.
   */
  close(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    Promise.resolve()
      .then(() => this.#iterator.return?.())
      .catch(() => undefined);
  }

  #ask(): void {
    this.#state = "asked";
    (this.#iterator as AsyncIterator<Address | string>).next().then(
      (next) => {
        if (this.#state !== "asked") return;
        this.#state = "idle";
        this.#try(() => this.#take(next));
        this.#reportReply();
      },
      (error) => {
        if (this.#state !== "asked") return;
        this.#state = { error };
        this.#reportReply();
      },
    );
  }

  #take({ done, value }: IteratorResult<Address | string>): void {
    if (done) {
      this.#state = "ended";
      return;
    }
    const address = checkPeer(value);
    const bytes = addressBytes(address, this.#native);
    if (this.#seen.add(bytes)) this.waiting.push({ address, bytes });
  }
}
