/** Wrong arguments: every function of every door throws an error with a code, or has a reason here why it does not. */
import { describe, expect, it } from "vitest";
import * as audit from "../lib/audit/index.ts";
import * as fleet from "../lib/fleet/index.ts";
import * as main from "../lib/index.ts";
import * as kernel from "../lib/kernel/index.ts";
import * as lab from "../lib/lab/index.ts";
import * as packets from "../lib/packets/index.ts";
import * as ports from "../lib/ports/index.ts";
import * as report from "../lib/report/index.ts";

const DOORS = { main, kernel, ports, audit, packets, lab, fleet, report };

/** Each wrong argument, new for each call: some functions change what they get. */
const WRONG: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  '"nonsense"': () => "nonsense",
  "{}": () => ({}),
  NaN: () => Number.NaN,
  "{ nonsense }": () => ({ nonsense: 1 }),
  "[null]": () => [null],
  "[undefined]": () => [undefined],
};

/** Why a function may take a wrong argument: all of them, or the ones that are named. */
const NOTHING = "takes no argument";
const ITS_DEFAULT = "its options may be left out";
const FILE_TEXT = "the text of a file: an Error names what is wrong in it";
const EXEMPT: Readonly<Record<string, { why: string; of?: readonly string[] }>> = {
  guardStatistics: { why: NOTHING },
  listenFds: { why: NOTHING },
  optionTable: { why: NOTHING },
  otherOptions: { why: NOTHING },
  socketConstants: { why: NOTHING },
  environment: { why: NOTHING },
  portFacts: { why: NOTHING },
  socketTable: { why: NOTHING },
  defaultCacheFolder: { why: NOTHING },
  listMachines: { why: NOTHING },
  connect: { why: "a text is the path of a Unix domain socket", of: ['"nonsense"'] },
  connectTls: {
    why: "node:tls reports a missing port with a code of its own, asynchronously",
    of: ["{}", "{ nonsense }"],
  },
  createServer: {
    why: "net.createServer() takes any option",
    of: ["undefined", "{}", "{ nonsense }", "[null]", "[undefined]"],
  },
  guardedEnvironment: {
    why: "an environment has any names",
    of: ["undefined", "{}", "{ nonsense }", "[null]", "[undefined]"],
  },
  connectMany: { why: "the iteration rejects with ERR_INVALID_ADDRESS", of: ["[null]", "[undefined]"] },
  streamFactory: { why: ITS_DEFAULT, of: ["undefined", "{}"] },
  audit: { why: ITS_DEFAULT, of: ["undefined", "{}"] },
  auditAllNamespaces: { why: ITS_DEFAULT, of: ["undefined", "{}"] },
  cleanCache: { why: ITS_DEFAULT, of: ["undefined", "{}"] },
  diagnose: { why: ITS_DEFAULT, of: ["undefined"] },
  findExperiments: { why: ITS_DEFAULT, of: ["undefined"] },
  findSockets: { why: "an empty filter finds every socket", of: ["{}"] },
  readPorts: { why: "a text is the name of a file", of: ['"nonsense"'] },
  readTrace: { why: "a text is the name of a file", of: ['"nonsense"'] },
  hidePassword: { why: "any text has a form without a password", of: ['"nonsense"'] },
  readExpectation: { why: FILE_TEXT },
  parseExpectation: { why: FILE_TEXT },
  parseLabResult: { why: FILE_TEXT },
};
/** The writers get what the library returned, or what was read from a file by a function that checks it. */
const UNCHECKED_DOORS = ["report"];

interface Call {
  readonly name: string;
  readonly call: (argument: unknown) => unknown;
}

function functionsOf(door: object): Call[] {
  const isClass = (value: unknown) => /^class\b/.test(Function.prototype.toString.call(value));
  return Object.entries(door)
    .filter(([, value]) => typeof value === "function" && !isClass(value))
    .map(([name, value]) => ({ name, call: value as Call["call"] }));
}

/** How a call with one argument ends: the code of its error, or a description of what else happened. */
async function endOf(call: Call["call"], argument: unknown): Promise<string> {
  try {
    const result = await call(argument);
    (result as { destroy?: () => void } | null)?.destroy?.();
    return "no error";
  } catch (error) {
    const isMisuse = error instanceof TypeError || error instanceof RangeError;
    const { code } = error as { code?: unknown };
    return isMisuse && typeof code === "string" ? code : String(error);
  }
}

describe("a wrong argument is an error with a code", () => {
  const rows = Object.entries(DOORS)
    .filter(([door]) => !UNCHECKED_DOORS.includes(door))
    .flatMap(([door, module]) => functionsOf(module).map((one) => ({ door, ...one })));

  it.each(rows)("$name() of $door", async ({ name, call }) => {
    const exempt = EXEMPT[name];
    const wrong = Object.entries(WRONG).filter(([text]) => !exempt || !(exempt.of ?? [text]).includes(text));
    const ends = await Promise.all(
      wrong.map(async ([text, make]) => [text, await endOf(call, make())] as const),
    );
    expect(ends.filter(([, end]) => !end.startsWith("ERR_"))).toEqual([]);
  });

  const situation = { ephemeralRange: { low: 32_768, high: 60_999 }, reservedPorts: [] };
  const range = situation.ephemeralRange;
  const coldStarts = (strategy: unknown, facts: unknown, count = 1) =>
    ports.planColdStarts(main.parseAddress("127.0.0.1:1"), strategy as never, facts as never, count);
  it.each<[string, string, () => unknown]>([
    ["a misspelt method", "ERR_UNKNOWN_METHOD", () => ports.supposeAlgorithm("conect" as never, "6.1")],
    ["options that are null", "ERR_INVALID_OPTIONS", () => ports.judgePicks({} as never, null as never)],
    ["options that are null", "ERR_INVALID_OPTIONS", () => new lab.KernelShelf(null as never)],
    [
      "a link that is no number",
      "ERR_INVALID_ARGUMENT",
      () => packets.decodeFrame(new Uint8Array(20), {} as never),
    ],
    ["a host that is no text", "ERR_SSH_HOST", () => lab.checkHosts([1] as never)],
    ["a host that is an object", "ERR_SSH_HOST", () => lab.checkHosts([{ startsWith: 1 }] as never)],
    ["a misspelt method", "ERR_UNKNOWN_METHOD", () => ports.portSituation("127.0.0.1:1", "conect" as never)],
    ["no release", "ERR_INVALID_ARGUMENT", () => ports.supposeAlgorithm("connect", 6.1 as never)],
    ["a misspelt algorithm", "ERR_UNKNOWN_ALGORITHM", () => ports.portAlgorithm("linux-5.81")],
    [
      "a misspelt strategy",
      "ERR_UNKNOWN_STRATEGY",
      () => ports.expectedAttempts("127.0.0.1:1", "frehs" as never, situation),
    ],
    [
      "a misspelt strategy",
      "ERR_UNKNOWN_STRATEGY",
      () => ports.whyNever("127.0.0.1:1", "x" as never, situation),
    ],
    [
      "a misspelt strategy",
      "ERR_UNKNOWN_STRATEGY",
      () => ports.situationFor("127.0.0.1:1", "frehs" as never),
    ],
    [
      "a misspelt fact",
      "ERR_UNKNOWN_OPTION",
      () => ports.expectedAttempts("127.0.0.1:1", "fresh", { ...situation, heldPort: [1] } as never),
    ],
    [
      "a misspelt fact",
      "ERR_UNKNOWN_OPTION",
      () => ports.predict({ peer: "127.0.0.1:1", facts: { ...situation, stepwidth: 1 } as never }),
    ],
    ["a misspelt parity", "ERR_UNKNOWN_PARITY", () => main.findFreePort(range, { parity: "odd" as never })],
    ["a misspelt option", "ERR_UNKNOWN_OPTION", () => main.findFreePort(range, { partiy: "low" } as never)],
    ["a port beyond 65535", "ERR_INVALID_PORT", () => main.findFreePort({ low: 65_000, high: 70_000 })],
    ["no count", "ERR_OUT_OF_RANGE", () => main.findFreePort(range, { count: Number.NaN })],
    [
      "a text that is no address",
      "ERR_INVALID_ADDRESS",
      () => main.findFreePort(range, { addresses: ["x"] }),
    ],
    ["a text that is no address", "ERR_INVALID_ADDRESS", () => main.listenRefusal("nonsense")],
    ["an index as a range", "ERR_INVALID_ARGUMENT", () => ports.findDeadPort("127.0.0.1:1", 0 as never)],
    [
      "no facts",
      "ERR_INVALID_ARGUMENT",
      () => new ports.PortWalk(ports.PORT_ALGORITHMS[0]!, {} as never, Math.random),
    ],
    ["no port", "ERR_INVALID_PORT", () => packets.Capture.open("x" as never, 0)],
    [
      "bytes as a buffer's size",
      "ERR_OUT_OF_RANGE",
      () => packets.Capture.open(9, 6, new Uint8Array(24) as never),
    ],
    [
      "bytes as a local address",
      "ERR_INVALID_ADDRESS",
      () => kernel.canSelfConnect("127.0.0.1:9", { local: new Uint8Array(24) as never }),
    ],
    ["an object as ports", "ERR_INVALID_ARGUMENT", () => audit.audit({ ports: {} as never })],
    // String() throws for an object without a prototype.
    ["an object as a family", "ERR_INVALID_FAMILY", () => main.TcpSocket.open(Object.create(null))],
    ["an object as a port", "ERR_INVALID_PORT", () => main.rangesWithout(Object.create(null), 1 as never)],
    [
      "an object as a count",
      "ERR_OUT_OF_RANGE",
      () => main.findFreePort(range, { count: Object.create(null) }),
    ],
    [
      "a symbol as a count",
      "ERR_OUT_OF_RANGE",
      () => main.dial("127.0.0.1:1", { attempts: Symbol("x") as never }),
    ],
    ["an object as a method", "ERR_UNKNOWN_METHOD", () => ports.supposeAlgorithm(Object.create(null), "6.1")],
    // Node aborted.
    ["an object as a path", "ERR_INVALID_EXPECTATION", () => lab.readExpectation(Object.create(null))],
    ["texts as samples", "ERR_INVALID_ARGUMENT", () => main.summarize(["1"] as never)],
    [
      "an object as a strategy of cold starts",
      "ERR_UNKNOWN_STRATEGY",
      () => coldStarts(Object.create(null), situation),
    ],
    ["no situation of cold starts", "ERR_INVALID_ARGUMENT", () => coldStarts("fresh", undefined)],
    ["no count of cold starts", "ERR_OUT_OF_RANGE", () => coldStarts("fresh", situation, Number.NaN)],
    [
      "a host without a port",
      "ERR_INVALID_PORT",
      () => kernel.sourceAddress({ host: "localhost:9" } as never),
    ],
    [
      "a text that is no address",
      "ERR_INVALID_ADDRESS",
      () => kernel.sourceAddress({ family: 4, host: "x", port: 9 }),
    ],
    [
      "no object of options",
      "ERR_INVALID_OPTIONS",
      () => kernel.canSelfConnect("127.0.0.1:9", null as never),
    ],
    [
      "a text as socket options",
      "ERR_INVALID_OPTIONS",
      () => kernel.sourceAddress("127.0.0.1:9", { options: "mark" as never }),
    ],
    [
      "a misspelt option of a route",
      "ERR_UNKNOWN_OPTION",
      () => kernel.exhaustion("127.0.0.1:9", { locla: "127.0.0.1" } as never),
    ],
    [
      "a number as a local address",
      "ERR_INVALID_ADDRESS",
      () => kernel.exhaustion("127.0.0.1:9", { local: 1 as never }),
    ],
    [
      "a range that is none",
      "ERR_OPTION_VALUE",
      () => kernel.exhaustion("127.0.0.1:9", { options: { localPortRange: 1 as never } }),
    ],
    ["an object as a sysctl", "ERR_INVALID_SYSCTL", () => lab.parseSysctlAxis(Object.create(null))],
  ])("%s is %s: %s", async (_, code, call) => {
    expect(await endOf(call, undefined)).toBe(code);
  });

  it("an address is text wherever it is an object", async () => {
    const port = main.findFreePort(range, { addresses: ["127.0.0.1"] });
    expect(main.listenRefusal(`127.0.0.1:${port}`)).toBeNull();
    expect(main.isSelfConnect(`127.0.0.1:${port}`, `[::ffff:127.0.0.1]:${port}`)).toBe(true);
    expect(await packets.observeLeavings("127.0.0.1:0")).toHaveLength(5);
    expect(kernel.canSelfConnect("127.0.0.1:9", { local: "127.0.0.1" })).toBe(true);
    expect(await kernel.exhaustion("127.0.0.1:9", { local: "127.0.0.1" })).toMatchObject({ isReal: false });
  });

  it("no function has a hidden parameter: each is a callback of map()", () => {
    expect(["a", "b"].map(kernel.portFacts)).toEqual([kernel.portFacts(), kernel.portFacts()]);
    expect(["127.0.0.1:1", "127.0.0.1:2"].map(kernel.localAddressTowards)).toEqual([
      { family: 4, host: "127.0.0.1", port: 0 },
      { family: 4, host: "127.0.0.1", port: 0 },
    ]);
  });

  it("no reason is given for a function that does not exist", () => {
    const names = rows.map(({ name }) => name);
    expect(Object.keys(EXEMPT).filter((name) => !names.includes(name) && !(name in report))).toEqual([]);
  });
});
