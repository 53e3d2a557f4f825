/** The parts of which a page for people is made. Each escapes its text. */
import { escapeMarkup } from "./escape.ts";

/** A section under its heading; the body is HTML. */
export function sectionHtml(title: string, body: string): string {
  return `<section><h2>${escapeMarkup(title)}</h2>
${body}</section>`;
}

/** A paragraph of text. */
export function paragraph(text: string): string {
  return `<p>${escapeMarkup(text)}</p>`;
}

/** Lines as a terminal shows them; they scroll where they are too wide. */
export function codeBlock(lines: readonly string[]): string {
  return `<pre class="code" tabindex="0">${lines.map(escapeMarkup).join("\n")}</pre>`;
}

/** Commands, and lines that may break. */
export function commandBlock(lines: readonly string[]): string {
  return `<pre class="code command">${lines.map(escapeMarkup).join("\n")}</pre>`;
}
