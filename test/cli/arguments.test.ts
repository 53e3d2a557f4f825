/** The arguments that several commands share: every command that takes an address takes the same forms. */
import dns from "node:dns/promises";
import { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parsePeer, parsePort, parseTarget, resolveNames } from "../../lib/cli/arguments.ts";
import { auditCommand } from "../../lib/cli/audit.ts";
import { benchCommand } from "../../lib/cli/bench.ts";
import { freeCommand } from "../../lib/cli/free.ts";
import { labCommand } from "../../lib/cli/lab.ts";
import { portsCommand } from "../../lib/cli/ports.ts";
import { predictCommand } from "../../lib/cli/predict.ts";
import { reconnectCommand } from "../../lib/cli/reconnect.ts";
import { runCommand } from "../../lib/cli/run.ts";
import { traceCommand } from "../../lib/cli/trace.ts";
import { whoCommand } from "../../lib/cli/who.ts";
import { cli } from "../support/harness.ts";

afterEach(() => void vi.restoreAllMocks());

type Parse = (text: string, previous: unknown) => unknown;

/** The parser of a command's argument or option. */
function parserOf(command: Command, option?: string): Parse {
  const one = option
    ? command.options.find(({ long }) => long === option)
    : (command.registeredArguments[0] as { parseArg?: Parse });
  return one!.parseArg as Parse;
}

const LOOPBACK_80 = { family: 4, host: "127.0.0.1", port: 80 };

describe("the peer of", () => {
  const parsers: Readonly<Record<string, Parse>> = {
    reconnect: parserOf(reconnectCommand()),
    predict: parserOf(predictCommand()),
    trace: parserOf(traceCommand()),
    ports: parserOf(portsCommand(), "--peer"),
  };
  it.each(Object.entries(parsers))("%s takes every form", (_name, parse) => {
    for (const text of [
      "127.0.0.1:80",
      "localhost:80",
      "LOCALHOST:80",
      ":80",
      "80",
      "http://127.0.0.1",
      "x://:p@localhost:80",
    ])
      expect(parse(text, undefined), text).toEqual(LOOPBACK_80);
    expect(parse("[fe80::1%lo]:80", undefined)).toMatchObject({ host: "fe80::1", scope: "lo" });
    for (const text of ["127.1:80", "::1:80", "localhost", "a b:80"])
      expect(() => parse(text, undefined), text).toThrow(`"${text}"`);
  });
});

describe("the port of", () => {
  const parsers: Readonly<Record<string, Parse>> = {
    who: parserOf(whoCommand()),
    free: parserOf(freeCommand()),
    run: (text, previous) => (parserOf(runCommand(), "--when-free")(text, previous) as unknown[])[0],
  };
  it.each(Object.entries(parsers))("%s is a port or an address", (_name, parse) => {
    for (const text of ["80", ":80"]) expect(parse(text, undefined)).toBe(80);
    for (const text of ["127.0.0.1:80", "localhost:80", "http://localhost"])
      expect(parse(text, undefined), text).toEqual(LOOPBACK_80);
    for (const text of ["127.1:80", "0", ":0", "localhost:0"]) expect(() => parse(text, undefined)).toThrow();
  });

  it("reserve and audit may have a colon", () => {
    expect([parsePort(":80"), parsePort("80")]).toEqual([80, 80]);
    expect(() => parsePort("::80")).toThrow();
  });
});

it.each([
  ["lab --machine", labCommand(), "--machine", "host", "uml"],
  ["lab --kernels", labCommand(), "--kernels", "6.1", "newest"],
  ["lab --experiments", labCommand(), "--experiments", "steps", "order"],
  ["bench --only", benchCommand(), "--only", "attempts", "time"],
  ["run --when-free", runCommand(), "--when-free", 80, 443],
  ["audit --port", auditCommand(), "--port", 80, 443],
] as const)("%s takes several values in one argument, and is not replaced when it is given again", (...asked) => {
  const [, command, option, one, other] = asked;
  const parse = parserOf(command, option);
  expect(parse(`${one},${other}`, undefined)).toEqual([one, other]);
  expect(parse(String(other), parse(String(one), undefined))).toEqual([one, other]);
});

describe("a name", () => {
  it("is looked up before the command runs, in arguments and in options", async () => {
    const lookup = vi.spyOn(dns, "lookup").mockResolvedValue({ address: "::1", family: 6 } as never);
    const seen: unknown[] = [];
    const command = new Command()
      .argument("<peer>", "", parsePeer)
      .option("--other <peer>", "", parseTarget)
      .hook("preAction", (_program, acting) => resolveNames(acting))
      .action((peer, { other }) => void seen.push(peer, other));
    await command.parseAsync(["db:80", "--other", "cache.test:81"], { from: "user" });
    expect(seen).toEqual([
      { family: 6, host: "::1", port: 80 },
      { family: 6, host: "::1", port: 81 },
    ]);
    expect(lookup.mock.calls.map(([name]) => name)).toEqual(["db", "cache.test"]);
  });

  it("that is unknown is the resolver's error", async () => {
    vi.spyOn(dns, "lookup").mockRejectedValue(Object.assign(new Error("unknown"), { code: "ENOTFOUND" }));
    const command = new Command()
      .argument("<peer>", "", parsePeer)
      .hook("preAction", (_program, acting) => resolveNames(acting))
      .action(() => expect.unreachable());
    await expect(command.parseAsync(["db:80"], { from: "user" })).rejects.toThrow("unknown");
  });
});

it.each([
  ["who", "\u001b[31mx\n0 at risk"],
  ["\u001b[2J"],
  ["audit", "--port", "\u001b[31m"],
])("%j is reported without a byte that a terminal obeys", async (...args) => {
  const { status, stderr } = await cli(args);
  expect(status).toBe(2);
  expect(stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
});

it("audit --port takes several, in one argument or several times, and no empty one", async () => {
  const { stdout } = await cli(["audit", "--port", "1,2", "--port", "3", "--json"]);
  expect(JSON.parse(stdout).ports.map(({ port }: { port: number }) => port)).toEqual([1, 2, 3]);
  for (const empty of ["", ","]) expect((await cli(["audit", "--port", empty])).status).toBe(2);
});
