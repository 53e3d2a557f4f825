/** What a commander program accepts, as plain data for completion scripts and the manual page. */
import type { Argument, Command, Option } from "commander";

/** An option, or an argument. */
export interface InputShape {
  /** "--strategy <name>", "<port>". */
  readonly usage: string;
  /** "--strategy", and "-V" where there is a short form; empty for an argument. */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** Whether its value is the path of a file or a folder. */
  readonly isFile: boolean;
}

/** A command with its subcommands. */
export interface CommandShape {
  /** "lab kernels"; the program itself is "". */
  readonly path: string;
  readonly usage: string;
  readonly summary: string;
  readonly description: string;
  readonly inputs: readonly InputShape[];
  readonly options: readonly InputShape[];
  /** What help prints after the options: examples, exit codes. */
  readonly after: string;
  readonly commands: readonly CommandShape[];
}

/** The shape of a command and of those below it. */
export function shapeOf(command: Command, path = ""): CommandShape {
  const help = command.createHelp();
  const below = command.commands.map((one) => shapeOf(one, `${path} ${one.name()}`.trim()));
  return {
    path,
    usage: command.usage(),
    summary: command.summary() || command.description(),
    description: command.description() || command.summary(),
    inputs: command.registeredArguments.map(argumentShape),
    options: help
      .visibleOptions(command)
      .map((option) => optionShape(option, help.optionDescription(option))),
    after: helpAfter(command),
    commands: below,
  };
}

function optionShape(option: Option, description: string): InputShape {
  return {
    usage: option.flags,
    names: [option.long, option.short].filter((name) => name !== undefined),
    description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    isFile: /[<[](file|folder)/.test(option.flags),
  };
}

function argumentShape(argument: Argument): InputShape {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return {
    usage: argument.required ? `<${name}>` : `[${name}]`,
    names: [],
    description: argument.description,
    takesValue: true,
    choices: argument.argChoices ?? [],
    isFile: /^(files?|program|first|second)$/.test(argument.name()),
  };
}

/** Commander keeps this text to itself, but prints it after the rest. */
function helpAfter(command: Command): string {
  let printed = "";
  command.configureOutput({
    writeOut: (text) => {
      printed += text;
    },
  });
  command.outputHelp();
  return printed.slice(command.helpInformation().length).trim();
}

/** A command and all below it. */
export function withCommands(shape: CommandShape): CommandShape[] {
  return [shape, ...shape.commands.flatMap(withCommands)];
}
