/** One generated test for each row of the option table, over IPv4 and IPv6: a value that was set reads back. */
import { readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { portFacts } from "../../lib/kernel/index.ts";
import type { SocketError } from "../../lib/socket/errors.ts";
import type { OptionRow } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { OptionName } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { optionTable, supported } from "../../lib/socket/supported.ts";
import { FAMILIES } from "../support/harness.ts";

/** Converts the row's sample to the option's value in lib/socket/options.ts. */
function toValue(row: OptionRow, raw: bigint | string, before: unknown): unknown {
  const { low, high } = portFacts().ephemeralRange!;
  switch (row.kind) {
    case "flag":
      return !before;
    case "unsigned64":
    case "text":
      return raw;
    case "range":
      return { low: low + 10, high: high - 10 };
    default:
      return Number(raw);
  }
}

describe.each(optionTable().filter((row) => !row.readOnly))("$name ($constant)", (row) => {
  const name = row.name as OptionName;
  for (const family of FAMILIES) {
    it(`IPv${family}: the default differs from the sample, which reads back after it was set`, (context) => {
      if (row.ipv6Only && family === 4) return expectUnsupportedOnIpv4(name);
      if (!supported(name))
        context.skip(`this kernel does not have ${row.constant}; Linux has it since ${row.since}`);
      using socket = TcpSocket.open(family);
      const before = socket.getsockopt(name);
      const value = toValue(row, row.sample, before);
      const readsBack = row.kind === "flag" ? value : toValue(row, row.readsBack, before);
      expect(before).not.toEqual(readsBack);
      try {
        socket.setsockopt(name, value as never);
      } catch (error) {
        if (!row.capability || (error as SocketError).code !== "EPERM") throw error;
        expect((error as Error).message).toContain(row.capability);
        return context.skip(`setting ${row.constant} needs ${row.capability}`);
      }
      expect(socket.getsockopt(name)).toEqual(readsBack);
    });
  }
});

it("TcpInformation types the fields of TCP_INFO that the addon reports, and no others", () => {
  const source = ts.createSourceFile(
    "",
    readFileSync("lib/socket/options.ts", "utf8"),
    ts.ScriptTarget.Latest,
  );
  const declared = source.statements.filter(ts.isInterfaceDeclaration);
  const members = declared.find(({ name }) => name.text === "TcpInformation")!.members;
  const typed = members.map((member) => (member.name as ts.Identifier).text);
  expect(typed).toEqual(loadNative().informationFields);
});

function expectUnsupportedOnIpv4(name: OptionName): void {
  using socket = TcpSocket.open(4);
  const code = "ERR_OPTION_UNSUPPORTED";
  expect(() => socket.getsockopt(name)).toThrow(expect.objectContaining({ code }));
}

describe.each(optionTable().filter((row) => row.readOnly))("$name ($constant), read-only", (row) => {
  const name = row.name as OptionName;
  it.each(FAMILIES)("IPv%i: reading works, and setting throws ERR_OPTION_READ_ONLY", (family) => {
    using socket = TcpSocket.open(family);
    expect(socket.getsockopt(name)).toBeDefined();
    const code = "ERR_OPTION_READ_ONLY";
    expect(() => socket.setsockopt(name, 1 as never)).toThrow(expect.objectContaining({ code }));
  });
});

describe("the value of", () => {
  it("cookie differs between sockets, and stays the same for one socket", () => {
    using one = TcpSocket.open(4);
    using other = TcpSocket.open(4);
    expect(one.getsockopt("cookie")).toBe(one.getsockopt("cookie"));
    expect(one.getsockopt("cookie")).not.toBe(other.getsockopt("cookie"));
  });

  it("listening is true after listen()", () => {
    using socket = TcpSocket.open(4);
    expect(socket.getsockopt("listening")).toBe(false);
    socket.bind("127.0.0.1:0").listen();
    expect(socket.getsockopt("listening")).toBe(true);
    expect(socket.getsockopt("information").state).toBe("LISTEN");
  });

  it("lingerSeconds is null again after it was set to null", () => {
    using socket = TcpSocket.open(4, { lingerSeconds: 0 });
    expect(socket.getsockopt("lingerSeconds")).toBe(0);
    socket.setsockopt("lingerSeconds", null);
    expect(socket.getsockopt("lingerSeconds")).toBeNull();
  });
});

it("the table has the capability that an option needs", () => {
  const marked = optionTable().find((row) => row.name === "mark")!;
  expect(marked.capability).toBe("CAP_NET_ADMIN");
});
