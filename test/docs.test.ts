/** The docs agree with the program: they show what it prints, and their examples run. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { OptionRow } from "../lib/socket/native.ts";
import { otherOptions } from "../lib/socket/option-access.ts";
import { optionTable } from "../lib/socket/supported.ts";
import { cli, command, inNamespace } from "./support/harness.ts";

const readme = readFileSync("README.md", "utf8");

/** The fenced blocks of one language. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    (match) => match[1]!,
  );
}

/** Runs it in a new namespace, because the README's port may be taken on this host. */
function runModule(script: string) {
  return inNamespace("32768 60999", process.execPath, ["--input-type=module", "-e", script]);
}

describe("README.md", () => {
  it.each(
    blocks(readme, "js").map((block, i) => [i + 1, block] as const),
  )("block %i runs", async (_, block) => {
    expect(await runModule(block)).toMatchObject({ status: 0, stderr: "" });
  });

  it("has blocks that run", () => {
    expect(blocks(readme, "js").length).toBeGreaterThan(2);
  });

  it("names every command", async () => {
    const { stdout } = await cli(["--help"]);
    const commands = [...stdout.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map((match) => match[1]!);
    expect(commands).toContain("reconnect");
    for (const name of commands.filter((one) => one !== "help"))
      expect(readme).toContain(`selfconnect ${name}`);
  });

  it("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1]!);
    expect(links.filter((link) => !existsSync(link))).toEqual([]);
  });
});

describe("examples", () => {
  it.each(readdirSync("examples"))("%s runs, and the README shows all of it if it shows it", async (name) => {
    const script = readFileSync(`examples/${name}`, "utf8");
    expect(await command(process.execPath, [`examples/${name}`])).toMatchObject({ status: 0, stderr: "" });
    if (readme.includes(`examples/${name}`)) expect(blocks(readme, "js")).toContain(script);
  });
});

it("docs/options.md is made from the option table (npx vitest run --update writes it)", async () => {
  const row = (option: OptionRow) => {
    const notes = [
      option.access !== "read-write" && option.access,
      option.kind === "integer" && option.access !== "read-only" && `${option.low} to ${option.high}`,
      option.words.length > 0 && option.words.join(", "),
      option.ipv6Only && "IPv6 sockets only",
      option.capability && `needs ${option.capability}`,
      option.caveat,
    ];
    const cells = [`\`${option.name}\``, `\`${option.constant}\``, option.kind, option.since, option.manual];
    return `| ${[...cells, notes.filter(Boolean).join("; ")].join(" | ")} |`;
  };
  const page = `# Socket options

Every row of the one table, native/core/option.cc. \`supported(name)\` asks the kernel whether it has an option; units and
ranges are in the doc comments of \`SocketOptions\` in lib/socket/options.ts. "Since" is the Linux kernel that brought it.

| name | constant | kind | since | manual | notes |
|---|---|---|---|---|---|
${optionTable().map(row).join("\n")}

## Not in the table

The other options of tcp(7), ip(7), ipv6(7) and socket(7), and why. \`rawGetsockopt(level, name, length)\` and
\`rawSetsockopt(level, name, bytes)\` reach them; \`socketConstants()\` has their numbers.

| constant | why |
|---|---|
${Object.entries(otherOptions())
  .map(([constant, reason]) => `| \`${constant}\` | ${reason} |`)
  .join("\n")}
`;
  await expect(page).toMatchFileSnapshot("../docs/options.md");
});

it("docs/cli.md is what --help prints (npx vitest run --update writes it)", async () => {
  const { stdout } = await cli(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map((match) => match[1]!);
  const sections: string[] = [];
  for (const name of commands.filter((one) => one !== "help")) {
    const help = await cli([name, "--help"]);
    sections.push(`## selfconnect ${name}\n\n\`\`\`text\n${help.stdout.trimEnd()}\n\`\`\`\n`);
  }
  const page = `# The command line\n\n\`\`\`text\n${stdout.trimEnd()}\n\`\`\`\n\n${sections.join("\n")}`;
  await expect(page).toMatchFileSnapshot("../docs/cli.md");
});
