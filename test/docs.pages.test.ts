/** The pages: their code runs, all of it in one process, and prints what its comments say; so do their commands. */
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { needsNamespaces } from "./support/harness.ts";
import { blocksOf, isSameShape, printedComments, refreshConsole, runModules } from "./support/pages.ts";

/** Each client of docs/clients.md needs a package and a server: `npm run check:wide` runs their code. */
const FILES = [
  "README.md",
  ...listPages("docs"),
  ...listPages("docs/guides"),
  ...listPages("docs/api"),
].filter((file) => file !== "docs/clients.md");
const isDeep = process.env.DEEP !== undefined;
const PAGES = FILES.map((file) => ({ file, page: readFileSync(file, "utf8") }));
const CODE = PAGES.flatMap(({ file, page }) =>
  blocksOf(page, "js").map(({ text }, i) => ({ name: `${file}, block ${i + 1}`, text })),
);

function listPages(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);
}

beforeEach((context) => needsNamespaces(context));

describe("the code of the pages", () => {
  let printed: Promise<string[]> | undefined;

  it.for(CODE.map((block, i) => ({ ...block, i })))("$name prints what it says", async ({ text, i }) => {
    printed ??= runModules(CODE.map((block) => block.text));
    const lines = (await printed)[i]!.split("\n");
    for (const comment of printedComments(text)) {
      const at = lines.findIndex((line) => isSameShape(comment, line));
      expect(at, `"${comment}" is among ${JSON.stringify(lines)}`).toBeGreaterThanOrEqual(0);
      lines.splice(0, at + 1);
    }
  });
});

describe("the commands of the pages", () => {
  it.for(
    PAGES.filter(({ page }) => blocksOf(page, "console").length > 0),
  )("$file shows what they print (npx vitest run test/docs.pages.test.ts --update writes it)", async ({
    file,
    page,
  }) => {
    await expect(await refreshConsole(page, isDeep)).toMatchFileSnapshot(`../${file}`);
  });
});
