/** Programmer errors: thrown at once, with the value, the fix and the near miss in the message. */

/** Creates a TypeError or RangeError with an `ERR_…` code. */
export function invalidArgument(
  code: string,
  message: string,
  Kind: ErrorConstructor = TypeError,
): Error & { readonly code: string } {
  return Object.assign(new Kind(message), { code });
}

/** Throws ERR_UNKNOWN_OPTION for a key of an options object that is none of `names`, with the near miss. */
export function checkKeys(of: string, options: object, names: readonly string[]): void {
  const wrong = Object.keys(options).find((key) => !names.includes(key));
  if (wrong === undefined) return;
  const meant = nearest(wrong, names);
  const fix = meant ? `did you mean "${meant}"?` : `use ${names.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_OPTION", `"${wrong}" is not an option of ${of}: ${fix}`);
}

/** Finds the known name nearest to a misspelt one by edit distance; null when every one is too far away. */
export function nearest(name: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const swap = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}

/** The longest that a timer of Node waits. */
export const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** Throws ERR_INVALID_DEADLINE unless the value is a time that a timer can wait, or undefined. */
export function checkDeadline(deadlineMs: number | undefined): void {
  if (deadlineMs === undefined || (deadlineMs >= 0 && deadlineMs <= LONGEST_WAIT_MS)) return;
  const message = `deadlineMs ${deadlineMs} is not a time: use 0 to ${LONGEST_WAIT_MS}`;
  throw invalidArgument("ERR_INVALID_DEADLINE", message, RangeError);
}
