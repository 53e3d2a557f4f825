/** selfconnect completion <shell>: the completion script of a shell, or the manual page. */
import { Argument, Command } from "commander";
import { SCRIPTS } from "./completion-scripts.ts";
import { manPage } from "./man-page.ts";
import { shapeOf } from "./program-shape.ts";

/** `loadProgram` returns the program with every command. */
export function completionCommand(loadProgram: () => Promise<Command>): Command {
  return new Command("completion")
    .description(
      "Prints a script that completes commands, options and their values in a shell; with man the manual page, which " +
        "the package also has.",
    )
    .addArgument(new Argument("<shell>", "for what").choices([...Object.keys(SCRIPTS), "man"]))
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (shell: string) => {
      const shape = shapeOf(await loadProgram());
      const write = SCRIPTS[shell] ?? manPage;
      process.stdout.write(write(shape));
    });
}

const EXAMPLES = `Examples:
  eval "$(selfconnect completion bash)"                in ~/.bashrc
  source <(selfconnect completion zsh)                 in ~/.zshrc
  selfconnect completion fish | source                 in ~/.config/fish/config.fish
  selfconnect completion man > selfconnect.1           what man(1) reads`;
