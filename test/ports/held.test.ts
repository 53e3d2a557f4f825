/** Which sockets keep a port from the kernel's choice, and that a server at work is left in peace. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import {
  checkPrediction,
  findDeadPort,
  portAlgorithm,
  portSituation,
  predict,
} from "../../lib/ports/index.ts";
import { predictReport, predictText } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { cli, deadPeer, MAIN, needsNamespaces, requires, runInNamespace } from "../support/harness.ts";
import { keep, plant, resetPlanted } from "../support/planted.ts";

const PEER: Address = { family: 4, host: "127.0.0.1", port: 1 };

afterEach(resetPlanted);

/** A connection to a listener elsewhere, from a port that bind(2) or the kernel put it on. */
async function connectElsewhere(local: Address, isBound: boolean): Promise<void> {
  const server = plant(4).bind(deadPeer(4, "other")).listen();
  const range = { low: local.port, high: local.port };
  const client = isBound ? plant(4).bind(local) : plant(4, { localPortRange: range });
  client.connect(server.getsockname());
  await client.connected();
  let accepted = server.accept();
  for (; accepted === null; accepted = server.accept()) await sleep(1);
  keep(accepted);
}

test("a listener and a bound socket of any address hold their ports for connect(2)", () => {
  for (const [family, host] of [
    [4, "127.0.0.3"],
    [6, "::1"],
    [6, "::"],
    [4, "0.0.0.0"],
  ] as const) {
    const { port } = plant(family)
      .bind({ ...deadPeer(family), host })
      .listen()
      .getsockname();
    expect(portSituation(PEER, "connect").heldPorts, host).toContain(port);
  }
});

test("for bind(2) with port 0 those that overlap with the peer's address, and no others", () => {
  const heldOn = (family: 4 | 6, host: string, options: OpenOptions = {}) => {
    const { port } = plant(family, options)
      .bind({ ...deadPeer(family), host })
      .listen()
      .getsockname();
    return portSituation(PEER, "bind").heldPorts!.includes(port);
  };
  expect(heldOn(4, "127.0.0.1")).toBe(true);
  expect(heldOn(4, "0.0.0.0")).toBe(true);
  expect(heldOn(6, "::")).toBe(true);
  expect(heldOn(6, "::", { ipv6Only: true })).toBe(false);
  expect(heldOn(4, "127.0.0.3")).toBe(false);
  expect(heldOn(6, "::1")).toBe(false);
});

test("a connected socket holds its port if bind(2) put it there: the kernel is asked", async (context) => {
  requires(context, "6.3", "localPortRange");
  const [bound, picked] = [deadPeer(), deadPeer()];
  await connectElsewhere(bound, true);
  await connectElsewhere(picked, false);
  const { heldPorts } = portSituation(PEER, "connect");
  expect(heldPorts).toContain(bound.port);
  expect(heldPorts).not.toContain(picked.port);
});

test("the server in question does not count, a socket that stays when it ends does", () => {
  const peer = deadPeer();
  plant(4).bind(peer).listen();
  expect(portSituation(peer, "connect").keeper).toBeNull();
  expect(portSituation(peer, "connect").heldPorts).not.toContain(peer.port);
  const lonely = deadPeer();
  plant(4).bind({ ...lonely, host: "127.0.0.3" });
  expect(portSituation(lonely, "connect").keeper).toContain("127.0.0.3");
});

test.each(["predict", "ports"])("%s makes no connection to a server at work", async (name) => {
  const peer = deadPeer();
  const server = plant(4).bind(peer).listen();
  const address = `127.0.0.1:${peer.port}`;
  const { stdout, status } = await cli(
    name === "ports"
      ? ["ports", "--peer", address, "--count", "500", "--json"]
      : ["predict", address, "--json"],
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty(name === "ports" ? "verdict" : "never");
  expect(server.accept()).toBeNull();
});

test("the control: an observation of the server itself connects to it", async () => {
  const peer = deadPeer();
  const server = plant(4).bind(peer).listen();
  plant(4).connect(peer);
  await expect.poll(() => server.accept()?.reset(), { timeout: 2000 }).not.toBeNull();
  expect(findDeadPort(peer)).not.toBe(peer.port);
});

test("prints on which sockets the answer depends, in words and as an object", async () => {
  const facts = {
    ephemeralRange: { low: 40_000, high: 40_004 },
    reservedPorts: [],
    heldPorts: [40_001, 40_002],
  };
  const peer = { ...PEER, port: 40_004 };
  const prediction = await predict({ peer, facts, algorithm: portAlgorithm("linux-5.18") });
  const question = { clients: 1, paces: [{ name: "every 1 s", attemptsPerSecond: 1 }], check: null };
  expect(prediction.never).toBeNull();
  expect(predictText(prediction, question)).toContain("This holds while 40001, 40002 are in use.");
  expect(predictReport(prediction, question).while.held).toEqual([40_001, 40_002]);
});

test("a check with missing trials does not hold", async () => {
  const facts = { ephemeralRange: { low: 40_000, high: 40_100 }, reservedPorts: [] };
  const prediction = await predict({
    peer: { ...PEER, port: 40_000 },
    facts,
    algorithm: portAlgorithm("linux-5.18"),
  });
  const check = await checkPrediction(prediction, { trials: 50, signal: AbortSignal.abort() });
  expect(check).toMatchObject({ asked: 50, trials: [], holds: false });
  const text = predictText(prediction, { clients: 1, paces: [{ name: "1/s", attemptsPerSecond: 1 }], check });
  expect(text).toContain("0 of 50 real self-connects");
});

test("a check of never makes attempts, and none of them is a self-connect", async (context) => {
  needsNamespaces(context);
  const run = (peer: string) =>
    runInNamespace("40000 40100", process.execPath, [MAIN, "predict", peer, "--check", "50", "--json"]);
  const { stdout, status } = await run("127.0.0.1:40100");
  const { never, neverCheck } = JSON.parse(stdout);
  expect([never.reason, neverCheck.selfConnects, status]).toEqual(["last-port", 0, 0]);
  expect(neverCheck.attempts).toBeGreaterThan(1000);
  // The control: as many trials as were asked for, where it does happen.
  const real = JSON.parse((await run("127.0.0.1:40098")).stdout);
  expect(real.check.trials).toHaveLength(50);
});

test("where every ephemeral port is reserved, addresses are still this host's", async (context) => {
  needsNamespaces(context);
  const reserve = 'echo 40000-40003 > /proc/sys/net/ipv4/ip_local_reserved_ports && exec "$@"';
  const program = ["-c", reserve, "sh", process.execPath, MAIN, "predict", "127.0.0.1:40000", "--json"];
  const { stdout, status } = await runInNamespace("40000 40003", "sh", program);
  expect([status, JSON.parse(stdout).never.reason]).toEqual([0, "reserved"]);
});
