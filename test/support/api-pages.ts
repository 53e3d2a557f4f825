/**
 * Makes the pages of docs/api from the doc comments, with the compiler's own API. TypeDoc with its Markdown plugin took
 * 7.7 s of CPU time here, brought 22 packages of 25 MB and wrote 391 files; the test has the compiler's program at hand.
 */
import path from "node:path";
import ts from "typescript";

/** A name that a door exports, or a member of one. */
interface Documented {
  readonly name: string;
  readonly symbol: ts.Symbol;
  readonly declaration: ts.Declaration;
}

interface Entry extends Documented {
  readonly kind: (typeof KINDS)[number];
}

/** What a page adds to the text of a member, by "Type.member": what other tables know of it. */
export type Notes = ReadonlyMap<string, string>;

/** The sections of a page, in order. */
const KINDS = ["Functions", "Classes", "Constants", "Types"] as const;

/** The page of a door: "lib/kernel/index.ts" has docs/api/kernel.md. */
export function pageOf(door: string): string {
  return `${/^lib\/(\w+)\/index\.ts$/.exec(door)?.[1] ?? "selfconnect"}.md`;
}

/** How a program imports the door. */
function importOf(door: string): string {
  const [, room] = /^lib\/(\w+)\/index\.ts$/.exec(door) ?? [];
  return room ? `selfconnect/${room}` : "selfconnect";
}

/** The names that a door exports, in the order of the alphabet. */
function entriesOf(checker: ts.TypeChecker, file: ts.SourceFile): Entry[] {
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(file)!);
  const entries = exported.map((each) => {
    const symbol = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each;
    const declaration = symbol.declarations![0]!;
    return { name: each.name, symbol, declaration, kind: kindOf(declaration) };
  });
  return entries.sort((one, other) => one.name.localeCompare(other.name, "en", { sensitivity: "base" }));
}

function kindOf(declaration: ts.Declaration): Entry["kind"] {
  if (ts.isFunctionDeclaration(declaration)) return "Functions";
  if (ts.isClassDeclaration(declaration)) return "Classes";
  return ts.isVariableDeclaration(declaration) ? "Constants" : "Types";
}

/** The public members of an interface, an object type or a class; those that a class inherits from this project too. */
function membersOf(checker: ts.TypeChecker, { symbol, declaration }: Documented): Documented[] {
  if (ts.isClassDeclaration(declaration)) {
    const statics = checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol));
    const own = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol));
    return [...statics, ...own].flatMap(toMember);
  }
  const isObject = ts.isTypeAliasDeclaration(declaration) && ts.isTypeLiteralNode(declaration.type);
  if (!ts.isInterfaceDeclaration(declaration) && !isObject) return [];
  return [...(symbol.members?.values() ?? checker.getDeclaredTypeOfSymbol(symbol).getProperties())].flatMap(
    toMember,
  );
}

/** None for what is private, internal, a constructor, or of TypeScript's own library. */
function toMember(symbol: ts.Symbol): Documented[] {
  const declaration = symbol.declarations?.find((one) => isOurs(one.getSourceFile()));
  if (!declaration || symbol.flags & ts.SymbolFlags.TypeParameter) return [];
  const name = ts.getNameOfDeclaration(declaration)?.getText();
  const isHidden =
    name === undefined ||
    name.startsWith("#") ||
    ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected) ||
    ts.getJSDocTags(declaration).some(({ tagName }) => tagName.text === "internal");
  return isHidden ? [] : [{ name, symbol, declaration }];
}

function isOurs({ fileName }: ts.SourceFile): boolean {
  return /(^|\/)lib\/[\w-]+\//.test(fileName) && !fileName.includes("node_modules");
}

function textOf(checker: ts.TypeChecker, symbol: ts.Symbol): string {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
}

/** The names and members of a door without a doc comment. */
export function findUndocumented(program: ts.Program, door: string): string[] {
  const checker = program.getTypeChecker();
  return entriesOf(checker, program.getSourceFile(door)!).flatMap((entry) => [
    ...(textOf(checker, entry.symbol) === "" ? [entry.name] : []),
    ...membersOf(checker, entry)
      .filter(({ symbol }) => textOf(checker, symbol) === "")
      .map(({ name }) => `${entry.name}.${name}`),
  ]);
}

/** The page of one door. */
export function apiPage(program: ts.Program, door: string, notes: Notes = new Map()): string {
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(door)!;
  const entries = entriesOf(checker, file);
  const sections = KINDS.map((kind) => {
    const some = entries.filter((entry) => entry.kind === kind);
    return some.length === 0
      ? ""
      : `## ${kind}\n\n${some.map((entry) => entryText(checker, entry, notes)).join("\n")}`;
  });
  return `# ${importOf(door)}\n\n${aboutText(file)}\n\n${sections.filter(Boolean).join("\n")}`;
}

/** The index of the pages: each door, what it is for, and its names. */
export function apiIndex(program: ts.Program, doors: readonly string[]): string {
  const checker = program.getTypeChecker();
  const parts = doors.map((door) => {
    const file = program.getSourceFile(door)!;
    const links = entriesOf(checker, file)
      .filter(({ kind }) => kind !== "Types")
      .map(({ name }) => `[${name}](${pageOf(door)}#${name.toLowerCase()})`);
    return `## [${importOf(door)}](${pageOf(door)})\n\n${aboutText(file)}\n\n${links.join(" · ")}\n`;
  });
  return `# The API

Made from the doc comments (\`npx vitest run test/doors.test.ts --update\`): a page for each door, which is what a program
imports. Each text begins with the system call, option or file that the name maps to. \`selfconnect/register\` exports
nothing: it [guards a whole program](../register.md).

${parts.join("\n")}`;
}

/** The comment at the top of a door, without its own name. */
function aboutText(file: ts.SourceFile): string {
  const [, comment = ""] = /^\/\*\*([\s\S]*?)\*\//.exec(file.text) ?? [];
  const text = comment.replace(/^\s*\* ?/gm, "").trim();
  const about = text.replace(/^`[\w/]+`: /, "");
  return about.charAt(0).toUpperCase() + about.slice(1);
}

function entryText(checker: ts.TypeChecker, entry: Entry, notes: Notes): string {
  const members = membersOf(checker, entry);
  const isClass = ts.isClassDeclaration(entry.declaration);
  const list = members.map(({ name, symbol, declaration }) => {
    const signature =
      isClass || ts.isMethodSignature(declaration) ? signatureOf(checker, symbol, declaration) : "";
    const note = notes.get(`${entry.name}.${name}`) ?? "";
    const about = `${indent(plain(textOf(checker, symbol)))}${note && ` *${note}*`}`;
    if (signature !== "") return `- \`${oneLine(signature)}\`\n\n  ${about}\n`;
    return `- \`${oneLine(propertyText(declaration, name))}\`: ${about}`;
  });
  const signature = `\`\`\`ts\n${signatureOf(checker, entry.symbol, entry.declaration)}\n\`\`\``;
  const examples = ts
    .getJSDocTags(entry.declaration)
    .filter(({ tagName }) => tagName.text === "example")
    .map(({ comment }) => `\`\`\`js\n${ts.getTextOfJSDocComment(comment)?.trim()}\n\`\`\`\n`);
  return [
    `### ${entry.name}\n\n${signature}\n`,
    `${plain(textOf(checker, entry.symbol))}\n`,
    ...examples,
    `Declared in ${sourceLink(entry.declaration)}.\n`,
    ...(list.length > 0 ? [`${list.join("\n").trimEnd()}\n`] : []),
  ].join("\n");
}

/** "deadlineMs?: number", without "readonly", which all properties of results and options are. */
function propertyText(declaration: ts.Declaration, name: string): string {
  const { questionToken, type } = declaration as ts.PropertySignature;
  return `${name}${questionToken ? "?" : ""}: ${type?.getText() ?? "unknown"}`;
}

/** What a program sees of it: a function without its body, a class by its head, a type whole if it is short. */
function signatureOf(checker: ts.TypeChecker, symbol: ts.Symbol, declaration: ts.Declaration): string {
  if (ts.isClassDeclaration(declaration)) {
    const heritage = declaration.heritageClauses?.map((clause) => ` ${clause.getText()}`).join("") ?? "";
    const made = declaration.members.find(ts.isConstructorDeclaration);
    const isHidden = !made || ts.getJSDocTags(made).some(({ tagName }) => tagName.text === "internal");
    const isPrivate = made && ts.getCombinedModifierFlags(made) & ts.ModifierFlags.Private;
    const creation = isHidden || isPrivate ? "" : ` { ${headOf(made)} }`;
    return `class ${symbol.name}${heritage}${creation}`;
  }
  if (ts.isInterfaceDeclaration(declaration)) {
    const heritage = declaration.heritageClauses?.map((clause) => ` ${clause.getText()}`).join("") ?? "";
    return `interface ${symbol.name}${heritage}`;
  }
  if (ts.isTypeAliasDeclaration(declaration)) {
    const isObject = ts.isTypeLiteralNode(declaration.type);
    return isObject
      ? `type ${symbol.name}`
      : declaration
          .getText()
          .replace(/^export /, "")
          .replace(/;$/, "");
  }
  if (ts.isVariableDeclaration(declaration)) {
    const type = checker.typeToString(
      checker.getTypeAtLocation(declaration),
      declaration,
      ts.TypeFormatFlags.NoTruncation,
    );
    return `const ${symbol.name}: ${type}`;
  }
  const calls = symbol.declarations!.filter((one) => ts.isFunctionLike(one)) as ts.SignatureDeclaration[];
  const shown = calls.length > 1 ? calls.filter((one) => !("body" in one) || !one.body) : calls;
  return shown.length > 0 ? shown.map(headOf).join("\n") : propertyText(declaration, symbol.name);
}

/** A function or method up to its body. */
function headOf(declaration: ts.SignatureDeclaration): string {
  const body = (declaration as ts.FunctionDeclaration).body;
  const file = declaration.getSourceFile();
  const text = file.text.slice(declaration.getStart(file), body ? body.getStart(file) : declaration.end);
  return text
    .replace(/^(export |async |override )+/, "")
    .replace(/^static async /, "static ")
    .trim()
    .replace(/;$/, "");
}

function sourceLink(declaration: ts.Declaration): string {
  const { fileName } = declaration.getSourceFile();
  const file = path.relative(".", fileName);
  return `[${file}](../../${file})`;
}

/** A doc comment in one paragraph for each of its own: its lines are broken for the editor. */
function plain(text: string): string {
  const lists = text.replace(/\n(?=- )/g, "\u0000");
  return lists
    .split("\n\n")
    .map((paragraph) => paragraph.replace(/\n\s*/g, " "))
    .join("\n\n")
    .replaceAll("\u0000", "\n");
}

function indent(text: string): string {
  return text.replace(/\n/g, "\n  ");
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
