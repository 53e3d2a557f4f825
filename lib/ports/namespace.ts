/** network_namespaces(7): whether another namespace continues this one's walk to the same peer. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import type { Method } from "./method.ts";

/** Ports picked for one peer, in order: one in this namespace, many in a new one, one in this one again. */
export interface NamespacePicks {
  /** The ports picked in each round, in this namespace and another one in turn. */
  readonly rounds: readonly Uint16Array[];
  /** Why there are no rounds; null when there are. */
  readonly reason: string | null;
}

const run = promisify(execFile);
const LIBRARY = new URL("../../dist/ports/index.js", import.meta.url).href;
/** A wrap or a new salt can spoil one round, but not all. */
const ROUNDS = 3;
const LONGEST_MS = 10_000;
const LOOPBACK = /^(127\.|::1$)/;

/** Prints every port picked for the peer: those of the run, then those of the weave. */
const PICKS = `
const [library, peer, method] = process.argv.slice(1);
const { samplePorts } = await import(library);
const { ports, weave } = await samplePorts({ peer: JSON.parse(peer), method, count: 8 });
console.log([...ports, ...(weave[0] ?? [])].join(" "));
`;

/** Sets the ephemeral range of this namespace, because a new namespace starts with the kernel's default. */
const SET_UP = `ip link set lo up && echo "$1" > /proc/sys/net/ipv4/ip_local_port_range && shift && exec "$@"`;

export async function pickInNamespaces(
  peer: Address,
  method: Method,
  pick: (peer: Address) => { readonly port: number },
  signal?: AbortSignal,
): Promise<NamespacePicks> {
  if (!LOOPBACK.test(peer.host)) return noPicks("a new namespace has only loopback addresses");
  const rounds: Uint16Array[] = [];
  try {
    while (rounds.length < ROUNDS && !signal?.aborted) {
      const before = pick(peer).port;
      const inside = await pickInside(peer, method);
      rounds.push(Uint16Array.of(before, ...inside, pick(peer).port));
    }
  } catch (error) {
    const [why] = String((error as { stderr?: string }).stderr || error).split("\n");
    return noPicks(`no network namespace can be created here: ${why}`);
  }
  return rounds.length > 0 ? { rounds, reason: null } : noPicks("interrupted");
}

function noPicks(reason: string): NamespacePicks {
  return { rounds: [], reason };
}

async function pickInside(peer: Address, method: Method): Promise<number[]> {
  const { low, high } = portFacts().ephemeralRange ?? { low: 0, high: 0 };
  const script = [process.execPath, "--input-type=module", "-e", PICKS, "--"];
  const task = [LIBRARY, JSON.stringify(peer), method];
  const args = ["-rn", "sh", "-c", SET_UP, "sh", `${low} ${high}`, ...script, ...task];
  const { stdout } = await run("unshare", args, { timeout: LONGEST_MS });
  return stdout.trim().split(" ").map(Number);
}
