/** The algorithms by which kernels pick local ports, in the terms of RFC 6056: for the fingerprint and the model. */
import type { LinuxWalk } from "../kernel/release.ts";
import { isAtLeast, linuxWalk, WALKS } from "../kernel/release.ts";
import { checkChoice, checkShape, invalidArgument, textOf } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";
import type { Method } from "./method.ts";
import { checkMethod } from "./method.ts";

/** How attempts to different peers depend on one another. */
export type Counters =
  /** Each pick is independent of the last. */
  | "none"
  /** One counter for all peers, without offsets. */
  | "one"
  /** One counter for all peers, with a different offset for each. */
  | "one-with-offsets"
  /** One counter for each peer. */
  | "many";

/** `linux-…` is named after the release that introduced it; the others are from RFC 6056. */
export type AlgorithmName =
  | "linux-5.18"
  | "linux-6.8-range"
  | "linux-5.12"
  | "linux-4.6"
  | "linux-bind"
  | "simple-random"
  | "sequential"
  | "hash-based"
  | "double-hash"
  | "random-increments";

/** One way to pick a local port. */
export interface PortAlgorithm {
  /** The name of its row in this package. */
  readonly name: AlgorithmName;
  /** The name in RFC 6056 section 3.3. */
  readonly family: string;
  /** The kernels that use it; null for an algorithm known only from the RFC. */
  readonly kernels: string | null;
  /** The probabilities of 1, 2, 3 … strides to the next port; empty where picks are independent. */
  readonly increments: readonly number[];
  /** The distance between two neighbouring ports of the walk. */
  readonly stride: 1 | 2;
  /** Which ports are picked while one of them is free, counted from the low end of the range. */
  readonly parity: "low" | "other" | "both";
  /** How attempts to different peers depend on one another. */
  readonly counters: Counters;
  /** Milliseconds until a new salt moves the walk elsewhere; null for never. */
  readonly saltMs: number | null;
}

const EIGHTHS = new Array<number>(8).fill(1 / 8);
/** N = 500 is the example in RFC 6056 section 3.3.5. */
const FIVE_HUNDREDTHS = new Array<number>(500).fill(1 / 500);
const HASHED = "double-hash (algorithm 4) with random increments (5)";

/**
 * Linux: `__inet_hash_connect` (net/ipv4/inet_hashtables.c) and `inet_csk_find_open_port`
 * (net/ipv4/inet_connection_sock.c), read in 5.10 to 7.3. The others are as in the text of RFC 6056.
 */
export const PORT_ALGORITHMS: readonly PortAlgorithm[] = [
  {
    name: "linux-5.18",
    family: HASHED,
    kernels: kernelsWith("large table"),
    increments: EIGHTHS,
    stride: 2,
    parity: "low",
    counters: "many",
    saltMs: 10_000,
  },
  {
    name: "linux-6.8-range",
    family: HASHED,
    kernels: "Linux 6.8 and later, with IP_LOCAL_PORT_RANGE",
    increments: EIGHTHS,
    stride: 1,
    parity: "both",
    counters: "many",
    saltMs: 10_000,
  },
  {
    name: "linux-5.12",
    family: "double-hash (algorithm 4)",
    kernels: kernelsWith("small table"),
    increments: [15 / 16, 1 / 16],
    stride: 2,
    parity: "low",
    counters: "many",
    saltMs: null,
  },
  {
    name: "linux-4.6",
    family: "hash-based (algorithm 3)",
    kernels: kernelsWith("one hint"),
    increments: [1],
    stride: 2,
    parity: "low",
    counters: "one-with-offsets",
    saltMs: null,
  },
  {
    name: "linux-bind",
    family: "simple random (algorithm 1)",
    kernels: "Linux 4.2 and later, bind(2) with port 0",
    increments: [],
    stride: 2,
    parity: "other",
    counters: "none",
    saltMs: null,
  },
  makeTextbook("simple-random", "simple random (algorithm 1)", [], "none"),
  makeTextbook("sequential", "sequential", [1], "one"),
  makeTextbook("hash-based", "hash-based (algorithm 3)", [1], "one-with-offsets"),
  makeTextbook("double-hash", "double-hash (algorithm 4)", [1], "many"),
  makeTextbook("random-increments", "random increments (algorithm 5)", FIVE_HUNDREDTHS, "one"),
];

/** The row of PORT_ALGORITHMS with this name. Throws ERR_UNKNOWN_ALGORITHM with the near miss. */
export function portAlgorithm(name: string): PortAlgorithm {
  const names = PORT_ALGORITHMS.map((algorithm) => algorithm.name);
  checkChoice("ERR_UNKNOWN_ALGORITHM", "a port algorithm", name, names);
  return PORT_ALGORITHMS.find((algorithm) => algorithm.name === name)!;
}

/** Throws ERR_INVALID_ARGUMENT for what is no row of PORT_ALGORITHMS, and has not its fields. */
export function checkAlgorithm(algorithm: PortAlgorithm): void {
  const names = ["name", "increments", "stride", "parity", "counters", "saltMs"];
  checkShape("an algorithm is what portAlgorithm() returned", algorithm, names);
}

const OF_WALK: Readonly<Record<LinuxWalk, AlgorithmName>> = {
  "one hint": "linux-4.6",
  "small table": "linux-5.12",
  "large table": "linux-5.18",
};

/**
 * The algorithm that a kernel of this release probably uses; for kernels that cannot be observed. Stable kernels have
 * changes from later releases, so the release does not name the algorithm for sure. Throws ERR_UNKNOWN_METHOD, and
 * ERR_INVALID_ARGUMENT for a release that is not text.
 */
export function supposeAlgorithm(method: Method, release: string): PortAlgorithm {
  checkMethod(method);
  if (typeof release !== "string")
    throw invalidArgument("ERR_INVALID_ARGUMENT", `release ${textOf(release)} is not text, as "6.1.0"`);
  if (method === "bind") return portAlgorithm("linux-bind");
  if (method === "range" && isAtLeast(release, "6.8")) return portAlgorithm("linux-6.8-range");
  return portAlgorithm(OF_WALK[linuxWalk(release) ?? "one hint"]);
}

/** FreeBSD's ports start at 10,000 or 10,001, macOS's and Windows's at 49,152; a sample seldom has the first ones. */
const FREEBSD = { low: 10_000, latestLow: 12_000, earliestHigh: 63_000 };
const DYNAMIC_LOW = 49_152;

/**
 * The system whose ports look like this, in words; null for Linux's names, which are of kernels that were run. Of these
 * systems the source or the documentation was read; only lwIP was run (`test/ports/lwip.deep.ts`).
 */
export function resembles(name: AlgorithmName, { low, high }: PortRange): string | null {
  if (portAlgorithm(name).kernels !== null) return null;
  const { low: first, latestLow, earliestHigh } = FREEBSD;
  if (name === "simple-random" && low >= first && low <= latestLow && high >= earliestHigh)
    return "FreeBSD, which picks at random from 10001-65535 (read, not run)";
  if (low < DYNAMIC_LOW) return null;
  return name === "sequential"
    ? "macOS, which counts through 49152-65535 (read, not run), and lwIP 2.1.3, which does too (run)"
    : "Windows, by its range 49152-65535 alone: how it picks from that was not read";
}

/** Mean number of strides to the next port. */
export function meanIncrement(algorithm: PortAlgorithm): number {
  return algorithm.increments.reduce((sum, chance, index) => sum + chance * (index + 1), 0);
}

function kernelsWith(walk: LinuxWalk): string {
  return WALKS.find((row) => row.walk === walk)!.kernels;
}

function makeTextbook(
  name: AlgorithmName,
  family: string,
  increments: readonly number[],
  counters: Counters,
): PortAlgorithm {
  return { name, family, kernels: null, increments, stride: 1, parity: "both", counters, saltMs: null };
}
