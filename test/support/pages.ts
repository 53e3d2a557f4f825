/** What the tests of the docs read from a page, and how they run it. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { command, MAIN } from "./harness.ts";

/** A fenced block: what stands after the fence, and its lines. */
export interface Block {
  readonly info: string;
  readonly text: string;
}

/** A command of a console block, and the lines that the page shows below it. */
interface Shown {
  readonly command: string;
  readonly output: string;
}

/** Separates what the commands of a script print; no command prints it. */
const SEPARATOR = "\u001e";

/** The fenced blocks of one language, in order. */
export function blocksOf(page: string, language: string): Block[] {
  const fence = new RegExp(`^\`\`\`(${language}(?: .*)?)\\n([\\s\\S]*?)^\`\`\`$`, "gm");
  return [...page.matchAll(fence)].map(([, info = "", text = ""]) => ({ info, text }));
}

/** The links of a page to files and headings of this project; none of its code. */
export function linksOf(page: string): string[] {
  const prose = page.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!)
    .filter((link) => !/^[a-z]+:/.test(link));
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: string): string[] {
  const headings = page.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Waits until a module's timers and connections have ended, so that what it prints is not taken for the next one's. */
const UNTIL_IDLE = `
  const untilIdle = async () => {
    const isBusy = () => process.getActiveResourcesInfo().some((name) => /^(TCP|Timeout)/.test(name));
    for (const endsAt = Date.now() + 5000; isBusy() && Date.now() < endsAt; ) await new Promise(setImmediate);
  };`;

/** One module of many: each has its imports and names for itself. They run in order and print SEPARATOR between them. */
function joinModules(modules: readonly string[]): string {
  const bodies = modules.map((text) =>
    text
      .replace(/^import (\w+) from /gm, "import { default as $1 } from ")
      .replace(/^import (\{[^}]*\}) from ("[^"]+");/gm, (_, names: string, from: string) => {
        return `const ${names.replaceAll(" as ", ": ")} = await import(${from});`;
      })
      .replace(/^import ("[^"]+");/gm, "await import($1);"),
  );
  const end = `await untilIdle();\nprocess.stdout.write(${JSON.stringify(SEPARATOR)});`;
  return [UNTIL_IDLE, ...bodies.map((body) => `{\n${body}\n}\n${end}`)].join("\n");
}

/** Runs modules in one process, in a network namespace of its own, and returns what each of them printed. */
export async function runModules(modules: readonly string[]): Promise<string[]> {
  const setUp = 'ip link set lo up && exec "$@"';
  const node = [process.execPath, "--input-type=module", "-e", joinModules(modules)];
  const { status, stdout, stderr } = await command("unshare", ["-rn", "sh", "-c", setUp, "sh", ...node]);
  if (status !== 0 || stderr !== "") throw new Error(`exit code ${status}\n${stderr}`);
  return stdout.split(SEPARATOR).slice(0, -1);
}

/** What the comments after console.log() say that a module prints. */
export function printedComments(module: string): string[] {
  return [...module.matchAll(/^\s*console\.log\(.*\); \/\/ (.+)$/gm)].map((match) => match[1]!);
}

function readConsole({ text }: Block): Shown[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [line = "", ...output] = part.split("\n");
      return { command: line, output: output.join("\n") };
    });
}

const JOINED = path.resolve("test/support/programs/joined.mjs");
/** What must be there before the commands of a page run, by the name in its comment `<!-- before: NAME -->`. */
const BEFORE: Readonly<Record<string, string>> = {
  // The owner of the port waits for its standard input, and ends with the namespace of processes.
  "a client is joined to itself on port 50000": `
    (sleep 60 | ${process.execPath} ${JOINED} 50000 picked >/dev/null) &
    until grep -q ':C350 0100007F:C350 01' /proc/net/tcp; do sleep 0.05; done`,
};

/** A folder as of a user: with the package in node_modules, and its command in the folder itself. */
function makeProject(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-page-"));
  mkdirSync(path.join(folder, "node_modules"));
  symlinkSync(process.cwd(), path.join(folder, "node_modules", "selfconnect"));
  const run = `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`;
  writeFileSync(path.join(folder, "selfconnect"), run, { mode: 0o755 });
  return folder;
}

/**
 * Runs the commands of a page's console blocks, one after another, in namespaces of their own. Returns the page with
 * what they print now, where that has another shape than what it shows: a number may be any other, a line "…" stands
 * for any lines. "# exit code N" after a command must be right. Blocks marked "console deep" take seconds.
 */
export async function refreshConsole(page: string, isDeep: boolean): Promise<string> {
  const blocks = blocksOf(page, "console").filter(({ info }) => isDeep || !info.endsWith(" deep"));
  const shown = blocks.flatMap(readConsole);
  if (shown.length === 0) return page;
  const names = [...page.matchAll(/^<!-- before: (.+) -->$/gm)].map((match) => match[1]!);
  const lines = shown.map(({ command: line }) => `{ ${line}\n} 2>&1; printf '%s${SEPARATOR}' "$?"`);
  const folder = makeProject();
  const script = `ip link set lo up
    echo "32768 60999" > /proc/sys/net/ipv4/ip_local_port_range
    cd ${folder} && PATH=${folder}:$PATH
    ${names.map((name) => BEFORE[name] ?? `echo "no such thing: ${name}"`).join("\n")}
    ${lines.join("\n")}`;
  const namespaces = ["-rnpf", "--mount-proc", "--kill-child"];
  const { stdout } = await command("unshare", [...namespaces, "sh", "-c", script]);
  rmSync(folder, { recursive: true });
  const printed = stdout.split(SEPARATOR);
  let refreshed = page;
  for (const [i, { command: line, output }] of shown.entries()) {
    const [, text = "", code = ""] = /^([\s\S]*?)(\d+)$/.exec(printed[i] ?? "") ?? [];
    const stated = /# exit code (\d+)$/.exec(line)?.[1];
    const isSame = isSameShape(output, text) && (stated ?? code) === code;
    const command = stated === undefined ? line : line.replace(/\d+$/, code);
    if (!isSame) refreshed = refreshed.replace(`$ ${line}\n${output}`, () => `$ ${command}\n${text}`);
  }
  return refreshed;
}

/** Whether two texts differ in numbers and in the width of columns only. */
export function isSameShape(shown: string, printed: string): boolean {
  const shape = (text: string) =>
    text
      .trimEnd()
      .replace(/\d[\d,.]*/g, "0")
      .replace(/[ \u2500-\u259f]+/g, " ");
  const pattern = shape(shown)
    .split("\n")
    .map((line) => (line.trim() === "…" ? "[\\s\\S]*?" : line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
    .join("\n");
  return new RegExp(`^${pattern}$`).test(shape(printed));
}
