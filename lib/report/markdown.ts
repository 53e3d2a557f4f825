/** The table that the Markdown reports share. */
import { escapeMarkdown } from "./escape.ts";

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(head.map(escapeMarkdown)),
    line(head.map(() => "---")),
    ...rows.map((cells) => line(cells.map(escapeMarkdown))),
  ];
}
