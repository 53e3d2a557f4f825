/** Programmer errors: thrown at once, with the value, the fix and the near miss in the message. */
import { inspect } from "node:util";

/** Creates a TypeError or RangeError with an `ERR_…` code. */
export function invalidArgument(
  code: string,
  message: string,
  Kind: ErrorConstructor = TypeError,
): Error & { readonly code: string } {
  return Object.assign(new Kind(message), { code });
}

/**
 * Throws ERR_UNKNOWN_OPTION for a key of an options object that is none of `names`, with the near miss, and
 * ERR_INVALID_OPTIONS for what is no object.
 */
export function checkKeys(of: string, options: object, names: readonly string[]): void {
  checkObject(of, options, names);
  const wrong = Object.keys(options).find((key) => !names.includes(key));
  if (wrong === undefined) return;
  const meant = nearest(wrong, names);
  const fix = meant ? `did you mean "${meant}"?` : `use ${names.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_OPTION", `"${wrong}" is not an option of ${of}: ${fix}`);
}

/** The text of a wrong argument, for a message: String() itself throws for an object without a prototype. */
export function textOf(value: unknown): string {
  return typeof value === "object" ? inspect(value, { depth: 0 }) : String(value);
}

/** Throws ERR_OPTION_VALUE for one of these options that is there and neither true nor false. */
export function checkFlags(options: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || typeof value === "boolean" || !names.includes(name)) continue;
    throw invalidArgument("ERR_OPTION_VALUE", `${name} cannot be ${inspect(value)}: use true or false`);
  }
}

/** Throws ERR_OPTION_VALUE for one of these options that is there and no function. */
export function checkCallbacks(options: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || typeof value === "function" || !names.includes(name)) continue;
    throw invalidArgument("ERR_OPTION_VALUE", `${name} cannot be ${inspect(value)}: use a function`);
  }
}

/** Throws ERR_INVALID_OPTIONS for options that are no object. */
export function checkObject(of: string, options: unknown, names: readonly string[]): void {
  if (options !== null && typeof options === "object") return;
  const message = `${of} takes an object of options, not ${inspect(options)}: use ${names.join(", ")}`;
  throw invalidArgument("ERR_INVALID_OPTIONS", message);
}

/** Throws `code` for a value that is none of the known names, with the near miss; `what` is "a method". */
export function checkChoice(code: string, what: string, value: unknown, known: readonly string[]): void {
  if (known.some((name) => name === value)) return;
  const meant = nearest(textOf(value), known);
  const fix = meant ? `did you mean "${meant}"?` : `use ${known.join(", ")}`;
  throw invalidArgument(code, `${inspect(value, { depth: 0 })} is not ${what}: ${fix}`);
}

/**
 * Throws ERR_INVALID_ARGUMENT unless the value is an object with these properties; `what` says what is expected:
 * "fingerprint() takes what samplePorts() returned".
 */
export function checkShape(what: string, value: unknown, names: readonly string[]): void {
  const isObject = (typeof value === "object" || typeof value === "function") && value !== null;
  if (isObject && names.every((name) => name in value)) return;
  throw invalidArgument("ERR_INVALID_ARGUMENT", `${what}, not ${inspect(value, { depth: 0 })}`);
}

/** Throws ERR_INVALID_ARGUMENT unless the value is an array, with `names` one of objects that have them. */
export function checkArray(what: string, value: unknown, names?: readonly string[]): void {
  if (!Array.isArray(value)) {
    throw invalidArgument("ERR_INVALID_ARGUMENT", `${what}, not ${inspect(value, { depth: 0 })}`);
  }
  if (names) for (const one of value) checkShape(what, one, names);
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
  if (deadlineMs === undefined) return;
  if (typeof deadlineMs === "number" && deadlineMs >= 0 && deadlineMs <= LONGEST_WAIT_MS) return;
  const message = `deadlineMs ${inspect(deadlineMs)} is not a time: use 0 to ${LONGEST_WAIT_MS}`;
  throw invalidArgument("ERR_INVALID_DEADLINE", message, RangeError);
}

/** Throws ERR_INVALID_SIGNAL unless the value is an AbortSignal, of this realm or another, or undefined. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined || typeof (signal as Partial<AbortSignal> | null)?.throwIfAborted === "function")
    return;
  const message = `signal ${inspect(signal, { depth: 0 })} is not an AbortSignal: pass controller.signal`;
  throw invalidArgument("ERR_INVALID_SIGNAL", message);
}

/** Throws ERR_INVALID_BACKLOG unless listen(2) takes the number. */
export function checkBacklog(backlog: number): void {
  if (Number.isInteger(backlog) && backlog >= 0 && backlog <= 2 ** 31 - 1) return;
  const message = `backlog ${inspect(backlog)} is not a count: use 0 to ${2 ** 31 - 1}`;
  throw invalidArgument("ERR_INVALID_BACKLOG", message, RangeError);
}
