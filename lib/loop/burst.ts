/** One burst of attempts, on a thread of the addon: native/core/burst.h. */
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { addressBytes } from "../socket/address-bytes.ts";
import { threadError } from "../socket/errors.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { Handle, Native } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import type { Strategy } from "../socket/strategy.ts";
import type { Engine } from "./engine.ts";
import { burstError } from "./engine.ts";

/** What is set on each socket to observe how the kernel picks its port. */
export interface Sampling {
  /** IP_BIND_ADDRESS_NO_PORT, then bind(2) to the peer's host. */
  readonly bindsLate?: boolean;
  /** IP_LOCAL_PORT_RANGE. */
  readonly range?: PortRange;
  /** Resets every socket that connects, to whomever, and does not wait for one that is in progress. */
  readonly resetsAll?: boolean;
}

/** The attempts of one burst, and the memory that native code writes into. */
export interface Burst {
  readonly strategy: Strategy;
  readonly peer: Address;
  /** The most attempts. */
  readonly attempts: number;
  readonly selfConnects: number;
  /** After this time no new attempt starts. */
  readonly sliceMs: number;
  /** Nonzero ends the burst. */
  readonly stop: Int32Array;
  /** Memory for the local port of each attempt. */
  readonly ports: Uint16Array | null;
  readonly report: Uint32Array;
  readonly trustsBind: 0 | 1;
  readonly engine: Engine | "auto";
  readonly sampling?: Sampling;
}

/**
 * A BurstReport: the recent port, the resets, the destination, the failed call, the attempts by io_uring and the errno
 * of its refusal, then the counters by errno.
 */
const REPORT_HEADER_WORDS = 6;
const INTERRUPT_EVERY_MS = 1;
const ANY = { low: 0, high: 0 };
/** Why attempts do not go to this host, by the Destination of native/core/home.h. */
const ELSEWHERE: readonly ((peer: string) => string)[] = [
  (peer) => `${peer} is not an address of this host`,
  (peer) => `${peer} is no longer an address of this host`,
  (peer) => `this host did not send the refusals of ${peer}, a NAT rule or a firewall answers instead`,
];

/** Returns the handle of the socket that connected, which is empty where none did. Throws when the burst failed. */
export async function runBurst(native: Native, burst: Burst): Promise<Handle> {
  const { bindsLate, range = ANY, resetsAll } = burst.sampling ?? {};
  const connected = native.handle();
  let refused = 0;
  const result = await new Promise<number>((resolve) => {
    refused = native.burst(
      connected,
      burst.strategy,
      addressBytes(burst.peer, native),
      burst.attempts,
      burst.selfConnects,
      burst.sliceMs,
      burst.stop,
      burst.ports,
      burst.report,
      burst.trustsBind,
      burst.engine,
      bindsLate ? 1 : 0,
      range.low,
      range.high,
      resetsAll ? 1 : 0,
      resolve,
    );
    if (refused < 0) resolve(0);
  });
  if (refused < 0) throw threadError(refused, "clone");
  if (result < 0) throw burstError(result, native.burstCalls[burst.report[3]!]!);
  if (burst.report[2]! > 0) throw otherHostError(burst.peer, burst.report[2]!, Error);
  return connected;
}

/**
 * Ends the connects in which stopped bursts wait, again and again until all have ended. A burst stops by itself after
 * its attempt: those that have not after a millisecond wait for an answer.
 */
export function interruptUntil(native: Native, haveEnded: () => boolean): void {
  if (haveEnded()) return;
  setTimeout(() => {
    native.interruptBursts();
    interruptUntil(native, haveEnded);
  }, INTERRUPT_EVERY_MS);
}

/** Memory for the report of a burst. */
export function makeReport(native: Native): Uint32Array {
  return new Uint32Array(REPORT_HEADER_WORDS + native.outcomes);
}

/**
 * Adds a report's counters to `counts`. Returns their sum, the number of attempts. Reads each counter once, because
 * native code may write to it meanwhile.
 */
export function addOutcomes(counts: Float64Array, report: Uint32Array): number {
  let attempts = 0;
  for (let errno = 0; errno < counts.length; errno++) {
    const count = report[REPORT_HEADER_WORDS + errno]!;
    counts[errno]! += count;
    attempts += count;
  }
  return attempts;
}

/** The error for attempts that do not go to this host. */
export function otherHostError(peer: Address, destination: number, Kind?: ErrorConstructor): Error {
  const why = ELSEWHERE[destination]!(formatAddress(peer));
  const rule = "a self-connect needs an address of this host, and a loop to another host would flood it";
  return invalidArgument("ERR_NOT_THIS_HOST", `${why}: ${rule}`, Kind);
}
