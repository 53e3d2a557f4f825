/** Completion scripts for shells: commands, options, choices and files, from the shape of the program. */
import type { CommandShape, InputShape } from "./program-shape.ts";
import { withCommands } from "./program-shape.ts";

/** The scripts by shell. */
export const SCRIPTS: Readonly<Record<string, (program: CommandShape) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

const HEAD = "# Completion of selfconnect, made by `selfconnect completion`.";

/** The words that may follow a command: its subcommands, its options, and the choices of its arguments. */
function wordsOf({ commands, options, inputs }: CommandShape): string[] {
  return [
    ...commands.map(({ path }) => lastWord(path)),
    ...options.flatMap(({ names }) => names),
    ...inputs.flatMap(({ choices }) => choices),
  ];
}

function lastWord(path: string): string {
  return path.split(" ").at(-1)!;
}

/** In a table "COMMAND OPTION" the choices of an option; "" where a file or free text follows. */
function valueRows({ path, options }: CommandShape): [string, readonly string[]][] {
  return options
    .filter(({ takesValue }) => takesValue)
    .flatMap(({ names, choices }) =>
      names.map((name): [string, readonly string[]] => [`${path} ${name}`, choices]),
    );
}

/** Without a proposal bash itself completes the names of files, which options and arguments take. */
function bashScript(program: CommandShape): string {
  const shapes = withCommands(program);
  const words = shapes.map((shape) => `    "${shape.path}") words="${wordsOf(shape).join(" ")}" ;;`);
  const values = shapes
    .flatMap(valueRows)
    .map(([key, choices]) => `    "${key.trim()}") words="${choices.join(" ")}" is_value=1 ;;`);
  return `${HEAD}
# bash: eval "$(selfconnect completion bash)"
_selfconnect() {
  local path="" words="" is_value="" word at cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  # bash splits --option=value at the sign.
  if [[ $cur == "=" ]]; then cur=""; elif [[ $prev == "=" ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case "\${path:+$path }$word" in
      ${shapes
        .map(({ path }) => path)
        .filter(Boolean)
        .map((path) => `"${path}"`)
        .join(" | ")}) path="\${path:+$path }$word" ;;
    esac
  done
  case "\${path:+$path }$prev" in
${values.join("\n")}
  esac
  if [[ -z $is_value ]]; then
    case "$path" in
${words.join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _selfconnect selfconnect
`;
}

function zshScript(program: CommandShape): string {
  return `#compdef selfconnect
${HEAD}
# zsh: put it as _selfconnect into a folder of $fpath, or: source <(selfconnect completion zsh)
${withCommands(program).map(zshFunction).join("\n")}
if [ "$funcstack[1]" = "_selfconnect" ]; then _selfconnect "$@"; else compdef _selfconnect selfconnect; fi
`;
}

function zshFunction({ path, options, inputs, commands }: CommandShape): string {
  const specs = options.flatMap(({ names, description, ...rest }) =>
    names.map((name) => quote(`${name}[${zshText(description)}]${zshValue(rest)}`)),
  );
  const positions = inputs.map((input, index) => {
    const at = input.usage.includes("...") ? "*" : String(index + 1);
    return quote(`${at}${zshValue(input)}`);
  });
  if (commands.length === 0) {
    return `${zshName(path)}() {\n  _arguments \\\n    ${[...specs, ...positions].join(" \\\n    ")}\n}`;
  }
  const list = commands.map((one) => quote(`${lastWord(one.path)}:${zshText(one.summary)}`)).join(" ");
  const cases = commands.map((one) => `      ${lastWord(one.path)}) ${zshName(one.path)} ;;`).join("\n");
  return `${zshName(path)}() {
  local state line
  local -a commands=(${list})
  _arguments -C \\
    ${[...specs, "'1: :->command'", "'*:: :->rest'"].join(" \\\n    ")}
  case $state in
    command) _describe command commands ;;
    rest) case $words[1] in
${cases}
    esac ;;
  esac
}`;
}

function zshName(path: string): string {
  return ["_selfconnect", ...path.split(" ").filter(Boolean)].join("_");
}

function zshValue({ takesValue, choices, isFile, usage }: Omit<InputShape, "names" | "description">): string {
  if (!takesValue) return "";
  const name = zshText(/[<[]([\w=]+)/.exec(usage)?.[1] ?? "value");
  const action = choices.length > 0 ? `(${choices.join(" ")})` : isFile ? "_files" : "";
  return `:${name}:${action}`;
}

function zshText(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}

/** One word of a shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishScript(program: CommandShape): string {
  const lines = withCommands(program).flatMap(fishLines);
  return `${HEAD}\n# fish: selfconnect completion fish | source\n${lines.join("\n")}\n`;
}

function fishLines({ path, options, inputs, commands }: CommandShape): string[] {
  const line = `complete -c selfconnect -n ${quote(fishCondition(path, commands))}`;
  const choices = inputs.flatMap((input) => input.choices);
  return [
    ...commands.map((one) => `${line} -f -a ${lastWord(one.path)} -d ${quote(one.summary)}`),
    ...(choices.length > 0 ? [`${line} -f -a ${quote(choices.join(" "))}`] : []),
    ...options.map((option) => `${line} ${fishOption(option)}`),
  ];
}

function fishCondition(path: string, commands: readonly CommandShape[]): string {
  const seen = path.split(" ").filter(Boolean);
  if (seen.length === 0) return "__fish_use_subcommand";
  const below = commands.map((one) => lastWord(one.path));
  const not = below.length > 0 ? [`not __fish_seen_subcommand_from ${below.join(" ")}`] : [];
  return [...seen.map((word) => `__fish_seen_subcommand_from ${word}`), ...not].join("; and ");
}

function fishOption({ names, description, takesValue, choices, isFile }: InputShape): string {
  const flags = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const values = choices.length > 0 ? `-x -a ${quote(choices.join(" "))}` : isFile ? "-r -F" : "-x";
  return [...flags, ...(takesValue ? [values] : []), `-d ${quote(description)}`].join(" ");
}
