/** Which port a prevented connect asks for: one of the parity that connect(2) would pick, and not the peer's. */
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";

/** connect(2) tries every second port, from the low end of the range (net/ipv4/inet_hashtables.c). */
export const PORT_STEP = 2;
/** Ports for one connect: with half of all ports in use, 1 connect in 256 finds all of these taken. */
const DRAWS = 8;
/** As far the kernel itself goes on at most between two connects. */
const MOST_STEPS = 8;

/**
 * Walks over the ports of the low end's parity as the kernel does: a step of 1 to 8 ports after each connect, so that
 * a port comes again only after thousands of others, when its TIME-WAIT is over. A range of one port keeps the parity;
 * any longer one gives it up, and then the ports of servers are taken.
 */
export class OnePortRanges {
  readonly #range: PortRange;
  readonly #ports: number;
  readonly #excluded: readonly PortRange[];
  #at: number;

  constructor(range: PortRange, peerPort: number, reserved: readonly PortRange[]) {
    this.#range = range;
    this.#ports = Math.ceil(portCount(range) / PORT_STEP);
    this.#excluded = [{ low: peerPort, high: peerPort }, ...reserved.filter(({ high }) => high >= range.low)];
    this.#at = this.#pick();
  }

  /** One-port ranges for a connect: the walk's next port, and others for when it is taken. */
  *draw(): Generator<PortRange, void, void> {
    let index = this.#at;
    this.#at = (this.#at + 1 + Math.floor(Math.random() * MOST_STEPS)) % this.#ports;
    for (let drawn = 0; drawn < DRAWS; drawn++, index = this.#pick()) {
      const port = this.#range.low + PORT_STEP * index;
      if (!this.#excluded.some((each) => holds(each, port))) yield { low: port, high: port };
    }
  }

  #pick(): number {
    return Math.floor(Math.random() * this.#ports);
  }
}
