/** The judgement of one port and the cost of many, by made-up hosts; and the cure. */
import { describe, expect, test, vi } from "vitest";
import { DestinationCounter, reuseCure } from "../../lib/audit/destinations.ts";
import { reserveCure } from "../../lib/audit/reserve-cure.ts";
import type { HeldAddress } from "../../lib/audit/risk.ts";
import { RiskAssessor } from "../../lib/audit/risk.ts";
import { namesWalk } from "../../lib/kernel/release.ts";
import type { TableSocket } from "../../lib/kernel/tables.ts";
import { portAlgorithm, supposeAlgorithm } from "../../lib/ports/index.ts";
import { waitFor } from "../../lib/ports/model.ts";
import { auditText } from "../../lib/report/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import { parseAddress } from "../../lib/socket/address.ts";
import { CLEAN_AUDIT } from "../support/audits.ts";
import { LOOPBACK } from "../support/harness.ts";

vi.mock("../../lib/ports/model.ts", { spy: true });

describe("a port", () => {
  const facts = {
    ephemeralRange: { low: 40_000, high: 40_005 },
    reservedPorts: [{ low: 40_000, high: 40_000 }],
  };
  const at = (port: number, host: string = LOOPBACK[4]) => ({ family: 4, host, port }) as const;
  const holder = (port: number, host?: string) => ({ local: at(port, host), isV6Only: false });
  const assess = (
    local: Address,
    held: number[],
    others: HeldAddress[] = [],
    findLocal = (peer: Address) => peer,
    connected: number[] = [],
    stepWidth = 0,
  ) =>
    new RiskAssessor({
      facts,
      algorithm: portAlgorithm("linux-5.18"),
      isAlgorithmKnown: true,
      held: held.map((port) => holder(port)),
      connectedPorts: new Set(connected),
      stepWidth,
      findLocal,
    }).assess({ local, isV6Only: false }, others);

  test("of the other parity is at risk from all clients when none of the first parity is left", () => {
    expect(assess(at(40_003), [40_002])).toMatchObject({ risk: "bind-first" });
    expect(assess(at(40_003), [40_002, 40_004])).toMatchObject({ risk: "at-risk", never: null });
  });

  test("on another address of loopback is reached by clients that bind to it", () => {
    const risk = assess(at(40_002, "127.0.0.2"), [], [], () => at(0));
    expect(risk).toMatchObject({ risk: "bind-first", never: { reason: "address" } });
  });

  test("that a socket on another address holds is kept from connect(2), and not from bind(2)", () => {
    const elsewhere = [holder(40_003, "127.0.0.3")];
    expect(assess(at(40_003), [], elsewhere)).toMatchObject({ risk: "bind-first" });
    expect(assess(at(40_003), [], [holder(40_003)])).toMatchObject({ risk: "held" });
    expect(assess(at(40_002), [], [holder(40_002, "127.0.0.3")])).toMatchObject({ risk: "held" });
  });

  test("that only a search of the lower half finds is reached by clients that bind with SO_REUSEADDR", () => {
    const risk = (connectedPorts: ReadonlySet<number>) =>
      new RiskAssessor({
        facts: { ephemeralRange: { low: 40_000, high: 40_004 }, reservedPorts: [] },
        algorithm: portAlgorithm("linux-5.18"),
        isAlgorithmKnown: true,
        held: [],
        connectedPorts,
        stepWidth: 0,
        findLocal: (peer) => peer,
      }).assess(holder(40_000), [holder(40_000, "127.0.0.3")]);
    expect(risk(new Set())).toMatchObject({ risk: "held" });
    expect(risk(new Set([40_001]))).toMatchObject({ risk: "bind-first", meanMs: null });
  });

  test("that others hold on some of the server's addresses is reached by clients that bind to another one", () => {
    const any = at(40_003, "0.0.0.0");
    expect(assess(any, [], [holder(40_003)])).toMatchObject({ risk: "bind-first" });
    expect(assess(any, [], [holder(40_003, "0.0.0.0")])).toMatchObject({ risk: "held" });
    const dual = { family: 6, host: "::", port: 40_003 } as const;
    const sixOnly = { local: dual, isV6Only: true };
    expect(assess(dual, [], [sixOnly])).toMatchObject({ risk: "bind-first" });
    expect(assess(dual, [], [sixOnly, holder(40_003, "0.0.0.0")])).toMatchObject({ risk: "held" });
  });

  test("that others hold on one address is not reached by binding to another one where bind(2) picks others", () => {
    const any = at(40_002, "0.0.0.0");
    // On 127.0.0.1 every port of the parity that bind(2) picks first is held, but so is the server's.
    expect(assess(any, [40_001, 40_003, 40_005], [holder(40_002)])).toMatchObject({ risk: "held" });
    const held = [40_001, 40_003, 40_005].map((port) => holder(port, "0.0.0.0"));
    const everywhere = new RiskAssessor({
      facts,
      algorithm: portAlgorithm("linux-5.18"),
      isAlgorithmKnown: true,
      held,
      connectedPorts: new Set(),
      stepWidth: 0,
      findLocal: (peer) => peer,
    });
    const risk = everywhere.assess({ local: any, isV6Only: false }, [holder(40_002)]);
    expect(risk).toMatchObject({ risk: "bind-first" });
  });

  test("of the other parity is at risk where connections may hold the first, at a time that is not known", () => {
    const risk = (connected: number[]) => assess(at(40_003), [40_002], [], undefined, connected);
    expect(risk([40_004])).toMatchObject({ risk: "at-risk", never: null, meanMs: null });
    expect(risk([40_005])).toMatchObject({ risk: "bind-first" });
  });

  test("at the end of an odd-sized range is reached by random strides over unusable ports", () => {
    const risk = (stepWidth: number) =>
      new RiskAssessor({
        facts: { ephemeralRange: { low: 40_000, high: 40_008 }, reservedPorts: [] },
        algorithm: portAlgorithm("linux-5.18"),
        isAlgorithmKnown: true,
        held: [holder(40_002)],
        connectedPorts: new Set(),
        stepWidth,
        findLocal: (peer) => peer,
      }).assess(holder(40_008), []);
    expect(risk(0)).toMatchObject({ risk: "safe", never: { reason: "last-port" } });
    expect(risk(8)).toMatchObject({ risk: "at-risk", never: null });
    expect(risk(8).meanMs!.everySecond).toBeGreaterThan(0);
  });

  test.each([
    "4.19.0-27-amd64",
    "5.4.0-150-generic",
    "5.10.0-32-amd64",
    "5.15.0-91-generic",
    "5.15.41",
    "5.10.125",
  ])("on Linux %s takes as long as on the latest", (release) => {
    expect(supposeAlgorithm("connect", release).name).toBe("linux-5.18");
    expect(namesWalk(release)).toBe(true);
  });

  test("has no time where the release of the kernel does not name the algorithm, and the text says so", () => {
    const guessed = new RiskAssessor({
      facts,
      algorithm: portAlgorithm("linux-4.6"),
      isAlgorithmKnown: false,
      held: [],
      connectedPorts: new Set(),
      stepWidth: 0,
      findLocal: (peer) => peer,
    });
    const listener = {
      ...guessed.assess(holder(40_002), []),
      local: at(40_002),
      is: "listens",
      owner: null,
      heldBy: [],
    };
    expect(listener).toMatchObject({ risk: "at-risk", meanMs: null });
    expect(guessed.assess(holder(40_003), []).meanMs).not.toBeNull();
    const text = auditText({
      ...CLEAN_AUDIT,
      ...facts,
      algorithm: "unknown",
      verdict: "found",
      listeners: [listener],
    });
    expect(text).toContain(
      "at risk: without the listener, one client is joined to itself after an unknown time",
    );
    expect(text).toContain("selfconnect predict");
  });

  test("of 2,000 shares the computations of the model, and stays within a few percent", () => {
    const range = { low: 32_768, high: 60_999 };
    const ports = Array.from({ length: 2000 }, (_, index) => range.low + 14 * index);
    const algorithm = portAlgorithm("linux-5.18");
    vi.mocked(waitFor).mockClear();
    const assessor = new RiskAssessor({
      facts: { ephemeralRange: range, reservedPorts: [] },
      algorithm,
      isAlgorithmKnown: true,
      held: ports.map((port) => holder(port)),
      connectedPorts: new Set(),
      stepWidth: 0,
      findLocal: (peer) => peer,
    });
    const risks = ports.map((port) => assessor.assess(holder(port), []));
    expect(vi.mocked(waitFor).mock.calls.length).toBeLessThan(40);
    const port = ports[1500]!;
    const unusable = ports.filter((one) => one !== port).map((one) => ({ low: one, high: one }));
    const exact = waitFor(algorithm, { ephemeralRange: range, unusable }, port, 1).mean * 1000;
    expect(risks[1500]!.meanMs!.everySecond / exact).toBeCloseTo(1, 1);
  });
});

describe("reserving", () => {
  const range = { low: 40_000, high: 40_009 };

  test("adds to what is reserved already", () => {
    const cure = reserveCure([40_004, 40_002], {
      ephemeralRange: range,
      reservedPorts: [{ low: 40_003, high: 40_003 }],
    });
    expect(cure).toMatchObject({ ports: [40_002, 40_004], value: "40002-40004" });
  });

  test("takes the last port of an odd number too, when the port two below makes the kernel reach it", () => {
    const odd = { ephemeralRange: { low: 40_000, high: 40_008 }, reservedPorts: [] };
    expect(reserveCure([40_006], odd)).toMatchObject({ ports: [40_006, 40_008] });
    expect(reserveCure([40_006], { ephemeralRange: range, reservedPorts: [] })).toMatchObject({
      ports: [40_006],
    });
  });

  test("is no cure where it leaves the kernel only ports of the other parity", () => {
    const facts = {
      ephemeralRange: { low: 40_000, high: 40_003 },
      reservedPorts: [{ low: 40_000, high: 40_000 }],
    };
    expect(reserveCure([40_002], facts)).toBeNull();
  });
});

describe("ports in use towards a destination", () => {
  const facts = { ephemeralRange: { low: 40_000, high: 40_009 }, reservedPorts: [] };
  const LOOPBACK_ONLY = { allows: "loopback", setting: 2, hasTimestamps: true, delayMs: 1000 } as const;
  const REST = { state: "TIME-WAIT", timerMs: 50_000 } as const;
  const YOUNG = { state: "TIME-WAIT", timerMs: 59_500 } as const;
  const LIVE = { state: "ESTABLISHED", timerMs: 0 } as const;

  function socket(
    host: string,
    peer: string,
    index: number,
    kind: Pick<TableSocket, "state" | "timerMs">,
  ): TableSocket {
    const row = { local: parseAddress(`${host}:${40_000 + index}`), peer: parseAddress(peer) };
    const none = { inode: 0, isV6Only: false, isMultipath: false, isJoined: false };
    const at = { localPort: row.local.port, peerPort: row.peer.port, path: `${host} ${peer}` };
    return { ...kind, ...none, ...at, keep: () => () => row as never };
  }

  function list(sockets: readonly TableSocket[], reuse: Parameters<typeof reuseCure>[1] = LOOPBACK_ONLY) {
    const counter = new DestinationCounter(facts.ephemeralRange, reuse);
    for (const one of sockets) counter.add(one);
    return counter.list(facts, new Set());
  }

  test("TIME-WAIT that connect(2) takes again is not in use: on loopback after a second, elsewhere as it is set", () => {
    const sockets = (host: string, peer: string) => [
      socket(host, peer, 0, LIVE),
      socket(host, peer, 1, YOUNG),
      socket(host, peer, 2, REST),
    ];
    expect(list(sockets("127.0.0.1", "127.0.0.1:80"))).toMatchObject([
      { portsInUse: 2, timeWait: 1, reusable: 1, ports: 10 },
    ]);
    const abroad = sockets("10.0.0.1", "10.0.0.2:80");
    expect(list(abroad)).toMatchObject([{ portsInUse: 3, timeWait: 2, reusable: 0 }]);
    expect(list(abroad, { ...LOOPBACK_ONLY, allows: "all" })).toMatchObject([{ portsInUse: 2, reusable: 1 }]);
    expect(list(abroad, { ...LOOPBACK_ONLY, allows: "none" })).toMatchObject([{ portsInUse: 3 }]);
  });

  test("sockets of both families count together, before small shares are left out; other local addresses do not", () => {
    const four = [0].map((index) => socket("10.0.0.1", "10.0.0.2:80", index, LIVE));
    const six = [1].map((index) => socket("[::ffff:10.0.0.1]", "[::ffff:10.0.0.2]:80", index, LIVE));
    const wide = { ...facts, ephemeralRange: { low: 40_000, high: 40_019 } };
    const counter = new DestinationCounter(wide.ephemeralRange, LOOPBACK_ONLY);
    for (const one of [...four, ...six, socket("10.0.0.3", "10.0.0.2:80", 2, LIVE)]) counter.add(one);
    expect(counter.list(wide, new Set())).toMatchObject([
      { local: { host: "10.0.0.1" }, peer: { host: "10.0.0.2" }, portsInUse: 2, ports: 20 },
    ]);
  });

  test("the cure has each form, sets what is missing only, and is not given where it is set or does not help", () => {
    const resting = Array.from({ length: 6 }, (_, index) => socket("10.0.0.1", "10.0.0.2:80", index, REST));
    const full = list(resting);
    expect(reuseCure(full, LOOPBACK_ONLY)).toEqual({
      now: "sysctl -w net.ipv4.tcp_tw_reuse=1",
      lasting: "echo 'net.ipv4.tcp_tw_reuse = 1' > /etc/sysctl.d/zz-selfconnect-time-wait.conf",
      container: "--sysctl net.ipv4.tcp_tw_reuse=1",
      kubernetes: 'securityContext: { sysctls: [{ name: net.ipv4.tcp_tw_reuse, value: "1" }] }',
    });
    const without = { allows: "none", setting: 1, hasTimestamps: false, delayMs: 1000 } as const;
    expect(reuseCure(full, without)?.now).toBe("sysctl -w net.ipv4.tcp_timestamps=1");
    expect(reuseCure(full, { ...LOOPBACK_ONLY, allows: "all", setting: 1 })).toBeNull();
    const living = Array.from({ length: 6 }, (_, index) => socket("10.0.0.1", "10.0.0.2:80", index, LIVE));
    expect(reuseCure(list(living), LOOPBACK_ONLY)).toBeNull();
  });

  test("the cures of reserved ports and of TIME-WAIT are written to files of their own", () => {
    const reuse = reuseCure(
      list(Array.from({ length: 6 }, (_, index) => socket("10.0.0.1", "10.0.0.2:80", index, REST))),
      LOOPBACK_ONLY,
    )!;
    const reserve = reserveCure([40_002], facts)!;
    const fileOf = (text: string | null) => text!.split(" > ")[1];
    expect(fileOf(reuse.lasting)).not.toBe(fileOf(reserve.lasting));
  });
});
