/** Happy eyeballs (RFC 8305): tries several addresses, each begun a little after the one before. */
import { onAbort } from "../socket/abort.ts";

/** The attempts at one address, in a race with those at the others. */
export interface Lane {
  /** Aborts when another lane has won, or with the caller's signal and its reason. */
  readonly signal: AbortSignal | undefined;
  /** Whether another lane has won. */
  readonly isLost: boolean;
  /** Begins the lane after this one now, because an attempt of this one has failed. */
  beginNext(): void;
  /** Makes this lane the winner and aborts all others. Returns false when another lane has won before. */
  win(): boolean;
}

/** How lanes are begun. */
export interface RaceOptions {
  readonly lanes: number;
  /** The next lane begins after this time, or earlier by beginNext(). Infinity: only by beginNext(). */
  readonly delayMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs the lanes, which never reject. Resolves when each that was begun has ended, in their order: by then those that
 * lost have closed their sockets.
 */
export function race<T>(
  options: RaceOptions,
  run: (index: number, lane: Lane) => Promise<T>,
): Promise<readonly T[]> {
  return options.lanes === 1 ? runAlone(options, run) : new Race(options, run).run();
}

/** Most peers have one address: it needs no controller and no timer. */
async function runAlone<T>(
  { signal }: RaceOptions,
  run: (index: number, lane: Lane) => Promise<T>,
): Promise<readonly T[]> {
  return [await run(0, { signal, isLost: false, beginNext: () => undefined, win: () => true })];
}

class Race<T> {
  readonly #options: RaceOptions;
  readonly #run: (index: number, lane: Lane) => Promise<T>;
  readonly #ended = new AbortController();
  readonly #running: Promise<T>[] = [];
  #winner: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RaceOptions, run: (index: number, lane: Lane) => Promise<T>) {
    this.#options = options;
    this.#run = run;
  }

  async run(): Promise<readonly T[]> {
    const { signal } = this.#options;
    const removeAbort = onAbort(signal, () => this.#ended.abort(signal?.reason));
    try {
      this.#begin();
      // A lane that ends begins the next one first, so that no lane is begun after the last promise here.
      for (let index = 0; index < this.#running.length; index++) await this.#running[index];
      return await Promise.all(this.#running);
    } finally {
      clearTimeout(this.#timer);
      removeAbort();
    }
  }

  #begin(): void {
    clearTimeout(this.#timer);
    const { lanes, delayMs } = this.#options;
    const index = this.#running.length;
    if (index === lanes || this.#ended.signal.aborted) return;
    if (index + 1 < lanes && delayMs !== Infinity) this.#timer = setTimeout(() => this.#begin(), delayMs);
    this.#running.push(this.#runLane(index));
  }

  async #runLane(index: number): Promise<T> {
    const isLost = () => this.#winner !== null && this.#winner !== index;
    const beginNext = () => {
      if (this.#running.length === index + 1) this.#begin();
    };
    const ended = await this.#run(index, {
      signal: this.#ended.signal,
      get isLost() {
        return isLost();
      },
      beginNext,
      win: () => this.#win(index),
    });
    beginNext();
    return ended;
  }

  #win(index: number): boolean {
    this.#winner ??= index;
    if (this.#winner === index) this.#ended.abort();
    return this.#winner === index;
  }
}

/** RFC 8305 section 4: takes the families in turn, beginning with that of the first address. */
export function interleaveFamilies<A extends { readonly family: 4 | 6 }>(addresses: readonly A[]): A[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family);
  const longer = Math.max(first.length, other.length);
  return Array.from({ length: longer }, (_, i) => [first[i], other[i]])
    .flat()
    .filter((address) => address !== undefined);
}
