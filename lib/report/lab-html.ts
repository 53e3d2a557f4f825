/** Lab results as one HTML page that loads nothing from a network and is complete without its script. */
import { createHash } from "node:crypto";
import type { Samples } from "../lab/experiment.ts";
import { COUNTED } from "../lab/experiment.ts";
import type { Finding, LabKernel, LabResult } from "../lab/lab.ts";
import { escapeMarkup } from "./escape.ts";
import type { Fold } from "./lab-fold.ts";
import { foldKernels } from "./lab-fold.ts";
import type { Cell, Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import { waitsSection } from "./lab-waits.ts";
import { count, counterName } from "./numbers.ts";
import { figureHtml, pageHtml, SCRIPT, scrollableTable } from "./page.ts";
import { plotSvg } from "./plot-svg.ts";

const TITLE = "The same questions to many kernels";

/** A lab as one HTML page: the table, plots of the samples, and every raw count. */
export function labHtml(result: LabResult): string {
  const all = rowsOfResult(result);
  const folded = foldKernels(all);
  const rows = folded?.rows ?? all;
  const body = `<header>${headText(result)}</header>
<main>
${contradictionSection(rows)}
${tableSection(rows, folded !== null)}${folded ? "" : waitsSection(result)}
${plotSections(rows)}
${folded ? foldSections(folded.folds) : kernelSection(result.kernels)}
${rawSection(rows)}
</main>`;
  return pageHtml({ title: TITLE, body, script: SCRIPT });
}

function headText({ startedAt, endedAt, command, version, commit, trials }: LabResult): string {
  const from = commit ? `, commit ${escapeMarkup(commit.slice(0, 12))}` : "";
  const until = endedAt ? `to <time>${escapeMarkup(endedAt)}</time>` : "and not finished yet";
  return `<h1>${TITLE}</h1>
<p class="dim">Local ports and self-connects of TCP, measured inside each kernel
by selfconnect ${escapeMarkup(version)}${from},
${trials} trials of what is random, from <time>${escapeMarkup(startedAt)}</time> ${until}.</p>
<p class="dim"><code>${escapeMarkup(command || "selfconnect lab")}</code></p>`;
}

function contradictionSection(rows: readonly Row[]): string {
  const found = contradictions(rows);
  if (found.length === 0) return "<p>No finding contradicts what was expected of its kernel.</p>";
  const items = found.map(({ row, cell }) => {
    const { answer = "", expected } = cell.finding!;
    return `<li>${escapeMarkup(kernelTitle(cell.kernel))}, <a href="#${rawId(cell)}">${escapeMarkup(row.name)}</a>:
<b>${escapeMarkup(answer)}</b>; expected ${escapeMarkup(expected ?? "")}</li>`;
  });
  return `<section class="contradictions"><h2>Contradictions</h2><ul>${items.join("\n")}</ul></section>`;
}

/** What the page says above a table whose columns are groups of kernels. */
const FOLDED = `Kernels with the same answers share a column, and questions with different answers come first.
Figures, plots and raw counts are those of the first kernel of each column.`;

function tableSection(rows: readonly Row[], isFolded: boolean): string {
  const kernels = rows[0]?.cells.map(({ kernel }) => kernel) ?? [];
  const heads = kernels.map((kernel) => `<th scope="col">${escapeMarkup(kernelTitle(kernel))}</th>`);
  const lines = rows.map(
    ({ name, question, cells }) =>
      `<tr><th scope="row"><b>${escapeMarkup(name)}</b>${escapeMarkup(question)}</th>` +
      `${cells.map(cellHtml).join("")}</tr>`,
  );
  return `<section><h2 id="table">Questions and kernels</h2>
<p class="dim">≠ differs from most of its row; ✗ contradicts what was expected.
Every answer leads to its raw counts.${isFolded ? `\n${FOLDED}` : ""}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="table">
<table id="questions"><thead><tr><th scope="col">question</th>${heads.join("")}</tr></thead>
<tbody>
${lines.join("\n")}
</tbody></table></div></section>`;
}

function cellHtml(cell: Cell): string {
  const { finding, words, differs, contradicts } = cell;
  if (!finding) return `<td class="dim">${escapeMarkup(words)}</td>`;
  const kind = contradicts ? "wrong" : differs ? "differs" : "";
  const mark = contradicts ? '<span class="kind">✗ </span>' : differs ? '<span class="kind">≠ </span>' : "";
  const figure =
    finding.figure && finding.answer !== COUNTED
      ? `<span class="figure">${escapeMarkup(finding.figure)}</span>`
      : "";
  const expected = contradicts
    ? `<span class="expected">expected ${escapeMarkup(finding.expected ?? "")}</span>`
    : "";
  return `<td class="${kind}">${mark}<a href="#${rawId(cell)}">${escapeMarkup(words)}</a>${figure}${expected}</td>`;
}

function plotSections(rows: readonly Row[]): string {
  return rows
    .filter(({ cells }) => cells.some(hasSamples))
    .map(({ name, question, cells }) => {
      const drawn = cells.filter(hasSamples);
      const samples = drawn.map(({ finding }) => finding!.samples!);
      const figures = drawn.map((cell) => cellFigure(cell, samples));
      return `<section><h2>${escapeMarkup(name)}</h2><p>${escapeMarkup(question)}</p>
<div class="plots">${figures.join("\n")}</div></section>`;
    })
    .join("\n");
}

function hasSamples({ finding }: Cell): boolean {
  return (finding?.samples?.values.length ?? 0) > 0;
}

function cellFigure(cell: Cell, row: readonly Samples[]): string {
  const title = kernelTitle(cell.kernel);
  const svg = plotSvg(cell.finding!.samples!, `${title}, ${cell.finding!.experiment}`, row);
  return figureHtml(title, svg);
}

/** The kernels behind each column, folded away. */
function foldSections(folds: readonly Fold[]): string {
  const sections = folds.map(
    ({ title, kernels }) =>
      `<details><summary>${escapeMarkup(title)}</summary>${kernelTable(title, kernels)}</details>`,
  );
  return `<section><h2>Kernels</h2>${sections.join("\n")}</section>`;
}

function kernelSection(kernels: readonly LabKernel[]): string {
  return `<section><h2>Kernels</h2>${kernelTable("Kernels", kernels)}</section>`;
}

function kernelTable(title: string, kernels: readonly LabKernel[]): string {
  const lines = kernels.map(({ id, machine, isEmulated, missing, environment }) => {
    const facts = environment
      ? [environment.kernel, environment.ephemeralRange, environment.node, String(environment.cpus)]
      : [missing ?? "no answer", "", "", ""];
    return [id, machine + (isEmulated ? ", emulated" : ""), ...facts];
  });
  const heads = ["kernel", "machine", "release", "ephemeral range", "Node", "CPUs"];
  return scrollableTable(title, heads, lines);
}

function rawSection(rows: readonly Row[]): string {
  const sections = rows.flatMap(({ name, cells }) =>
    cells.flatMap((cell) => (cell.finding ? [rawHtml(name, cell, cell.finding)] : [])),
  );
  return `<section class="raw"><h2>Raw counts</h2>${sections.join("\n")}</section>`;
}

function rawHtml(name: string, cell: Cell, finding: Finding): string {
  const lines = Object.entries({ ...finding.counts, elapsedMs: finding.elapsedMs }).map(
    ([name, value]) => `<tr><td>${escapeMarkup(counterName(name))}</td><td>${count(value)}</td></tr>`,
  );
  const { samples } = finding;
  const values = samples
    ? `<details><summary>${samples.values.length} samples, ${escapeMarkup(samples.unit)}</summary>` +
      `<pre>${samples.values.join(" ")}</pre></details>`
    : "";
  return `<section id="${rawId(cell)}"><h3>${escapeMarkup(kernelTitle(cell.kernel))}, ${escapeMarkup(name)}</h3>
<p>${escapeMarkup(cell.words)} <span class="dim">expected: ${escapeMarkup(finding.expected ?? "unknown")}</span></p>
<table>${lines.join("")}</table>${values}</section>`;
}

/** An id of letters and digits only, whatever the kernel's name; the number distinguishes similar names. */
function rawId({ kernel, finding }: Cell): string {
  const name = `${kernel.id}\n${finding!.experiment}`;
  return `raw-${createHash("sha256").update(name).digest("hex").slice(0, 12)}`;
}
