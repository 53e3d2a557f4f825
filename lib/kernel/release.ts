/** Versions of Linux: the only place that compares them, and the one table of which release walks its ports how. */

/** The three ways in which Linux has walked its ports at connect(2) since 4.6; see docs/kernels.md. */
export type LinuxWalk = "one hint" | "small table" | "large table";

interface WalkRow {
  readonly walk: LinuxWalk;
  /** The release of Linus's tree that brought it. */
  readonly mainline: string;
  /** The releases of stable series that took it over later. */
  readonly stable: readonly string[];
}

/** Stable series that took over "increase source port perturb table to 2^16": their changelogs of May and June 2022. */
const LARGE_TABLE = ["5.17.9", "5.15.41", "5.10.125", "5.4.201", "4.19.249", "4.14.285", "4.9.320"];

/** Newest first: the first row that a release has reached is its own. */
const WALKS: readonly WalkRow[] = [
  { walk: "large table", mainline: "5.18", stable: LARGE_TABLE },
  { walk: "small table", mainline: "5.12", stable: ["5.10.119"] },
  { walk: "one hint", mainline: "4.6", stable: [] },
];

/** Whether a version is `wanted` or later: "6.12.107" is at least "6.8". */
export function isAtLeast(version: string, wanted: string): boolean {
  return compare(numbersIn(version), numbersIn(wanted)) >= 0;
}

/** Whether a release has a change that came with `mainline`, or with one of the stable releases for its own series. */
export function hasChange(release: string, mainline: string, stable: readonly string[]): boolean {
  if (isAtLeast(release, mainline)) return true;
  const own = upstreamNumbers(release);
  return stable.map(numbersIn).some((since) => isOneSeries(own, since) && compare(own, since) >= 0);
}

/** How a kernel of this release walks its ports; null before 4.6. What the kernel is seen to do has the last word. */
export function linuxWalk(release: string): LinuxWalk | null {
  const row = WALKS.find(({ mainline, stable }) => hasChange(release, mainline, stable));
  return row?.walk ?? null;
}

/**
 * The numbers of a release. Distributions that keep one name for all patch levels ("5.10.0-32-amd64") carry what the
 * series has now, so that the missing number counts as the latest. A release candidate ("5.18.0-rc1") is no such name.
 */
function upstreamNumbers(release: string): number[] {
  const namesNoPatch = /^\d+\.\d+(\.0-(?!rc)|-(?!rc)|$)/.test(release);
  return namesNoPatch ? [...numbersIn(release).slice(0, 2), Number.POSITIVE_INFINITY] : numbersIn(release);
}

/** "6.12.48+deb13-amd64" as 6, 12, 48. */
function numbersIn(version: string): number[] {
  return (/^\d+(\.\d+)*/.exec(version)?.[0] ?? "").split(".").map(Number);
}

function isOneSeries(one: readonly number[], other: readonly number[]): boolean {
  return one[0] === other[0] && one[1] === other[1];
}

/** Below 0 where `one` is the earlier; numbers that are not given are 0. */
function compare(one: readonly number[], other: readonly number[]): number {
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const [own = 0, its = 0] = [one[index], other[index]];
    if (own !== its) return own - its;
  }
  return 0;
}
