/** connectMany() to its end. */
import type { ConnectManyOptions, ConnectResult } from "../../lib/guard/connect-many.ts";
import { connectMany } from "../../lib/guard/connect-many.ts";

export const UNBOUNDED = { concurrency: Infinity, perSecond: Infinity } as const;

/** Connects to all, resets what connected, and returns the results in the order in which they came. */
export async function connectAll(
  addresses: Parameters<typeof connectMany>[0],
  options: ConnectManyOptions = UNBOUNDED,
): Promise<ConnectResult[]> {
  const results: ConnectResult[] = [];
  for await (const result of connectMany(addresses, options)) {
    result.socket?.reset();
    results.push(result);
  }
  return results;
}
