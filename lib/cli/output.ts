/** How things look on a terminal: numbers, times, colour, the one live line. */
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

/** One line on stderr that is written over while something runs; nothing at all where stderr is no terminal. */
export class LiveLine implements Disposable {
  show(text: string): void {
    if (!process.stderr.isTTY) return;
    this.#clear();
    process.stderr.write(text.slice(0, (process.stderr.columns ?? 80) - 1));
  }

  [Symbol.dispose](): void {
    if (process.stderr.isTTY) this.#clear();
  }

  #clear(): void {
    readline.cursorTo(process.stderr, 0);
    readline.clearLine(process.stderr, 0);
  }
}

/** Aborts at the first Ctrl-C (or SIGTERM), so that what there is can be printed. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
