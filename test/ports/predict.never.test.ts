/** "never, because …": what can be known before the first attempt, compared with what then happens. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/index.ts";
import type { PortSituation } from "../../lib/ports/index.ts";
import {
  expectedAttempts,
  expectedRemaining,
  supposeAlgorithm,
  waitFor,
  whyNever,
} from "../../lib/ports/index.ts";
import type { Strategy } from "../../lib/socket/strategy.ts";
import { command, deadPeer, MAIN, needsNamespaces, requires, runInNamespace } from "../support/harness.ts";

const facts: PortSituation = {
  ephemeralRange: { low: 32_768, high: 60_999 },
  reservedPorts: [{ low: 40_000, high: 40_001 }],
};
const oddFacts: PortSituation = { ephemeralRange: { low: 32_769, high: 60_999 }, reservedPorts: [] };
const at = (port: number, host = "127.0.0.1") => ({ family: 4, host, port }) as const;

describe("never, because", () => {
  it.each([
    ["outside-range", at(8080), "fresh"],
    ["outside-range", at(61_000), "reuse"],
    ["outside-range", at(8080), "range"],
    ["reserved", at(40_000), "fresh"],
    ["reserved", at(40_001), "range"],
    ["parity", at(50_001), "fresh"],
    ["parity", at(50_001), "reuse"],
    ["parity", at(50_000), "autobind"],
    ["address", at(50_000, "127.0.0.2"), "fresh"],
  ] as const)("%s: %o with %s", (reason, peer, strategy) => {
    const never = whyNever(peer, strategy, facts)!;
    expect(never.reason).toBe(reason);
    expect(never.because).toContain(reason === "address" ? peer.host : String(peer.port));
    expect(never.instead, "flags belong to commands").not.toContain("--");
    expect(expectedAttempts(peer, strategy, facts)).toBeNull();
  });

  it.each([
    [at(50_000), "fresh"],
    [at(50_000), "reuse"],
    [at(50_001), "autobind"],
    [at(50_001), "range"],
    [at(8080), "bind"],
    [at(50_001, "127.0.0.2"), "autobind"],
    [{ family: 6, host: "::ffff:127.0.0.1", port: 50_000 }, "fresh"],
  ] as const)("a self-connect is possible: %o with %s", (peer, strategy) => {
    expect(whyNever(peer, strategy, facts)).toBeNull();
  });

  it("an odd low end of the range flips the parity", () => {
    expect(whyNever(at(50_001), "fresh", oddFacts)).toBeNull();
    expect(whyNever(at(50_000), "fresh", oddFacts)).toMatchObject({ reason: "parity" });
  });

  it("returns null where the host does not report its range", () => {
    expect(whyNever(at(8080), "fresh", { ephemeralRange: null, reservedPorts: [] })).toBeNull();
    expect(expectedAttempts(at(8080), "fresh", { ephemeralRange: null, reservedPorts: [] })).toBeNull();
  });
});

/** The advice that a loop can get, for each range: the ports held in it, a port, a strategy, and the reason or null. */
const SMALL: readonly [string, PortSituation, number, Strategy, string | null][] = [
  ["one port", { ...range(40_000, 40_000) }, 40_000, "fresh", null],
  ["one port, odd", { ...range(40_001, 40_001) }, 40_001, "autobind", null],
  ["two ports, the first reserved", { ...range(40_000, 40_001, 40_000) }, 40_001, "fresh", null],
  ["two ports, the second reserved", { ...range(40_000, 40_001, 40_001) }, 40_000, "autobind", null],
  ["two ports, the second for connect", { ...range(40_000, 40_001) }, 40_001, "fresh", "parity"],
  ["three ports, the last", { ...range(40_000, 40_002) }, 40_002, "fresh", "last-port"],
  [
    "three ports, the last, the first held",
    { ...range(40_000, 40_002), heldPorts: [40_000] },
    40_002,
    "fresh",
    "last-port",
  ],
  ["five ports, the last", { ...range(40_000, 40_004) }, 40_004, "fresh", "last-port"],
  [
    "five ports, the last, the port before it held",
    { ...range(40_000, 40_004), heldPorts: [40_002] },
    40_004,
    "fresh",
    null,
  ],
  ["odd ports all held", { ...range(40_000, 40_003), heldPorts: [40_001, 40_003] }, 40_002, "autobind", null],
  ["even ports all held", { ...range(40_000, 40_003), heldPorts: [40_000, 40_002] }, 40_003, "fresh", null],
  ["lower half", { ...range(40_000, 40_007), reuseAddress: true }, 40_005, "autobind", "upper-half"],
  [
    "lower half held",
    { ...range(40_000, 40_007), reuseAddress: true, heldPorts: [40_000, 40_001, 40_002, 40_003] },
    40_005,
    "autobind",
    null,
  ],
  [
    "a holder of the port",
    { ...range(40_000, 40_007), keeper: "a listener on [::1]" },
    40_002,
    "fresh",
    "held",
  ],
];

function range(low: number, high: number, reserved?: number): PortSituation {
  return {
    ephemeralRange: { low, high },
    reservedPorts: reserved === undefined ? [] : [{ low: reserved, high: reserved }],
  };
}

it.each(SMALL)("never is exact in small ranges: %s", (_, situation, port, strategy, reason) => {
  const never = whyNever(at(port), strategy, situation);
  expect(never?.reason ?? null).toBe(reason);
  expect(expectedAttempts(at(port), strategy, situation) === null).toBe(reason !== null);
});

it.each(SMALL)("advice to a loop is true: %s", (_, situation, port, strategy) => {
  const never = whyNever(at(port), strategy, situation);
  const advised = Number(/choose port (\d+)/.exec(never?.instead ?? "")?.[1] ?? Number.NaN);
  if (advised > 0) expect(whyNever(at(advised), strategy, situation)).toBeNull();
  const others = /strategy (.*)$/.exec(never?.instead ?? "")?.[1]?.split(/, | or /) ?? [];
  for (const other of others) expect(whyNever(at(port), other as Strategy, situation)).toBeNull();
});

describe("how many attempts", () => {
  it("one number for a loop and for a prediction, which reserved ports make smaller", () => {
    const attempts = (port: number, strategy: Strategy) =>
      Math.round(expectedAttempts(at(port), strategy, facts)!);
    const algorithm = supposeAlgorithm("connect", os.release());
    const model = { ephemeralRange: facts.ephemeralRange!, unusable: facts.reservedPorts };
    expect(attempts(50_000, "fresh")).toBe(Math.round(waitFor(algorithm, model, 50_000, 50_000).mean));
    expect(attempts(50_001, "autobind")).toBe(14_116);
    expect(attempts(50_001, "bind")).toBe(1);
  });

  it("two at most, where a block of reserved ports leads to the port", () => {
    const reservedPorts = [{ low: 40_000, high: 40_997 }];
    const situation = { ephemeralRange: { low: 40_000, high: 40_999 }, reservedPorts };
    expect(expectedAttempts(at(40_998), "fresh", situation)).toBe(1);
  });

  it("fewer remain the nearer the walk is from below", () => {
    const findRemaining = expectedRemaining(at(50_000), "fresh", facts);
    expect(findRemaining(49_990)).toBeLessThan(findRemaining(50_002)!);
    expect(findRemaining(1)).toBeNull();
    expect(expectedRemaining(at(50_001), "fresh", facts)(50_002)).toBeNull();
  });
});

describe("the kernel behaves so in a namespace with a range of four ports", () => {
  const range = "50000 50003";
  async function verdict(port: number, strategy: Strategy): Promise<string> {
    const peer = `127.0.0.1:${port}`;
    const args = [MAIN, "reconnect", peer, "--strategy", strategy, "--attempts", "2000", "--json"];
    const { stdout } = await runInNamespace(range, process.execPath, args);
    const { never, verdict } = JSON.parse(stdout);
    return `${verdict}${never ? `, ${never.reason}` : ""}`;
  }

  it.for([
    [50_002, "fresh", "self-connect"],
    [50_003, "fresh", "attempts-spent, parity"],
    [50_003, "autobind", "self-connect"],
    [50_002, "autobind", "attempts-spent, parity"],
    [50_004, "fresh", "attempts-spent, outside-range"],
  ] as const)("port %i with %s: %s", async ([port, strategy, expected], context) => {
    needsNamespaces(context);
    expect(await verdict(port, strategy)).toBe(expected);
  });
});

describe("the route decides which addresses a socket can be joined to itself at", () => {
  /** In a namespace with a range of two ports, and an address and a route on loopback that no list of interfaces has. */
  function onOwnAddresses(args: readonly string[]) {
    const addresses = "ip addr add 127.0.0.2/32 dev lo && ip route add local 10.1.0.0/16 dev lo";
    const command = ["-c", `${addresses} && exec "$@"`, "sh", process.execPath, MAIN, ...args, "--json"];
    return runInNamespace("50000 50001", "sh", command);
  }

  it.for(["127.0.0.2", "10.1.2.3"])("%s: predicted, and joined", async (host, context) => {
    needsNamespaces(context);
    const peer = `${host}:50000`;
    const predicted = JSON.parse((await onOwnAddresses(["predict", peer, "--every", "1s"])).stdout);
    expect(predicted).toMatchObject({ never: null, predictions: [{ chancePerAttempt: 1 }] });
    const reached = JSON.parse((await onOwnAddresses(["reconnect", peer, "--attempts", "5"])).stdout);
    expect(reached.verdict).toBe("self-connect");
  });

  it("127.0.0.3 by a late bind, which binds to it: a socket is joined to itself", async (context) => {
    needsNamespaces(context);
    const asked = ["predict", "127.0.0.3:50000", "--method", "late-bind"];
    expect(JSON.parse((await onOwnAddresses(asked)).stdout)).toMatchObject({ never: null });
    requires(context, "6.3", "localPortRange");
    const peer = { ...deadPeer(), host: "127.0.0.3" };
    const localPortRange = { low: peer.port, high: peer.port };
    using socket = TcpSocket.open(4, { bindAddressNoPort: true, localPortRange });
    socket.bind({ ...peer, port: 0 }).connect(peer);
    expect(socket.isSelfConnected()).toBe(true);
    socket.reset();
  });

  it("127.0.0.3, which is only loopback: never, and the control agrees", async (context) => {
    needsNamespaces(context);
    const predicted = JSON.parse((await onOwnAddresses(["predict", "127.0.0.3:50000"])).stdout);
    expect(predicted.never).toMatchObject({
      reason: "address",
      because: expect.stringContaining("127.0.0.1"),
    });
    const reached = JSON.parse(
      (await onOwnAddresses(["reconnect", "127.0.0.3:50000", "--attempts", "50"])).stdout,
    );
    expect(reached).toMatchObject({ verdict: "attempts-spent", never: { reason: "address" } });
  });

  it("an address of another host is none of ours, with a route to it and without", async (context) => {
    needsNamespaces(context);
    const predicted = JSON.parse((await onOwnAddresses(["predict", "192.0.2.1:50000"])).stdout);
    expect(predicted.never.reason).toBe("other-host");
  });
});

it("where the range cannot be read, a prediction is unknown: exit code 1, in words and as an object", async (context) => {
  needsNamespaces(context);
  const hidden = 'mount --make-rprivate / && mount -t tmpfs none /proc/sys && exec "$@"';
  const ask = (...flags: string[]) =>
    command("unshare", ["-rm", "sh", "-c", hidden, "sh", process.execPath, MAIN, "predict", ...flags]);
  const words = await ask("--check", "10");
  expect(words).toMatchObject({ status: 1, stderr: "" });
  expect(words.stdout).toContain("unknown: this host does not report net.ipv4.ip_local_port_range");
  const { status, stdout } = await ask("--json");
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ never: null, predictions: [], check: null });
});
