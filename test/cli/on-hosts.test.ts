/** --on: which options of a command are for one host alone. test/lab/remote.wide.ts runs the commands on several. */
import type { Command } from "commander";
import { expect, it } from "vitest";
import { auditCommand } from "../../lib/cli/audit.ts";
import { benchCommand } from "../../lib/cli/bench.ts";
import { remoteOptionsOf } from "../../lib/cli/on-hosts.ts";
import { portsCommand } from "../../lib/cli/ports.ts";
import { whoCommand } from "../../lib/cli/who.ts";

function parse(command: Command, words: readonly string[]): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .parse([...words], { from: "user" });
}

it.for([
  ["audit --watch", auditCommand, "--watch", "1s"],
  ["audit --duration", auditCommand, "--duration", "1s"],
  ["audit --openmetrics", auditCommand, "--openmetrics"],
  ["ports --read", portsCommand, "--read", "file"],
  ["ports --ports", portsCommand, "--ports", "file"],
  ["ports --html", portsCommand, "--html", "file"],
  ["bench --driver", benchCommand, "--driver", "mine=./mine"],
  ["bench --expect", benchCommand, "--expect", "file"],
  ["bench --markdown", benchCommand, "--markdown", "file"],
  ["bench --html", benchCommand, "--html", "file"],
  ["bench --csv", benchCommand, "--csv", "file"],
] as const)("%s is refused with --on", ([, make, ...words]) => {
  expect(() => parse(make(), ["--on", "ssh:db1", ...words])).toThrow(
    /--on <hosts>' cannot be used with option/,
  );
});

it("a name that is no host is refused before anything runs", () => {
  expect(() => parse(whoCommand(), ["1", "--on", "host,ssh:-v"])).toThrow(/"ssh:-v" is not a host/);
  expect(() => parse(whoCommand(), ["1", "--on", ","])).toThrow(/Use host, ssh:host/);
});

it("an option for other hosts is refused where none is named", () => {
  expect(() => remoteOptionsOf({ sshConfig: "file" }, ["host"])).toThrow(/^--ssh-config is for other hosts/);
  expect(() => remoteOptionsOf({ remoteNode: "node" })).toThrow(/^--remote-node is for other hosts/);
  expect(remoteOptionsOf({ remoteNode: "node" }, ["host", "ssh:db1"])).toEqual({ remoteNode: "node" });
  expect(remoteOptionsOf({}, ["host"])).toEqual({});
});
