/** Which runtime this is: the guard holds Node's own handles, which others do not have. */

/** "Bun 1.4.5"; null in Node. */
export function otherRuntime(): string | null {
  const { bun, deno } = process.versions;
  if (bun) return `Bun ${bun}`;
  return deno ? `Deno ${deno}` : null;
}
