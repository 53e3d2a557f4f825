/** The doors of package.json: every name that they export has a doc comment, and docs/api is made from these. */
import { readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { optionTable } from "../lib/socket/supported.ts";
import { apiIndex, apiPage, findUndocumented, pageOf } from "./support/api-pages.ts";

/** "./dist/kernel/index.js" is built from lib/kernel/index.ts; register exports nothing. */
const DOORS = Object.values<{ types?: string }>(JSON.parse(readFileSync("package.json", "utf8")).exports)
  .flatMap(({ types }) => types ?? [])
  .map((types) => types.replace("./dist/", "lib/").replace(".d.ts", ".ts"));

/** What the option table knows of each option. */
function describeOptions(): Map<string, string> {
  return new Map(
    optionTable().map((row) => {
      const notes = [
        `${row.manual}, Linux ${row.since}`,
        row.access !== "read-write" && row.access,
        row.kind === "integer" && row.access !== "read-only" && `${row.low} to ${row.high}`,
        row.ipv6Only && "IPv6 sockets only",
        row.capability && `needs ${row.capability}`,
        row.caveat,
      ];
      return [`SocketOptions.${row.name}`, `${notes.filter(Boolean).join("; ")}.`];
    }),
  );
}

describe("the doors", () => {
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    allowImportingTsExtensions: true,
    noEmit: true,
  };
  const program = ts.createProgram(DOORS, options);

  const withNames = DOORS.filter((door) => !door.endsWith("register.ts"));

  it.each(DOORS)("%s exists", (door) => expect(program.getSourceFile(door)).toBeDefined());

  it.each(withNames)("%s documents every name that it exports, and every member", (door) => {
    expect(findUndocumented(program, door), "give each a doc comment: first the system call or file").toEqual(
      [],
    );
  });

  it.each(
    withNames,
  )("%s has its page (npx vitest run test/doors.test.ts --update writes it)", async (door) => {
    await expect(apiPage(program, door, describeOptions())).toMatchFileSnapshot(
      `../docs/api/${pageOf(door)}`,
    );
  });

  it("has an index of the pages", async () => {
    await expect(apiIndex(program, withNames)).toMatchFileSnapshot("../docs/api/README.md");
  });

  it("the check finds a re-exported type, a function and a member without one", () => {
    const sources: Record<string, string> = {
      "/lib/room/door.ts":
        'export type { Bare, Documented } from "./room.ts";\nexport { bare } from "./room.ts";',
      "/lib/room/room.ts":
        "/** Documented. */\nexport interface Documented { member: number }\nexport type Bare = 2;\nexport function bare() {}",
    };
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.fileExists = (name) => name in sources || fileExists(name);
    host.directoryExists = () => true;
    host.readFile = (name) => sources[name] ?? ts.sys.readFile(name);
    host.getSourceFile = (name, languageVersion) =>
      name in sources
        ? ts.createSourceFile(name, sources[name]!, languageVersion)
        : getSourceFile(name, languageVersion);
    expect(
      findUndocumented(ts.createProgram(["/lib/room/door.ts"], options, host), "/lib/room/door.ts"),
    ).toEqual(["Bare", "bare", "Documented.member"]);
  });
});
