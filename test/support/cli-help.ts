/** The examples in the --help of each command. */
import { readdirSync } from "node:fs";
import { Command } from "commander";

/** Files of lib/cli that run when they are imported. */
const PROGRAMS = ["main", "start"];

/** Each command, and each subcommand as "report compare", made anew. */
export async function readCommands(): Promise<Map<string, Command>> {
  const program = new Command("selfconnect").enablePositionalOptions();
  const commands = new Map<string, Command>();
  const names = readdirSync("lib/cli").map((file) => file.replace(/\.ts$/, ""));
  for (const name of names.filter((one) => !PROGRAMS.includes(one))) {
    const create: ((program: () => Promise<Command>) => Command) | undefined = (
      await import(`../../lib/cli/${name}.ts`)
    )[`${name}Command`];
    if (!create) continue;
    const command = create(async () => program);
    program.addCommand(command);
    commands.set(name, command);
    for (const sub of command.commands) commands.set(`${name} ${sub.name()}`, sub);
  }
  return commands;
}

/** What --help prints. */
export function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 80 }).outputHelp();
  return text;
}

/** The lines below "Examples:", without what is said about each. */
export function examplesOf(command: Command): string[] {
  const [, list = ""] = /^Examples:\n((?: {2}.+\n?)+)/m.exec(helpOf(command)) ?? [];
  return list
    .split("\n")
    .filter(Boolean)
    .map((line) => line.trim().split(/ {2,}/)[0]!);
}

/** The arguments after "selfconnect", of a shell's line or of a Dockerfile's; null where it is not called. */
export function exampleArguments(example: string): string[] | null {
  const [, list] = /^(?:HEALTHCHECK )?CMD (\[.+\])$/.exec(example) ?? [];
  if (list) return (JSON.parse(list) as string[]).slice(1);
  const [, line] = /(?:^|\| |sudo |[<$]\()selfconnect (.+?)(?:\)"?| (?:&&|>|\|) .*)?$/.exec(example) ?? [];
  return line ? line.split(" ").map((word) => word.replace(/^'(.*)'$/, "$1")) : null;
}
