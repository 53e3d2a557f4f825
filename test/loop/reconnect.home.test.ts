/** A loop floods nobody but its own host, in namespaces: this host, alone or joined by a cable to another host. */
import { describe, expect, it } from "vitest";
import type { Engine } from "../../lib/loop/engine.ts";
import type { OutcomeCounts } from "../../lib/socket/errors.ts";
import type { Strategy } from "../../lib/socket/strategy.ts";
import { command, needsNamespaces, requires } from "../support/harness.ts";

const PROGRAM = new URL("../support/programs/flood.mjs", import.meta.url).pathname;
/** Without a bound local address, with one socket, and with a bound address. */
const STRATEGIES = ["fresh", "reuse", "bind"] as const;
/** What another host may get: the first attempts of a burst, or those of 10 ms, and a few packets of its neighbours. */
const FIRST_ATTEMPTS = 16;
const NEIGHBOURS = 40;
/** Several times as many attempts as 10 ms have room for. */
const BEFORE_THE_MOVE = 10_000;

/** "$@" runs on this host; then the packets that came to the other one are printed. */
const CABLE = `set -e
unshare -n sleep 1000 & export other=$!
trap 'kill $other' EXIT
while [ /proc/$other/ns/net -ef /proc/self/ns/net ]; do sleep 0.01; done
on() { nsenter -t $other -n "$@"; }
ip link set lo up; on ip link set lo up
ip link add here type veth peer name there netns $other; ip link set here up; on ip link set there up
ip address add 10.77.0.1/24 dev here; on ip address add 10.77.0.2/24 dev there
count() { on cat /proc/net/snmp | awk '/^Ip: [0-9]/ { print $4 }'; }
before=$(count)
"$@"
echo $(($(count) - before))`;

interface End {
  readonly code?: string;
  readonly message?: string;
  readonly outcomes: OutcomeCounts;
}

/** Runs a script on the host with the cable; "$@" in it is the loop. */
async function flood(script: string, ...loop: string[]): Promise<{ end: End; packets: number }> {
  const args = ["sh", "-c", CABLE, "sh", "sh", "-c", script, "sh", process.execPath, PROGRAM, ...loop];
  const { stdout, stderr } = await command("unshare", ["-rn", ...args]);
  const [end, packets] = stdout.trim().split("\n");
  if (!packets) throw new Error(stderr);
  return { end: JSON.parse(end!), packets: Number(packets) };
}

describe.each(STRATEGIES)("by %s", (strategy) => {
  it("ends within 10 ms when the address moves to another host", async (context) => {
    needsNamespaces(context);
    const move = `ip address add 10.77.0.100/32 dev here
attempts() { awk '/^Tcp: [0-9]/ { print $6 }' /proc/net/snmp; }
{ "$@" 2>&3 | cat; } 3>&1 | { read -r runs; until [ $(attempts) -gt ${BEFORE_THE_MOVE} ]; do sleep 0.02; done
ip address delete 10.77.0.100/32 dev here
nsenter -t $other -n ip address add 10.77.0.100/32 dev there; cat; }`;
    const { end, packets } = await flood(move, "10.77.0.100:9", strategy, "100000000");
    expect(end).toMatchObject({ code: "ERR_NOT_THIS_HOST", message: expect.stringContaining("no longer") });
    const { ECONNREFUSED: refused = 0, "self-connect": joined = 0 } = end.outcomes;
    expect(refused + joined).toBeGreaterThan(BEFORE_THE_MOVE);
    expect(packets).toBeLessThan(BEFORE_THE_MOVE / 2);
  });

  it("ends after the first attempts where a NAT rule sends them to another host", async (context) => {
    needsNamespaces(context);
    const nat = `nft add table ip nat
nft add chain ip nat out '{ type nat hook output priority -100; }'
nft add rule ip nat out ip daddr 10.77.0.1 tcp dport 9 dnat to 10.77.0.2:9
exec "$@"`;
    const { end, packets } = await flood(nat, "10.77.0.1:9", strategy, "20000");
    expect(end).toMatchObject({ code: "ERR_NOT_THIS_HOST", message: expect.stringContaining("a NAT rule") });
    expect(packets).toBeLessThanOrEqual(FIRST_ATTEMPTS + NEIGHBOURS);
  });
});

it("begins at no address of another interface", async (context) => {
  needsNamespaces(context);
  const scoped = `ip link add own type dummy; ip link set own up; ip address add fe80::1/64 dev own nodad
exec "$@"`;
  const { end, packets } = await flood(scoped, "[fe80::1%here]:9", "fresh", "20000");
  expect(end).toMatchObject({ code: "ERR_NOT_THIS_HOST" });
  expect(packets).toBeLessThanOrEqual(NEIGHBOURS);
});

it.for(
  ["plain", "io_uring"].flatMap((engine) => [
    ["fresh", "127.0.0.1:9", engine],
    ["reuse", "127.0.0.1:9", engine],
    ["autobind", "127.0.0.1:9", engine],
    ["bind", "127.0.0.1:50000", engine],
    ["range", "127.0.0.1:50000", engine],
  ]) as [Strategy, string, Engine][],
)("%s to %s sends one SYN for each attempt that it counts: %s", async ([strategy, peer, engine], context) => {
  needsNamespaces(context);
  if (strategy === "range") requires(context, "6.3", "localPortRange");
  const script = `ip link set lo up
count() { awk '/^Tcp: [0-9]/ { print $6 }' /proc/net/snmp; }
"$@"
count`;
  const parts = ["sh", "-c", script, "sh", process.execPath, PROGRAM, peer, strategy, "300", engine];
  const { stdout } = await command("unshare", ["-rn", ...parts]);
  const [end, opens] = stdout.trim().split("\n");
  const { outcomes, code }: End = JSON.parse(end!);
  if (engine === "io_uring" && code !== undefined) context.skip(`io_uring: ${code}`);
  expect(outcomes).toEqual({
    [strategy === "bind" || strategy === "range" ? "self-connect" : "ECONNREFUSED"]: 300,
  });
  expect(Number(opens)).toBe(300);
});
