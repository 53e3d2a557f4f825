/** Text for HTML: everything that came from a guest or a file goes through here. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!).replaceAll(/\p{Cc}/gu, " ");
}

/** XML 1.0 has no place for control characters, not even as references. */
export function escapeXml(text: string): string {
  return text
    .replaceAll(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "·")
    .replaceAll(/[&<>"]/g, (character) => ENTITIES[character]!);
}
