/** A page of tables, made once and written as text, HTML, Markdown or CSV. */
import { escapeCsv, escapeMarkdown, escapeMarkup } from "./escape.ts";
import { markdownTable } from "./markdown.ts";
import { pageHtml, scrollableTable } from "./page.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText, tableLines } from "./terminal.ts";

/** What every format of a result shows. */
export interface Sheet {
  /** The heading of all. */
  readonly title: string;
  /** What was measured where, a sentence each. */
  readonly about: readonly string[];
  /** The tables, in order. */
  readonly sections: readonly SheetSection[];
  /** The result of all in one sentence. */
  readonly end: string;
  /** The same for programs: a line each, the first has the names of the columns. Numbers are not rounded. */
  readonly csv: readonly (readonly string[])[];
}

/** One table. */
export interface SheetSection {
  /** The heading of the table. */
  readonly title: string;
  /** The names of its columns. */
  readonly head: readonly string[];
  /** Its rows: a text for each column. */
  readonly rows: readonly (readonly string[])[];
  /** An SVG that shows the same; "" without one. */
  readonly picture: string;
  /** Whether a terminal leaves it out, because `end` counts its rows. */
  readonly isDetail: boolean;
}

/** A sheet for a terminal. */
export function sheetText({ title, about, sections, end }: Sheet, options: TextOptions = {}): string {
  const shown = sections.filter(({ isDetail, rows }) => !isDetail && rows.length > 0);
  const tables = shown.flatMap(({ title: name, head, rows }): Line[] => [
    "",
    [paint("bold", name)],
    ...indent("  ", tableLines([head, ...rows], "l".repeat(head.length))),
  ]);
  const lines: Line[] = [[paint("bold", title)], ...about, ...tables, ...(end === "" ? [] : ["", end])];
  return renderText(lines, options);
}

/** A sheet as one HTML page without external resources. */
export function sheetHtml({ title, about, sections, end }: Sheet): string {
  const tables = sections
    .filter(({ rows }) => rows.length > 0)
    .map(({ title: name, head, rows, picture }) => {
      const table = scrollableTable(name, head, rows);
      return `<section><h2>${escapeMarkup(name)}</h2>\n${picture}\n${table}</section>`;
    });
  const words = about.map((line) => `<p class="dim">${escapeMarkup(line)}</p>`);
  const body = `<header><h1>${escapeMarkup(title)}</h1>
${words.join("\n")}${end === "" ? "" : `\n<p>${escapeMarkup(end)}</p>`}</header>
<main>
${tables.join("\n")}
</main>`;
  return pageHtml({ title, body, style: STYLE });
}

const STYLE = `
.effects { display: block; width: 100%; max-width: 640px; height: auto; margin: .5rem 0; }
.effects text { font: 12px system-ui, sans-serif; fill: var(--dim); } .effects text.name { fill: currentColor; }
.rule { stroke: var(--line); } .one { stroke: var(--dim); stroke-dasharray: 3 3; }
.span { stroke: var(--accent); stroke-width: 3; } .middle { fill: var(--accent); }
.worse .span { stroke: var(--joined); } .worse .middle { fill: var(--joined); }
@media (max-width: 40rem) { .scroll th, .scroll td { min-width: 0; padding: .45rem .4rem; } }
`;

/** A sheet as Markdown. */
export function sheetMarkdown({ title, about, sections, end }: Sheet): string {
  const tables = sections
    .filter(({ rows }) => rows.length > 0)
    .flatMap(({ title: name, head, rows }) => [
      "",
      `## ${escapeMarkdown(name)}`,
      "",
      ...markdownTable(head, rows),
    ]);
  const words = about.map((line) => `- ${escapeMarkdown(line)}`);
  const last = end === "" ? [] : ["", escapeMarkdown(end)];
  return `${[`# ${escapeMarkdown(title)}`, "", ...words, ...last, ...tables].join("\n")}\n`;
}

/** A sheet as CSV (RFC 4180). */
export function sheetCsv({ csv }: Sheet): string {
  return csv.map((line) => `${line.map(escapeCsv).join(",")}\r\n`).join("");
}
