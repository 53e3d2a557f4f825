/** What commands print: results on stdout, progress and errors on stderr. */
import readline from "node:readline";
import type { Never } from "../ports/index.ts";
import { escapeJson, escapeTerminal } from "../report/escape.ts";
import type { Line, TextOptions } from "../report/terminal.ts";
import { paint, renderText } from "../report/terminal.ts";
import { EXIT } from "./exit-codes.ts";

/** Whether stdout is a terminal that has colours: NO_COLOR and FORCE_COLOR are honoured. */
export function textOptions(): Required<TextOptions> {
  return { colours: process.stdout.hasColors?.() ?? false };
}

/** A text that a writer of lib/report has escaped. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printLines(lines: readonly Line[]): void {
  print(renderText(lines, textOptions()));
}

/** One object; with an indent of 0 on one line. */
export function printJson(object: unknown, indent = 2): void {
  print(escapeJson(object, indent));
}

/** For people, on stderr: stdout may be an object. */
export function printNotice(lines: readonly Line[]): void {
  console.error(renderText(lines, { colours: process.stderr.hasColors?.() ?? false }));
}

export function neverLine({ because, instead }: Never): Line {
  return [paint("yellow", "never"), `, because ${because}. Instead: ${instead}.`];
}

/** A result that nobody gets is an error; a reader that has closed the pipe has had enough. */
export function watchOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(process.exitCode ?? EXIT.failed);
    printNotice([`selfconnect: the result could not be written: ${error.message}`]);
    process.exit(EXIT.failed);
  });
  process.stderr.on("error", () => {}); // Nobody reads the progress: the result is still to come.
}

/** Lines on stderr that are written over while something runs; nothing at all where stderr is no terminal. */
export class LiveLine implements Disposable {
  #shown = 0;

  show(...lines: readonly string[]): void {
    if (!process.stderr.isTTY) return;
    this.#clear();
    const { columns, rows } = process.stderr;
    // What is taller or wider than the terminal could not be written over.
    const fitting = lines.slice(0, Math.max(1, (rows || 24) - 1)).map(escapeTerminal);
    this.#shown = fitting.length;
    process.stderr.write(fitting.map((line) => line.slice(0, (columns || 80) - 1)).join("\n"));
  }

  [Symbol.dispose](): void {
    if (this.#shown > 0) this.#clear();
  }

  #clear(): void {
    if (this.#shown > 1) readline.moveCursor(process.stderr, 0, 1 - this.#shown);
    readline.cursorTo(process.stderr, 0);
    readline.clearScreenDown(process.stderr);
    this.#shown = 0;
  }
}

/** Aborts at the first Ctrl-C (or SIGTERM), so that what there is can be printed. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
