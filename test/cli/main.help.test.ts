/** --help: docs/cli.md is made of it, and each command has three examples, whose arguments it takes. */
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { exampleArguments, examplesOf, helpOf, readCommands } from "../support/cli-help.ts";
import { cli } from "../support/harness.ts";

const commands = await readCommands();

it("docs/cli.md is what --help prints (npx vitest run test/cli/main.help.test.ts --update writes it)", async () => {
  const { stdout } = await cli(["--help"]);
  const listed = [...stdout.matchAll(/^ {2}(\w+) ((?:\[|<).*?) {2}/gm)];
  const sections: string[] = [];
  for (const [, name = "", usage] of listed.filter((match) => match[1] !== "help")) {
    const help = helpOf(commands.get(name)!);
    const itsUsage = help.split("\n")[0]!.replace(" [command]", "");
    expect(itsUsage, "the list says the same").toBe(`Usage: selfconnect ${name} ${usage}`);
    sections.push(`## selfconnect ${name}\n\n\`\`\`text\n${help.trimEnd()}\n\`\`\`\n`);
  }
  const page = `# The command line\n\n\`\`\`text\n${stdout.trimEnd()}\n\`\`\`\n\n${sections.join("\n")}`;
  await expect(page).toMatchFileSnapshot("../../docs/cli.md");
});

describe("--help of", () => {
  it("every command is known here", () => expect(commands.size).toBeGreaterThan(14));

  it.for([...commands])("%s has three examples or more, which the command takes", async ([name, command]) => {
    const examples = examplesOf(command);
    expect(examples.length).toBeGreaterThanOrEqual(3);
    for (const example of examples) {
      const given = exampleArguments(example);
      expect(given, example).not.toBeNull();
      const [first, ...rest] = given!;
      expect(first).toBe(name.split(" ")[0]);
      expect(await parses(rest, first!), example).toBe("taken");
    }
  });

  it("the check finds an option that a command does not have", async () => {
    expect(await parses(["50000", "--wiat"], "who")).toContain("unknown option");
  });
});

/** "taken", or what commander prints about these arguments. The command does nothing. */
async function parses(given: readonly string[], name: string): Promise<string> {
  const fresh = (await readCommands()).get(name)!;
  let printed = "";
  const disarm = (one: Command) => {
    one.exitOverride().configureOutput({ writeErr: (text) => (printed += text) });
    one.action(() => undefined);
    one.commands.forEach(disarm);
  };
  disarm(fresh);
  try {
    await fresh.parseAsync([...given], { from: "user" });
  } catch {
    return printed;
  }
  return "taken";
}
