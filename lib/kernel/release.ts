/** Compares versions of Linux, which no other file does, and lists how each release walks its ports. */

/** How Linux searches for a free port at connect(2), in three ways since 4.6; see docs/kernels.md. */
export type LinuxWalk = "one hint" | "small table" | "large table";

/** How Linux searches for a free port at connect(2), and which releases do. */
export interface WalkRow {
  readonly walk: LinuxWalk;
  /** The first mainline release with this walk. */
  readonly mainline: string;
  /** In each stable series that took it over later, the first release with it. */
  readonly stable: readonly string[];
  /** These releases in words. */
  readonly kernels: string;
}

/** Stable releases with "increase source port perturb table to 2^16", by their changelogs of May and June 2022. */
const LARGE_TABLE = ["5.17.9", "5.15.41", "5.10.125", "5.4.201", "4.19.249", "4.14.285", "4.9.320"];

/** Newest first: a release has the walk of the first row that it has reached. */
export const WALKS: readonly WalkRow[] = [
  {
    walk: "large table",
    mainline: "5.18",
    stable: LARGE_TABLE,
    kernels:
      "Linux 5.18 and later, 5.17.9, 5.15.41, 5.10.125, 5.4.201, 4.19.249 (before 5.18 read, 5.10 also run)",
  },
  {
    walk: "small table",
    mainline: "5.12",
    stable: ["5.10.119"],
    kernels: "Linux 5.12 to 5.17.8, 5.10.119 to 5.10.124 (these six were read, not run)",
  },
  {
    walk: "one hint",
    mainline: "4.6",
    stable: [],
    kernels:
      "Linux 4.6 to 5.11, 5.10.0 to 5.10.118, 5.4.0 to 5.4.200, 4.19.0 to 4.19.248 (before 5.10 read, not run)",
  },
];

/** Whether a version is `least` or later: "6.12.107" is at least "6.8". */
export function isAtLeast(version: string, least: string): boolean {
  return compareNumbers(parseNumbers(version), parseNumbers(least)) >= 0;
}

/** Whether a release has a change: it is `mainline` or later, or the release in `stable` of its series or later. */
export function hasChange(release: string, mainline: string, stable: readonly string[]): boolean {
  if (isAtLeast(release, mainline)) return true;
  const numbers = parseUpstreamNumbers(release);
  return stable
    .map(parseNumbers)
    .some((since) => isSameSeries(numbers, since) && compareNumbers(numbers, since) >= 0);
}

/** Finds how Linux of this release walks its ports; null before 4.6. An observation of the kernel takes precedence. */
export function linuxWalk(release: string): LinuxWalk | null {
  const row = WALKS.find(({ mainline, stable }) => hasChange(release, mainline, stable));
  return row?.walk ?? null;
}

/**
 * Whether a release shows for sure how it walks its ports. Vendors take over changes and keep the number: Red Hat and
 * Oracle in every series ("4.18.0-553.el8"), others in those that upstream does not maintain ("5.14.21-default").
 * "4.19.0.1" is a number of the vendor's own.
 */
export function namesWalk(release: string): boolean {
  if (isAtLeast(release, WALKS[0]!.mainline)) return true;
  if (linuxWalk(release) === null || /\.el\d/.test(release)) return false;
  const numbers = parseNumbers(release);
  const isMaintained = LARGE_TABLE.map(parseNumbers).some((since) => isSameSeries(numbers, since));
  if (!isMaintained) return /^\d+\.\d+(\.\d+)?$/.test(release);
  return numbers.length <= 3 || numbers[2] !== 0;
}

/**
 * Parses the numbers of a release. A name without a patch level ("5.10.0-32-amd64", "5.10.0+", "5.10") stands for the
 * latest patches of the series, so its patch number is infinity. A release candidate ("5.18.0-rc1") keeps its number.
 */
function parseUpstreamNumbers(release: string): number[] {
  const namesNoPatch = /^\d+\.\d+(\.0)?(?!\.?\d)(?!-rc)/.test(release);
  return namesNoPatch
    ? [...parseNumbers(release).slice(0, 2), Number.POSITIVE_INFINITY]
    : parseNumbers(release);
}

/** Parses "6.12.48+deb13-amd64" to 6, 12, 48. */
function parseNumbers(version: string): number[] {
  return (/^\d+(\.\d+)*/.exec(version)?.[0] ?? "").split(".").map(Number);
}

function isSameSeries(one: readonly number[], other: readonly number[]): boolean {
  return one[0] === other[0] && one[1] === other[1];
}

/** Compares the numbers of two versions: less than 0 when `one` is earlier; a missing number counts as 0. */
export function compareNumbers(one: readonly number[], other: readonly number[]): number {
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const [left = 0, right = 0] = [one[index], other[index]];
    if (left !== right) return left - right;
  }
  return 0;
}
