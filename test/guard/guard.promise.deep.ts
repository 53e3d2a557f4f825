/**
 * The promise: no way in hands out a socket that is joined to itself, whether the guard only detects it or also prevents
 * it. Nothing listens, so every socket that a client gets is one. The controls show how many there are without the guard.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { supported } from "../../lib/socket/supported.ts";
import { BACKEND, runBalanced, SERVICE } from "../support/balancer.ts";
import { needsNamespaces, runInNamespace } from "../support/harness.ts";
import { GUARDED_DOORS, PLAIN_DOORS, REGISTER } from "../support/story.ts";

const PROGRAM = new URL("../support/programs/client.mjs", import.meta.url).pathname;
const timeout = 30 * 60_000;

/** Of the default range, where the kernel picks one port of 14,116. */
const DEFAULT = { range: "32768 60999", port: 50_000, attempts: 300_000 } as const;
/** With eight ports to pick from, so few attempts have more self-connects than 300,000 have there, 21. */
const FEW = { attempts: 10_000, joined: 300 } as const;
/** The expected number is 42, and the chance of fewer than this below one in 100,000. */
const CONTROL = { attempts: 600_000, joined: 15 } as const;

/** The ways in of the package, and the plain ones under selfconnect/register. */
const WAYS = [...GUARDED_DOORS, ...PLAIN_DOORS];

interface Counts {
  readonly attempts: number;
  readonly rejected: number;
  readonly outcomes: Readonly<Record<string, number>>;
}

interface Client {
  readonly door: string;
  readonly guard: "off" | "detect" | "prevent";
  readonly host: string;
  readonly port: number;
  readonly attempts: number;
}

function commandOf({ door, guard, host, port, attempts }: Client): string[] {
  const flags = guard !== "off" && PLAIN_DOORS.includes(door) ? REGISTER : [];
  const variables = ["COUNT=1", `HOST=${host}`, `GUARD=${guard}`, `SELFCONNECT_GUARD=${guard}`];
  return ["env", ...variables, process.execPath, ...flags, PROGRAM, door, String(port), String(attempts)];
}

/** The sockets that the client got. */
function countHandedOut({ outcomes }: Counts): number {
  return (outcomes.closed ?? 0) + (outcomes.answered ?? 0) + (outcomes["joined to itself"] ?? 0);
}

describe("on the default range", () => {
  beforeEach((context) => needsNamespaces(context));

  async function run(door: string, guard: Client["guard"], attempts: number): Promise<Counts> {
    const { range, port } = DEFAULT;
    const [file, ...args] = commandOf({ door, guard, host: "127.0.0.1", port, attempts });
    const { stdout, stderr } = await runInNamespace(range, file!, args);
    expect(stderr).toBe("");
    const counts = JSON.parse(stdout);
    console.log(guard, stdout.trim());
    return counts;
  }

  it("control: a client without the guard gets them", { timeout }, async () => {
    expect(countHandedOut(await run("net", "off", CONTROL.attempts))).toBeGreaterThanOrEqual(CONTROL.joined);
  });

  it.each(WAYS)("%s: none in 300,000 under detect and under prevent, which leaves none to reject", {
    timeout,
  }, async (door) => {
    // Each in a namespace of its own, so they share nothing but the processors.
    const [detected, prevented] = await Promise.all([
      run(door, "detect", DEFAULT.attempts),
      run(door, "prevent", DEFAULT.attempts),
    ]);
    for (const counts of [detected, prevented]) {
      expect(counts.attempts).toBe(DEFAULT.attempts);
      expect(countHandedOut(counts), JSON.stringify(counts)).toBe(0);
    }
    expect(detected.rejected).toBeGreaterThan(0);
    if (supported("localPortRange")) expect(prevented.rejected).toBe(0);
  });
});

describe.each([
  ["the port unchanged", BACKEND],
  ["another port", 80],
])("behind a load balancer with %s", (_what, port) => {
  const behind = { host: SERVICE, port, attempts: FEW.attempts };

  it("control: a client without the guard gets them", { timeout }, async (context) => {
    const client = commandOf({ door: "net", guard: "off", ...behind });
    expect(countHandedOut(await runBalanced<Counts>(context, port, client))).toBeGreaterThan(FEW.joined);
  });

  it.for(WAYS)("%s: none", { timeout }, async (door, context) => {
    const counts = await runBalanced<Counts>(context, port, commandOf({ door, guard: "detect", ...behind }));
    expect(countHandedOut(counts), JSON.stringify(counts)).toBe(0);
    expect(counts.rejected).toBeGreaterThan(FEW.joined);
  });
});
