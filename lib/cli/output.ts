/** How things look on a terminal: numbers, times, colour, the live lines. */
import readline from "node:readline";
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Styled where stdout is a terminal that has colours (NO_COLOR and FORCE_COLOR are honoured), else plain. */
export function styled(style: Style, text: string): string {
  return process.stdout.hasColors?.() ? styleText(style, text) : text;
}

/** 13712.4 as "13,712". */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Milliseconds as "205 ms", "4.1 s", "3.9 h". */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}

/** Lines on stderr that are written over while something runs; nothing at all where stderr is no terminal. */
export class LiveLine implements Disposable {
  #shown = 0;

  show(...lines: readonly string[]): void {
    if (!process.stderr.isTTY) return;
    this.#clear();
    const { columns, rows } = process.stderr;
    // What is taller or wider than the terminal could not be written over.
    const fitting = lines.slice(0, Math.max(1, (rows || 24) - 1));
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

/** The exit code after Ctrl-C, as a shell tells it: 128 and SIGINT's number. */
export const INTERRUPTED = 130;

/** Aborts at the first Ctrl-C (or SIGTERM), so that what there is can be printed. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
