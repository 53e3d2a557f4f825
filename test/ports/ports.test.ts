/** The observed ports and their name: this kernel's own, each algorithm of RFC 6056 made up here, and sequences of neither. */
import { readFileSync, rmSync } from "node:fs";
import os from "node:os";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { TestContext } from "vitest";
import { describe, expect, test } from "vitest";
import { portFacts } from "../../lib/kernel/index.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import { seededRandom } from "../../lib/loop/statistics.ts";
import { Capture, decodeFrame } from "../../lib/packets/index.ts";
import type { AlgorithmName, Observation } from "../../lib/ports/index.ts";
import { fingerprint, samplePorts, supposeAlgorithm } from "../../lib/ports/index.ts";
import { portsHtml } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import { formatAddress, isSameAddress } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import {
  cli,
  deadPeer,
  FAMILIES,
  interruptAfter,
  needsNamespaces,
  requires,
  withListener,
} from "../support/harness.ts";

/** Skips where the kernel walks in a way that these tests do not expect. */
function needsNewestWalk(context: TestContext): void {
  const { name } = supposeAlgorithm("connect", os.release());
  if (name !== "linux-5.18") context.skip(`this is Linux ${os.release()}, which walks as ${name}`);
}

const COUNT = 3000;
const RUNS = 20;

describe("this kernel", () => {
  test.for(FAMILIES)("is named right in 20 of 20 runs, IPv%i", async (family, context) => {
    needsNewestWalk(context);
    const names: string[] = [];
    for (let run = 0; run < RUNS; run++) {
      const observation = await samplePorts({ peer: deadPeer(family), count: COUNT });
      names.push(fingerprint(observation).verdict.name);
    }
    expect(names).toEqual(new Array(RUNS).fill("linux-5.18"));
  });

  test("bind(2) with port 0 is named right in 20 of 20 runs, and picks the other parity", async () => {
    const { low } = portFacts().ephemeralRange!;
    for (let run = 0; run < RUNS; run++) {
      const observation = await samplePorts({ peer: deadPeer(), count: COUNT, method: "bind" });
      expect(fingerprint(observation).verdict.name).toBe("linux-bind");
      expect(observation.ports.every((port) => (port - low) % 2 === 1)).toBe(true);
    }
  });

  test("a late bind walks as connect does, and IP_LOCAL_PORT_RANGE takes both parities", async (context) => {
    needsNewestWalk(context);
    const late = await samplePorts({ peer: deadPeer(), count: COUNT, method: "late-bind" });
    expect(fingerprint(late).verdict.name).toBe("linux-5.18");
    requires(context, "6.8", "localPortRange");
    const range = fingerprint(await samplePorts({ peer: deadPeer(), count: COUNT, method: "range" }));
    expect(range.verdict.name).toBe("linux-6.8-range");
    expect(Math.min(range.parity.even, range.parity.odd)).toBeGreaterThan(COUNT / 3);
  });

  test("the native loop goes on where the sample ended: both read one walk", async (context) => {
    needsNewestWalk(context);
    const peer = deadPeer();
    const { ports } = await samplePorts({ peer, count: 500 });
    const before = await samplePorts({ peer, count: 1 });
    const seen: number[] = [];
    const onPorts = (batch: Uint16Array) => seen.push(...batch);
    await using loop = new ReconnectLoop({ peer, attempts: 200, onPorts });
    await loop.run();
    const { low, high } = portFacts().ephemeralRange!;
    const size = high - low + 1;
    // The weave of the second sample lies between: 64 rounds of 2 to 16 ports.
    const ahead = (seen[0]! - before.ports[0]! + size) % size;
    expect(ahead).toBeGreaterThanOrEqual(65 * 2);
    expect(ahead).toBeLessThanOrEqual(65 * 16);
    // A port that somebody else holds, at whatever address of either family, is stepped over: a longer step.
    const isHeld = (held: number) => listenRefusal({ family: 6, host: "::", port: held }) !== null;
    const withoutHeld = (step: number, port: number): number =>
      step > 16 && isHeld(port - 2) ? withoutHeld(step - 2, port - 2) : step;
    const steps = (list: ArrayLike<number>) =>
      Array.from(list, (port, i) => (i === 0 ? 2 : withoutHeld((port - list[i - 1]! + size) % size, port)));
    for (const step of [...steps(ports), ...steps(seen)])
      expect([2, 4, 6, 8, 10, 12, 14, 16]).toContain(step);
  });

  test.for(
    FAMILIES,
  )("another network namespace goes on with the same walk, IPv%i", async (family, context) => {
    needsNamespaces(context);
    needsNewestWalk(context);
    const observation = await samplePorts({ peer: deadPeer(family), count: COUNT, namespaces: true });
    const { dependence } = fingerprint(observation);
    expect(dependence).toMatchObject({ namespace: false, whyNoNamespace: null });
    // Without the ports inside, the walk out here has a gap; with those of another walk, it is none.
    const { rounds } = observation.namespaces!;
    const apart = rounds.map((round) => round.map((port, i) => (i % 73 === 0 ? port : port ^ 0x1000)));
    const other = fingerprint({ ...observation, namespaces: { rounds: apart, reason: null } });
    expect(other.dependence.namespace).toBe(true);
  });

  test("namespaces that were not asked for, or cannot be made, are not told of", async () => {
    const observation = await samplePorts({ peer: deadPeer(), count: 300 });
    expect(fingerprint(observation).dependence.namespace).toBeNull();
    const reason = "no network namespace can be made here";
    const { dependence } = fingerprint({ ...observation, namespaces: { rounds: [], reason } });
    expect(dependence).toMatchObject({ namespace: null, whyNoNamespace: reason });
  });

  test("without unshare(1) the reason is told, and the rest is observed", async () => {
    const { PATH } = process.env;
    process.env.PATH = "/nowhere";
    try {
      const { namespaces, ports } = await samplePorts({ peer: deadPeer(), count: 10, namespaces: true });
      expect(namespaces).toMatchObject({ rounds: [], reason: expect.stringContaining("unshare ENOENT") });
      expect(ports).toHaveLength(10);
    } finally {
      process.env.PATH = PATH;
    }
  });

  test("a listener as the peer gives the same name as a dead port", async (context) => {
    needsNewestWalk(context);
    await withListener(
      4,
      () => {},
      async (peer) => {
        const observation = await samplePorts({ peer, count: 500 });
        expect(fingerprint(observation).verdict.name).toBe("linux-5.18");
      },
    );
  });
});

describe("the ports on the wire", () => {
  test.for(FAMILIES)("300 of 300 are those of the SYNs, in order, IPv%i", async (family, context) => {
    const peer = deadPeer(family);
    using capture = openCapture(context, peer.port);
    const { ports, weave } = await samplePorts({ peer, count: 300 });
    expect(ports).toHaveLength(300);
    expect(capture.counts().lost).toBe(0);
    expect(sentFrom(capture, peer)).toEqual([...ports, ...weave[0]!]);
  });

  test("a capture of one port leaves out the others", async (context) => {
    const [peer, other] = [deadPeer(), deadPeer()];
    using capture = openCapture(context, other.port);
    // The weave goes to the peer's neighbour; the capture's port is a third one.
    await samplePorts({ peer, count: 50 });
    expect(sentFrom(capture, peer)).toEqual([]);
  });
});

/** The local ports of all SYNs to one address, in the order in which they left. */
function sentFrom(capture: Capture, peer: Address): number[] {
  return capture.read().flatMap(({ bytes }) => {
    const segment = decodeFrame(bytes);
    if ("problem" in segment) throw new Error(segment.problem);
    return segment.flags.join() === "SYN" && isSameAddress(segment.to, peer) ? [segment.from.port] : [];
  });
}

function openCapture(context: TestContext, port: number): Capture {
  try {
    return Capture.open(port, 0);
  } catch (error) {
    if (!(error instanceof SocketError) || error.code !== "EPERM") throw error;
    return context.skip("no packets here: AF_PACKET needs CAP_NET_RAW");
  }
}

/** A generator of local ports for a peer, as RFC 6056 section 3.3 describes it. */
type Generator = (peer: number) => number;

const LOW = 49_152;
const HIGH = 65_535;
const SIZE = HIGH - LOW + 1;

const GENERATORS: Record<string, (random: () => number) => Generator> = {
  "simple-random": (random) => () => LOW + Math.floor(random() * SIZE),
  sequential: (random) => {
    let next = Math.floor(random() * SIZE);
    return () => LOW + (next++ % SIZE);
  },
  "hash-based": (random) => {
    const offsets = [random(), random(), random()].map((chance) => Math.floor(chance * SIZE));
    let next = Math.floor(random() * SIZE);
    return (peer) => LOW + ((offsets[peer]! + next++) % SIZE);
  },
  "double-hash": (random) => {
    const next = [random(), random(), random()].map((chance) => Math.floor(chance * SIZE));
    return (peer) => LOW + (next[peer]!++ % SIZE);
  },
  "random-increments": (random) => {
    let next = Math.floor(random() * SIZE);
    return () => {
      next += 1 + Math.floor(random() * 500);
      return LOW + (next % SIZE);
    };
  },
};

function observe(generate: Generator, count = COUNT): Observation {
  const peers = [0, 1, 2].map((index) => ({ family: 4, host: "127.0.0.1", port: index + 1 }) as const);
  const ports = Uint16Array.from({ length: count }, () => generate(0));
  const weave = peers.map(() => new Uint16Array(64));
  for (let round = 0; round < 64; round++) {
    for (const index of peers.keys()) weave[index]![round] = generate(index);
  }
  return { method: "connect", peers, ports, atMs: new Float64Array(count), weave };
}

describe("made-up sequences", () => {
  test.each(Object.keys(GENERATORS))("%s is named so, and never as a kernel", (name) => {
    for (let seed = 1; seed <= RUNS; seed++) {
      const { verdict } = fingerprint(observe(GENERATORS[name]!(seededRandom(seed))));
      expect(verdict).toMatchObject({ name, kernels: null });
    }
  });

  test("a sequence by one is not told from its neighbours without attempts to other peers", () => {
    const observation = { ...observe(GENERATORS.sequential!(seededRandom(1))), weave: [] };
    expect(fingerprint(observation).verdict).toMatchObject({ name: "unknown" });
    expect(fingerprint(observation).verdict.reason).toContain("cannot be told apart");
  });

  test.each([
    300,
    COUNT,
    20_000,
  ])("a kernel's own ports, shuffled, have no name: %i attempts", async (count) => {
    const observation = await samplePorts({ peer: deadPeer(), count });
    for (let seed = 1; seed <= 5; seed++) {
      const shuffled = { ...observation, ports: shuffle(observation.ports, seededRandom(seed)) };
      expect(fingerprint(shuffled).verdict.name).toBe("unknown");
    }
  });

  test("steps of the right sizes in wrong shares have no name", () => {
    const random = seededRandom(7);
    const next = [0, 0, 0].map(() => Math.floor(random() * 14_000) * 2);
    const { verdict } = fingerprint(
      observe((peer) => {
        next[peer]! += 2 * (1 + Math.floor(8 * random() ** 1.3));
        return 32_768 + (next[peer]! % 28_232);
      }),
    );
    expect(verdict.name).toBe("unknown");
    expect(verdict.reason).toContain("not as often");
  });

  test("the older kernels' walks are told apart", () => {
    const random = seededRandom(3);
    const walk = (step: () => number, isShared: boolean) => {
      const next = [0, 0, 0].map(() => Math.floor(random() * 14_000) * 2);
      const offsets = [...next];
      return observe((peer) => {
        next[isShared ? 0 : peer]! += step();
        return 32_768 + ((isShared ? next[0]! + offsets[peer]! : next[peer]!) % 28_232);
      });
    };
    const older = fingerprint(walk(() => 2, true));
    const newer = fingerprint(walk(() => (random() < 1 / 16 ? 4 : 2), false));
    expect([older.verdict.name, newer.verdict.name]).toEqual(["linux-4.6", "linux-5.12"]);
    expect([older.dependence.otherTraffic, newer.dependence.otherTraffic]).toEqual([true, false]);
  });

  test("a walk that starts anew every 10 s shows its period", () => {
    const random = seededRandom(4);
    const everyMs = 10;
    let next = 0;
    const ports = Uint16Array.from({ length: 40_000 }, (_, index) => {
      next =
        index % 10_000 === 0 ? Math.floor(random() * 14_116) * 2 : next + 2 * (1 + Math.floor(random() * 8));
      return 32_768 + (next % 28_232);
    });
    const atMs = Float64Array.from(ports, (_, index) => index * (everyMs / 10));
    const peers = [{ family: 4, host: "127.0.0.1", port: 1 }] as const;
    const print = fingerprint({ method: "connect", peers, ports, atMs, weave: [] });
    expect(print.jumps).toEqual({ count: 3, everyMs: 10_000 });
    expect(print.entropy.bits).toBeCloseTo(3, 1);
    expect(print.verdict.name).toBe("linux-5.18");
  });
});

describe("selfconnect ports", () => {
  test("prints an object of its schema, and the ports into a file", async () => {
    const file = `${process.env.TMPDIR ?? "/tmp"}/selfconnect-ports-${process.pid}`;
    const peer = formatAddress(deadPeer());
    const { status, stdout, stderr } = await cli(["ports", "--peer", peer, "--json", "--ports", file]);
    expect([status, stderr]).toEqual([0, ""]);
    const validate = new Ajv2020({ allowUnionTypes: true }).compile(
      JSON.parse(readFileSync(new URL("../../docs/schema/ports-1.json", import.meta.url), "utf8")),
    );
    const report = JSON.parse(stdout);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    const ports = readFileSync(file, "utf8").trim().split("\n").map(Number);
    expect(ports).toHaveLength(report.attempts);
    expect([Math.min(...ports), Math.max(...ports)]).toEqual([report.low, report.high]);
  });

  test("--html writes one page that reads without a script and asks nothing of any network", async () => {
    const file = `${process.env.TMPDIR ?? "/tmp"}/selfconnect-ports-${process.pid}.html`;
    const peer = formatAddress(deadPeer());
    const { stdout } = await cli(["ports", "--peer", peer, "--json", "--html", file]);
    const { verdict, low, high } = JSON.parse(stdout);
    const page = readFileSync(file, "utf8");
    rmSync(file);
    expect(page).not.toMatch(/\b(https?|wss?|ftp):|url\(|@import|(src|href)="(?!data:,")/);
    const still = page.replace(/<script>[\s\S]*?<\/script>/, "");
    for (const text of [verdict.name, verdict.family, String(low), String(high), peer])
      expect(still).toContain(text);
    expect(still.match(/<svg class="plot"/g)).toHaveLength(2);
    expect(still.match(/<circle /g)).toHaveLength(6000);
    expect(still.match(/<rect class="bar"/g)!.length).toBeGreaterThan(1);
  });

  test("the page escapes whatever it is given", () => {
    const evil = `"><script>alert(1)</script>`;
    const observation = {
      ...observe(() => 40_000, 300),
      peers: [{ family: 4, host: evil, port: 1 }],
      method: evil,
    } as unknown as Observation;
    const print = fingerprint(observation);
    const verdict = { ...print.verdict, name: evil as AlgorithmName, reason: evil };
    const page = portsHtml(observation, {
      ...print,
      verdict,
      dependence: { ...print.dependence, whyNoNamespace: evil },
    });
    expect(page.match(/<script>/g)).toHaveLength(1);
    expect(page.match(/&quot;&gt;&lt;script&gt;alert/g)!.length).toBeGreaterThan(5);
  });

  test("--listen opens a listener of its own, and the name is the same", async (context) => {
    needsNewestWalk(context);
    const peer = formatAddress(deadPeer());
    const { status, stdout, stderr } = await cli(["ports", "--peer", peer, "--listen", "--json"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ attempts: 20_000, verdict: { name: "linux-5.18" } });
  });

  test("--listen really listens: two cannot at one address", async () => {
    const { status, stderr } = await withListener(
      4,
      () => {},
      (peer) => cli(["ports", "--peer", formatAddress(peer), "--listen"]),
    );
    expect(status).toBe(1);
    expect(stderr).toContain("EADDRINUSE");
  });

  test("tells in words, without colour, and names the runner-up", async (context) => {
    needsNewestWalk(context);
    const { status, stdout } = await cli(["ports", "--peer", formatAddress(deadPeer())]);
    expect(status).toBe(0);
    expect(stdout).toContain("linux-5.18: double-hash (algorithm 4) with random increments (5)");
    expect(stdout).toContain("the runner-up");
    expect(stdout).not.toContain("\u001b");
  });

  test("exits 1 and says why when it cannot tell, 2 on misuse, 130 with what it has on Ctrl-C", async () => {
    const peer = formatAddress(deadPeer());
    const few = await cli(["ports", "--peer", peer, "--count", "100"]);
    expect(few.status).toBe(1);
    expect(few.stdout).toContain("unknown: 100 attempts are too few");
    expect((await cli(["ports", "--peer", "192.0.2.1:80"])).status).toBe(2);
    expect((await cli(["ports", "--method", "guess"])).status).toBe(2);
    const stopped = await cli(
      ["ports", "--peer", peer, "--count", "90000000", "--json"],
      interruptAfter(1500),
    );
    expect(stopped.status).toBe(130);
    expect(JSON.parse(stopped.stdout).attempts).toBeGreaterThan(0);
  });
});

function shuffle(ports: Uint16Array, random: () => number): Uint16Array {
  const shuffled = ports.slice();
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
