/** Text for a terminal: writers build lines of pieces; renderText escapes, colours and joins them. */
import { styleText } from "node:util";
import { escapeTerminal } from "./escape.ts";

export type Style = Parameters<typeof styleText>[0];

/** A part of a line. The style is a field, because escape sequences inside the text are escaped as hostile. */
export type Piece = string | { readonly style: Style; readonly text: string };
export type Line = string | readonly Piece[];

/** Options of every text writer. */
export interface TextOptions {
  /** Whether to write colours and bold, as ANSI escape sequences. */
  readonly colours?: boolean;
}

/** Returns a piece with a style. */
export function paint(style: Style, text: string): Piece {
  return { style, text };
}

/** Joins the lines into one text without a final newline. */
export function renderText(lines: readonly Line[], { colours = false }: TextOptions = {}): string {
  return lines
    .map((line) =>
      piecesOf(line)
        .map((piece) => renderPiece(piece, colours))
        .join(""),
    )
    .join("\n");
}

function renderPiece(piece: Piece, colours: boolean): string {
  if (typeof piece === "string") return escapeTerminal(piece);
  const text = escapeTerminal(piece.text);
  // The caller decides about colours: styleText must not check stdout.
  return colours ? styleText(piece.style, text, { validateStream: false }) : text;
}

/** Puts `space` before each line that is not empty. */
export function indent(space: string, lines: readonly Line[]): Line[] {
  return lines.map((line) => (line === "" ? "" : [space, ...piecesOf(line)]));
}

/** Aligns rows in columns as wide as their widest cells; `align` has "l" or "r" for each column. */
export function tableLines(rows: readonly (readonly Piece[])[], align: string, gap = 2): Line[] {
  const widths = [...align].map((_, at) => Math.max(0, ...rows.map((row) => widthOf(row[at] ?? ""))));
  return rows.map((row) => {
    const last = row.findLastIndex((cell) => widthOf(cell) > 0);
    return row.slice(0, last + 1).flatMap((cell, at) => {
      const space = " ".repeat(widths[at]! - widthOf(cell));
      const between = at === 0 ? "" : " ".repeat(gap);
      if (align[at] === "r") return [between + space, cell];
      return at === last ? [between, cell] : [between, cell, space];
    });
  });
}

function piecesOf(line: Line): readonly Piece[] {
  return typeof line === "string" ? [line] : line;
}

function widthOf(piece: Piece): number {
  return [...escapeTerminal(typeof piece === "string" ? piece : piece.text)].length;
}
