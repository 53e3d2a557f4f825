/** The manual page, in the man(7) macros of roff, from the shape of the program. */
import { exitCodeHelp } from "./exit-codes.ts";
import type { CommandShape, InputShape } from "./program-shape.ts";
import { withCommands } from "./program-shape.ts";

/** The page selfconnect(1). It has no date and no version, so that it changes with the commands only. */
export function manPage(program: CommandShape): string {
  const commands = withCommands(program).filter(({ path }) => path !== "" && path !== "help");
  const lines = [
    '.TH SELFCONNECT 1 "" "selfconnect" "User Commands"',
    ".SH NAME",
    `selfconnect \\- ${inline(program.summary)}`,
    ".SH SYNOPSIS",
    ".B selfconnect",
    ".I command",
    "[options] [arguments]",
    ".SH DESCRIPTION",
    text(program.description),
    "Results go to the standard output, progress and errors to the standard error.",
    "A file is written whole or not at all.",
    ".SH OPTIONS",
    ...program.options.flatMap(inputLines),
    ".SH COMMANDS",
    ...commands.flatMap(commandLines),
    ".SH EXIT STATUS",
    ...verbatim(exitCodeHelp().split("\n").slice(1)),
    ".SH ENVIRONMENT",
    ...Object.entries(VARIABLES).flatMap(([name, about]) => [".TP", `.B ${name}`, text(about)]),
    ".SH FILES",
    ...Object.entries(FILES).flatMap(([name, about]) => [".TP", `.I ${text(name)}`, text(about)]),
    ".SH SEE ALSO",
    text("tcp(7), ip(7), sock_diag(7), ss(8), sysctl.d(5)"),
  ];
  return `${lines.join("\n")}\n`;
}

const VARIABLES: Readonly<Record<string, string>> = {
  NO_COLOR: "No colours, whatever the terminal.",
  FORCE_COLOR: "Colours, also where the output is no terminal.",
  XDG_CACHE_HOME: "The folder in which the lab's cache is, instead of ~/.cache.",
};
const FILES: Readonly<Record<string, string>> = {
  "/etc/sysctl.d/zz-selfconnect.conf": "What reserve --persist writes.",
  "~/.cache/selfconnect": "The kernels and images of the lab; lab clean removes it.",
};

function commandLines({ path, usage, description, inputs, options, after }: CommandShape): string[] {
  return [
    `.SS selfconnect ${inline(path)} ${inline(usage)}`,
    text(description),
    ...[...inputs.filter((input) => input.description !== ""), ...options].flatMap(inputLines),
    ...(after === "" ? [] : [".PP", ...verbatim(after.split("\n"))]),
  ];
}

function inputLines({ usage, description, choices }: InputShape): string[] {
  const hasChoices = choices.length > 0 && !description.includes("choices:");
  return [
    ".TP",
    `.B ${inline(usage)}`,
    text(hasChoices ? `${description} (${choices.join(", ")})` : description),
  ];
}

/** Lines as they are, for examples and tables. */
function verbatim(lines: readonly string[]): string[] {
  return [".nf", ...lines.map((line) => (line === "" ? ".sp" : text(line))), ".fi"];
}

/** Text on a line of its own, which must not begin like a request. */
function text(line: string): string {
  return inline(line).replace(/^[.']/, "\\&$&");
}

/** A minus that can be copied, no escape by accident, and what is not ASCII by its number. */
function inline(line: string): string {
  return line
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(
      /[^\x20-\x7e]/gu,
      (letter) => `\\[u${letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
    );
}
