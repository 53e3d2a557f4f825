/** What doctor says about this host, about one without the addon, and about a process with few files. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { diagnose } from "../../lib/audit/doctor.ts";
import { loadNative, replaceNative } from "../../lib/socket/native.ts";
import { supported } from "../../lib/socket/supported.ts";
import { cli, command, MAIN } from "../support/harness.ts";

const namesOf = (checks: readonly { readonly name: string }[]) => checks.map(({ name }) => name);

describe("diagnose()", () => {
  test("names the addon's file, and says what the kernel says", async () => {
    const { checks, commands, verdict } = await diagnose([{ name: "host", missing: null }]);
    const check = (name: string) => checks.find((one) => one.name === name)!;
    expect(check("addon").found).toMatch(/\.node$/);
    expect(check("IP_LOCAL_PORT_RANGE").state).toBe(supported("localPortRange") ? "yes" : "no");
    const root = execFileSync("id", ["-u"], { encoding: "utf8" }).trim() === "0";
    if (root) expect(check("CAP_NET_BIND_SERVICE").state).toBe("yes");
    const states = checks.map(({ state }) => state);
    expect(verdict === "complete").toBe(states.every((state) => state === "yes"));
    expect(verdict === "lacks").toBe(states.includes("no"));
    // A lack has a cost; what is there has none.
    for (const { name, state, cost } of checks)
      expect([name, cost === null]).toEqual([name, state === "yes"]);
    expect(namesOf(checks)).toEqual([...new Set(namesOf(checks))]);
    for (const name of commands.flatMap(({ ways }) => ways.flat())) expect(namesOf(checks)).toContain(name);
  });

  test("without the addon what it would ask is unknown, and the commands that need it lack it", async () => {
    loadNative();
    const undo = replaceNative(null);
    try {
      const { checks, commands, verdict } = await diagnose();
      expect(checks[0]).toMatchObject({ name: "addon", state: "no", fix: expect.any(String) });
      expect(checks.find(({ name }) => name === "IP_LOCAL_PORT_RANGE")?.state).toBe("unknown");
      expect(commands.find((one) => one.command === "dial")?.state).toBe("no");
      expect(commands.find((one) => one.command === "reserve")?.state).not.toBe("unknown");
      expect(verdict).toBe("lacks");
    } finally {
      undo();
    }
  });
});

test("doctor --json conforms to its schema, and exits with 3 for a process with few files", async () => {
  const line = `ulimit -n 200; exec ${process.execPath} ${MAIN} doctor --json`;
  const { status, stdout, stderr } = await command("sh", ["-c", line]);
  expect(stderr).toBe("");
  expect(status).toBe(3);
  const found = JSON.parse(stdout);
  const schema = JSON.parse(readFileSync("docs/schema/doctor-1.json", "utf8"));
  const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(schema);
  validate(found);
  expect(validate.errors).toBeNull();
  const files = found.checks.find(({ name }: { name: string }) => name === "open files");
  expect(files).toMatchObject({ state: "no", found: "200, fewer than 1024", cost: expect.any(String) });
  // Every command of the list is either judged, or needs nothing of the host.
  const { stdout: help } = await cli(["--help"]);
  const commands = [...help.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map((match) => match[1]!);
  const judged = found.commands.map((one: { command: string }) => one.command.split(" ")[0]);
  const withoutNeeds = ["report", "doctor", "help", "completion"];
  expect(commands.filter((name) => !judged.includes(name) && !withoutNeeds.includes(name))).toEqual([]);
});
