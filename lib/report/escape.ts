/** One escaper per output language. Text from a guest, a process or a file stays text and is never interpreted. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** For HTML and XML. XML 1.0 forbids control characters, even as references. */
export function escapeMarkup(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
    .replaceAll(/[\p{Cc}\ufffe\uffff]/gu, " ");
}

/** For Markdown: the text cannot end a table cell or begin a tag or a link. */
export function escapeMarkdown(text: string): string {
  return text
    .replaceAll(/\p{Cc}+/gu, " ")
    .replaceAll(/[\\|<>[\]]/g, (character) => `\\${character}`)
    .trim();
}

/** For a CSV field (RFC 4180). An apostrophe in front stops a spreadsheet from running the text as a formula. */
export function escapeCsv(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** For a label value in OpenMetrics. Escapes for a terminal as well, because people print metrics there. */
export function escapeLabel(text: string): string {
  return escapeTerminal(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"');
}

/** Control characters, bidirectional controls, other line terminators, and lone surrogates. */
const COMMANDS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029\p{Cs}]/gu;

/** For a terminal: writes characters that move the cursor, change colours or end the line as "\x1b" or "\u202e". */
export function escapeTerminal(text: string): string {
  return text.replaceAll(COMMANDS, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : unicodeEscape(character);
  });
}

/** JSON that is safe to print on a terminal. JSON.parse returns the same object. */
export function escapeJson(value: unknown, indent: number): string {
  return JSON.stringify(value, null, indent).replaceAll(COMMANDS, (character) =>
    character === "\n" ? character : unicodeEscape(character),
  );
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
