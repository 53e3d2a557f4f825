/** A load balancer that rewrites connect(2) and getpeername(2), in a namespace of its own. */
import type { TestContext } from "vitest";
import { expect } from "vitest";
import { command } from "./harness.ts";

const BALANCER = new URL("programs/behind-balancer.sh", import.meta.url).pathname;

/** The address that the clients connect to; the balancer sends them to 127.0.0.1:BACKEND. */
export const SERVICE = "10.96.0.10";
export const BACKEND = 40_002;
/** What the setup exits with when this host has no permission for it, or no cgroup v2, BPF or python3. */
const UNAVAILABLE = 77;

/**
 * Runs a client in a namespace with eight ports that connect(2) picks, behind a balancer of SERVICE and `port`. Returns
 * the object that it prints.
 */
export async function runBalanced<T>(
  context: TestContext,
  port: number,
  client: readonly string[],
): Promise<T> {
  const args = ["-nm", BALANCER, SERVICE, `${port}`, `${BACKEND}`, "40000 40015", ...client];
  const { status, stdout, stderr } = await command("unshare", args);
  if (status === UNAVAILABLE || stderr.startsWith("unshare:"))
    context.skip(`no load balancer here: needs root, cgroup v2, BPF and python3 (${stderr.trim()})`);
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}
