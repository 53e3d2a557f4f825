/** The page, style and script that the HTML reports share. A page loads nothing from a network. */
import { createHash } from "node:crypto";
import { escapeMarkup } from "./escape.ts";

export interface PageParts {
  readonly title: string;
  /** HTML in which the caller has escaped all foreign text. */
  readonly body: string;
  /** CSS added to the style of all pages. */
  readonly style?: string;
  readonly script?: string;
}

/** A whole page. Its policy loads nothing and runs no other script, even if escaping fails somewhere. */
export function pageHtml({ title, body, style = "", script = "" }: PageParts): string {
  const look = STYLE + style;
  const run = script && `<script>${script}</script>\n`;
  const scripts = script ? hash(script) : "'none'";
  const policy = `default-src 'none'; style-src ${hash(look)}; script-src ${scripts}; img-src data:`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>${escapeMarkup(title)}</title>
<style>${look}</style>
</head>
<body>
${body}
${run}</body>
</html>
`;
}

/** A table of texts. The first cell of each row is its header. */
export function tableHtml(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const heads = head.map((text) => `<th scope="col">${escapeMarkup(text)}</th>`);
  const lines = rows.map(([first = "", ...rest]) => {
    const cells = rest.map((text) => `<td>${escapeMarkup(text)}</td>`);
    return `<tr><th scope="row">${escapeMarkup(first)}</th>${cells.join("")}</tr>`;
  });
  return `<table><thead><tr>${heads.join("")}</tr></thead>
<tbody>${lines.join("\n")}</tbody></table>`;
}

/** A table that may be wider than the page: it scrolls within itself, by the keyboard too. */
export function scrollableTable(
  label: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const name = escapeMarkup(label);
  return `<div class="scroll" tabindex="0" role="region" aria-label="${name}">${tableHtml(head, rows)}</div>`;
}

function hash(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --paper: #fff; --line: #d0d7de;
  --soft: #f6f8fa;
  --differs: #fff4d6; --wrong: #ffe0de; --accent: #0b5cad; --joined: #c93c37;
  --shade: #8c959f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9aa5b1; --paper: #11151a; --line: #343b44;
  --soft: #1a2027; --differs: #3b3115; --wrong: #4a1d1c; --accent: #6cb6ff; --joined: #ff7b72;
  --shade: #57606a; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 1rem; max-width: 110rem; }
h1 { font-size: 1.5rem; margin: .2rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { max-width: 75ch; margin: .4rem 0; } .dim { color: var(--dim); } code { font: .9em ui-monospace, monospace;
  overflow-wrap: anywhere; }
a { color: var(--accent); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
/* A shadow at each side on which there is more to scroll to. */
.scroll, pre.code { background:
  linear-gradient(90deg, var(--paper) 30%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(270deg, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--shade), transparent) right / .8rem 100% no-repeat scroll; }
.scroll:focus-visible, a:focus-visible, button:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 0; font-size: .86rem; } .scroll table { width: 100%; }
th, td { padding: .45rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { background: var(--soft); } tbody th { background: var(--paper); font-weight: 400; min-width: 13rem; }
.scroll tbody th, .scroll thead th:first-child { position: sticky; left: 0; z-index: 1;
  border-right: 1px solid var(--line); }
tbody th { overflow-wrap: anywhere; } tbody th b { display: block; } td { min-width: 9rem; }
td .figure { display: block; color: var(--dim);
  font-size: .92em; }
td.differs { background: var(--differs); } td.wrong { background: var(--wrong); } td a { color: inherit;
  text-decoration-color: var(--line); }
.kind { font-weight: 600; } .expected { display: block; font-size: .92em; }
.contradictions { border-left: 4px solid #c93c37; padding-left: .8rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: .8rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
figcaption { font-size: .85rem; font-weight: 600; }
svg.plot { width: 100%; height: auto; display: block; touch-action: pan-y; } svg text { font: 11px system-ui,
  sans-serif; fill: var(--dim); }
.axis { fill: none; stroke: var(--dim); } .grid { stroke: var(--line); stroke-width: .5; } .line { fill: none;
  stroke: var(--accent); stroke-width: 1.6; }
.bar, .dot { fill: var(--accent); } .joined { fill: var(--joined); }
.peer { fill: none; stroke: var(--joined); stroke-width: .8; stroke-dasharray: 3 2; }
button { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line);
  border-radius: 4px; padding: 0 .45rem; cursor: pointer; }
th button { display: block; margin-top: .2rem; font-size: .85em; } .zoom { float: right; display: flex;
  gap: .25rem; }
details pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .75rem; max-height: 12rem;
  overflow: auto; }
.raw table { margin: .3rem 0 .8rem; } .raw td, .raw th { min-width: 0; padding: .15rem .6rem; }
.raw td + td { text-align: right; font-variant-numeric: tabular-nums; }
:target { outline: 2px solid var(--accent); outline-offset: 4px; border-radius: 2px; }
@media (max-width: 40rem) { .scroll tbody th { min-width: 9rem; max-width: 9rem; } }
@media print { body { max-width: none; font-size: 9px; } .scroll { overflow: visible; border: 0; } button,
  .zoom { display: none; }
  td, tbody th { min-width: 0; padding: .2rem; } thead { display: table-header-group; } tr, figure,
  .raw section { break-inside: avoid; } a { text-decoration: none; }
  .scroll tbody th { position: static; } }
`;

/** Adds sorting and zooming. Without the script the page has the same content. */
export const SCRIPT = `
"use strict";
const table = document.querySelector("#questions");
if (table) {
  const body = table.tBodies[0], original = [...body.rows];
  const sorted = (column) => original.slice().sort((a, b) =>
    a.cells[column].innerText.trim().localeCompare(b.cells[column].innerText.trim(), "en", { numeric: true }));
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "sort";
    button.setAttribute("aria-label", "Sort by " + cell.textContent.trim());
    button.addEventListener("click", () => {
      const isSorted = cell.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (!isSorted) cell.setAttribute("aria-sort", "ascending");
      body.replaceChildren(...(isSorted ? original : sorted(column)));
    });
    cell.append(button);
  });
}
for (const svg of document.querySelectorAll("figure svg.plot")) {
  const figure = svg.closest("figure");
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  let box = { x: 0, y: 0, scale: 1 }, drag = null;
  const show = () => {
    const [w, h] = [width / box.scale, height / box.scale];
    box.x = Math.min(Math.max(0, box.x), width - w);
    box.y = Math.min(Math.max(0, box.y), height - h);
    svg.setAttribute("viewBox", [box.x, box.y, w, h].join(" "));
  };
  const zoom = (factor, x = 0.5, y = 0.5) => {
    const scale = Math.min(16, Math.max(1, box.scale * factor));
    box.x += width * x * (1 / box.scale - 1 / scale);
    box.y += height * y * (1 / box.scale - 1 / scale);
    box.scale = scale;
    show();
  };
  const tools = document.createElement("span");
  tools.className = "zoom";
  const name = figure.querySelector("figcaption").textContent.trim();
  const actions = [["+", "Zoom in", () => zoom(2)], ["-", "Zoom out", () => zoom(0.5)],
    ["1:1", "Show all", () => { box = { x: 0, y: 0, scale: 1 }; show(); }]];
  for (const [text, label, act] of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", label + ": " + name);
    button.addEventListener("click", act);
    tools.append(button);
  }
  figure.prepend(tools);
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && box.scale === 1) return;
    event.preventDefault();
    const { left, top, width: w, height: h } = svg.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - left) / w, (event.clientY - top) / h);
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointerup", () => { drag = null; });
  svg.addEventListener("pointermove", (event) => {
    if (!drag || box.scale === 1) return;
    const factor = width / box.scale / svg.getBoundingClientRect().width;
    box.x -= (event.clientX - drag.x) * factor;
    box.y -= (event.clientY - drag.y) * factor;
    drag = { x: event.clientX, y: event.clientY };
    show();
  });
}
`;

/** A picture with its caption, and a sentence that says what to look for. */
export function figureHtml(caption: string, svg: string, note = ""): string {
  if (svg === "") return "";
  const words = note === "" ? "" : `<span>${escapeMarkup(note)}</span>`;
  return `<figure><figcaption>${escapeMarkup(caption)}${words}</figcaption>${svg}</figure>`;
}
