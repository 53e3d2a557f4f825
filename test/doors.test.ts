/** The doors of package.json: every name that they export has a doc comment. */
import { readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";

/** "./dist/kernel/index.js" is built from lib/kernel/index.ts; register exports nothing. */
const DOORS = Object.values<{ types?: string }>(JSON.parse(readFileSync("package.json", "utf8")).exports)
  .flatMap(({ types }) => types ?? [])
  .map((types) => types.replace("./dist/", "lib/").replace(".d.ts", ".ts"));

/** The names that a door exports without a doc comment at their declaration. */
function findUndocumented(program: ts.Program, door: string): string[] {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(door)!);
  return (module ? checker.getExportsOfModule(module) : [])
    .map((name) => (name.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(name) : name))
    .filter((name) => name.getDocumentationComment(checker).length === 0)
    .map((name) => name.name);
}

describe("the doors", () => {
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    allowImportingTsExtensions: true,
    noEmit: true,
  };
  const program = ts.createProgram(DOORS, options);

  it.each(DOORS)("%s documents every name that it exports", (door) => {
    expect(program.getSourceFile(door), "the door exists").toBeDefined();
    expect(findUndocumented(program, door), "give each a doc comment: first the system call or file").toEqual(
      [],
    );
  });

  it("the check finds a re-exported type and a function without one", () => {
    const sources: Record<string, string> = {
      "/door.ts": 'export type { Bare, Documented } from "./room.ts";\nexport { bare } from "./room.ts";',
      "/room.ts":
        "/** Documented. */\nexport type Documented = 1;\nexport type Bare = 2;\nexport function bare() {}",
    };
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.fileExists = (name) => name in sources || fileExists(name);
    host.readFile = (name) => sources[name] ?? ts.sys.readFile(name);
    host.getSourceFile = (name, languageVersion) =>
      name in sources
        ? ts.createSourceFile(name, sources[name]!, languageVersion)
        : getSourceFile(name, languageVersion);
    expect(findUndocumented(ts.createProgram(["/door.ts"], options, host), "/door.ts")).toEqual([
      "Bare",
      "bare",
    ]);
  });
});
