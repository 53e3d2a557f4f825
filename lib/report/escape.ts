/** One escaper for each language that is written: what came from a guest, a process or a file stays text in it. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** For HTML and XML. XML 1.0 has no place for control characters, not even as references. */
export function escapeMarkup(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
    .replaceAll(/[\p{Cc}\ufffe\uffff]/gu, " ");
}

/** For Markdown: no cell of a table ends, and no tag and no link begins. */
export function escapeMarkdown(text: string): string {
  return text
    .replaceAll(/\p{Cc}+/gu, " ")
    .replaceAll(/[\\|<>[\]]/g, (character) => `\\${character}`)
    .trim();
}

/** For a field of CSV (RFC 4180). A spreadsheet would run what begins like a formula: an apostrophe makes it text. */
export function escapeCsv(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** For the value of a label in OpenMetrics. People look at metrics with a terminal too. */
export function escapeLabel(text: string): string {
  return escapeTerminal(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"');
}

/** Control characters, what turns the direction of writing, other ends of a line, and halves of a character. */
const COMMANDS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029\p{Cs}]/gu;

/** For a terminal: what would move its cursor, change its colours or end the line is shown as "\x1b" or "\u202e". */
export function escapeTerminal(text: string): string {
  return text.replaceAll(COMMANDS, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : unicodeEscape(character);
  });
}

/** JSON that a terminal may show: the same object, for JSON.parse turns these escapes back. */
export function escapeJson(value: unknown, indent: number): string {
  return JSON.stringify(value, null, indent).replaceAll(COMMANDS, (character) =>
    character === "\n" ? character : unicodeEscape(character),
  );
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
