#!/usr/bin/env node
/** selfconnect <command>: data on stdout, progress on stderr, exit codes of one table. */
import { Command, CommanderError } from "commander";
import { packageVersion } from "../kernel/version.ts";
import { escapeTerminal } from "../report/escape.ts";
import { EXIT, exitCodeHelp } from "./exit-codes.ts";
import { printNotice, watchOutput } from "./output.ts";

/** A command as the list in --help shows it. Its file is loaded only when it is asked for. */
interface Listed {
  readonly usage: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

const COMMANDS: Readonly<Record<string, Listed>> = {
  reconnect: {
    usage: "[options] [peer]",
    summary: "reconnect to a local port where nothing listens, until joined to itself",
    load: async () => (await import("./reconnect.ts")).reconnectCommand(),
  },
  dial: {
    usage: "[options] <peer>",
    summary: "one guarded connect: the four-tuple, every attempt, the verdict",
    load: async () => (await import("./dial.ts")).dialCommand(),
  },
  trace: {
    usage: "[options] [peer]",
    summary: "capture one self-connect: packets, states, ladder, pcapng",
    load: async () => (await import("./trace.ts")).traceCommand(),
  },
  bench: {
    usage: "[options]",
    summary: "compare attempts per second with C, Go, Python, node:net, koffi, bash and nc, in one run",
    load: async () => (await import("./bench.ts")).benchCommand(),
  },
  ports: {
    usage: "[options]",
    summary: "observe which local ports the kernel picks, and name the algorithm",
    load: async () => (await import("./ports.ts")).portsCommand(),
  },
  predict: {
    usage: "[options] [peer]",
    summary: "how many attempts and how long until a self-connect, or why never",
    load: async () => (await import("./predict.ts")).predictCommand(),
  },
  audit: {
    usage: "[options]",
    summary: "this host: listeners at risk, and sockets joined to themselves",
    load: async () => (await import("./audit.ts")).auditCommand(),
  },
  who: {
    usage: "[options] <port>",
    summary: "who holds a port, why, until when, and what to do",
    load: async () => (await import("./who.ts")).whoCommand(),
  },
  free: {
    usage: "[options] [port]",
    summary: "free a port that a socket joined to itself holds, without ending its process",
    load: async () => (await import("./free.ts")).freeCommand(),
  },
  reserve: {
    usage: "[options] <port>",
    summary: "keep the kernel from picking a port as a local one",
    load: async () => (await import("./reserve.ts")).reserveCommand(),
  },
  lab: {
    usage: "[options]",
    summary: "the same experiments on many kernels",
    load: async () => (await import("./lab.ts")).labCommand(),
  },
  worker: {
    usage: "[options]",
    summary: "answer the questions of a queue about this host, for lab and audit --queue",
    load: async () => (await import("./worker.ts")).workerCommand(),
  },
  doctor: {
    usage: "[options]",
    summary: "what works on this host, what each lack costs, and how to fix it",
    load: async () => (await import("./doctor.ts")).doctorCommand(),
  },
  report: {
    usage: "[options] <files...>",
    summary: "render results of any command as a table, HTML, Markdown or CSV; compare them",
    load: async () => (await import("./report.ts")).reportCommand(),
  },
  completion: {
    usage: "[options] <shell>",
    summary: "print a completion script for bash, zsh or fish, or the manual page",
    load: async () => (await import("./completion.ts")).completionCommand(() => createProgram(() => true)),
  },
  run: {
    usage: "[options] <program...>",
    summary: "start a Node program under the guard; with --when-free once its port is free",
    load: async () => (await import("./run.ts")).runCommand(),
  },
};

/** What every command takes in the same form. */
const FORMS = `Forms:
  an address  "127.0.0.1:80", "[::1]:80", "host:80", ":80" or a URL
  a list      "a,b", or its option several times
  a time      "500ms", "10s", "2m", "1h"`;

watchOutput();

/** The program; `isAsked` chooses the commands whose files are loaded. */
async function createProgram(isAsked: (name: string) => boolean): Promise<Command> {
  const program = new Command("selfconnect")
    .description("Raw TCP socket control, and everything about the TCP self-connect built on it.")
    .version(packageVersion())
    .configureOutput({ outputError: (text, write) => write(text.split("\n").map(escapeTerminal).join("\n")) })
    .showHelpAfterError("(add --help for the options and their defaults)")
    .addHelpText("after", `\n${FORMS}\n\n${exitCodeHelp()}`)
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
    .hook("preAction", async (_program, command) => {
      const { refuseOptionsAsValues, resolveNames } = await import("./arguments.ts");
      refuseOptionsAsValues(command);
      await resolveNames(command);
    })
    .enablePositionalOptions(); // The options after run's program are the program's.
  for (const [name, { usage, summary, load }] of Object.entries(COMMANDS)) {
    const command = isAsked(name) ? await load() : new Command(name).usage(usage);
    program.addCommand(command.summary(summary).copyInheritedSettings(program).exitOverride());
  }
  return program.exitOverride();
}

// Before the command there are only flags.
const [first, second] = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
const asked = first === "help" ? second : first;
const program = await createProgram((name) => name === asked);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

/** Prints what went wrong in one line, without a stack trace. Returns the exit code. */
function exitCodeOf(error: unknown): number {
  // Commander has already printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const { message, code } = error as Error & { code?: string };
  printNotice([`selfconnect: ${message}`]);
  // The library throws a TypeError for a wrong argument; here that argument came from the user.
  const isMisuse = error instanceof TypeError || error instanceof RangeError;
  return isMisuse && code?.startsWith("ERR_") ? EXIT.usage : EXIT.failed;
}
