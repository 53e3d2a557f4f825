/** What commands print: results on stdout, progress and errors on stderr. */
import readline from "node:readline";
import type { WriteStream } from "node:tty";
import { escapeJson, escapeTerminal } from "../report/escape.ts";
import type { Line, TextOptions } from "../report/terminal.ts";
import { renderText } from "../report/terminal.ts";
import { EXIT } from "./exit-codes.ts";

/** Options for text on a stream: colours where the terminal has them; NO_COLOR and FORCE_COLOR are honoured. */
export function textOptions(stream: WriteStream = process.stdout): Required<TextOptions> {
  return { colours: stream.hasColors?.() ?? false };
}

/** Prints a text that a writer of lib/report has escaped. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printLines(lines: readonly Line[]): void {
  print(renderText(lines, textOptions()));
}

/** Prints one object as JSON; an indent of 0 puts it on one line. */
export function printJson(object: unknown, indent = 2): void {
  print(escapeJson(object, indent));
}

/** Prints lines for people to stderr, because stdout may be a JSON object. */
export function printNotice(lines: readonly Line[]): void {
  console.error(renderText(lines, textOptions(process.stderr)));
}

/**
 * Exits when stdout fails: quietly if the reader has closed the pipe, else with an error. Where stdout was closed
 * before the start (`>&-`), Node has opened /dev/null in its place, as for one who wants no output.
 */
export function watchOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(process.exitCode ?? EXIT.failed);
    printNotice([`selfconnect: the result could not be written: ${error.message}`]);
    process.exit(EXIT.failed);
  });
  process.stderr.on("error", () => {}); // Lost progress must not stop the result.
}

/** How often progress is reported where it cannot be overwritten. */
const NOTE_EVERY_MS = 10_000;

/**
 * Progress lines on stderr, overwritten by the next ones. Where stderr is no terminal, the first of them is printed
 * every ten seconds: a log shows that work goes on, and a short command prints nothing.
 */
export class LiveLine implements Disposable {
  #shown = 0;
  #notedAt = performance.now();

  show(...lines: readonly string[]): void {
    if (!process.stderr.isTTY) {
      this.#note(lines[0] ?? "");
      return;
    }
    this.#clear();
    const { columns, rows } = process.stderr;
    // Lines beyond the height or width of the terminal could not be overwritten.
    const fitting = lines.slice(0, Math.max(1, (rows || 24) - 1)).map(escapeTerminal);
    this.#shown = fitting.length;
    process.stderr.write(fitting.map((line) => line.slice(0, (columns || 80) - 1)).join("\n"));
  }

  [Symbol.dispose](): void {
    if (this.#shown > 0) this.#clear();
  }

  #note(line: string): void {
    if (performance.now() - this.#notedAt < NOTE_EVERY_MS) return;
    this.#notedAt = performance.now();
    process.stderr.write(`${escapeTerminal(line)}\n`);
  }

  #clear(): void {
    if (this.#shown > 1) readline.moveCursor(process.stderr, 0, 1 - this.#shown);
    readline.cursorTo(process.stderr, 0);
    readline.clearScreenDown(process.stderr);
    this.#shown = 0;
  }
}

const INTERRUPTIONS = ["SIGINT", "SIGTERM"] as const;

/** Returns a signal that aborts at the first SIGINT or SIGTERM, so that the results so far can be printed. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of INTERRUPTIONS) process.once(signal, () => controller.abort());
  return controller.signal;
}

/** Exits at the next SIGINT or SIGTERM: a process that such a signal itself ends would leave parts of files behind. */
export function exitAtNextInterruption(): void {
  for (const signal of INTERRUPTIONS) process.once(signal, () => process.exit(EXIT.interrupted));
}
