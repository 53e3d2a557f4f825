/** Keeps the attempts of one dial within bounds: the first ones, the last ones, and how many there were. */
import type { Attempt } from "../socket/errors.ts";

/** How many attempts are kept from each end. */
export const KEPT_ATTEMPTS = 10;

/** The first and the last attempts of a dial: one that waits for a service for days must not grow. */
export class AttemptRecord {
  readonly #first: Attempt[] = [];
  readonly #last: Attempt[] = [];
  #count = 0;
  #selfConnects = 0;

  /** How many attempts were added. */
  get count(): number {
    return this.#count;
  }

  /** How many of them were self-connects. */
  get selfConnects(): number {
    return this.#selfConnects;
  }

  get last(): Attempt | undefined {
    return this.#last.at(-1) ?? this.#first.at(-1);
  }

  add(attempt: Attempt): void {
    this.#count++;
    if (attempt.outcome === "self-connect") this.#selfConnects++;
    if (this.#first.length < KEPT_ATTEMPTS) this.#first.push(attempt);
    else if (this.#last.push(attempt) > KEPT_ATTEMPTS) this.#last.shift();
  }

  /** Those that are kept, in order. */
  list(): readonly Attempt[] {
    return [...this.#first, ...this.#last];
  }
}
