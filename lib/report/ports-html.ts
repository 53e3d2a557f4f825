/** Observed local ports as one HTML page that loads nothing from a network and is complete without its script. */

import { environment } from "../kernel/host.ts";
import type { Fingerprint } from "../ports/fingerprint.ts";
import type { Observation } from "../ports/sample.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeMarkup } from "./escape.ts";
import { count } from "./numbers.ts";
import { figureHtml, pageHtml, SCRIPT, tableHtml } from "./page.ts";
import { plotSvg } from "./plot-svg.ts";
import { portsFacts } from "./ports.ts";

/** More dots than this merge into one block at every zoom. */
const MOST_DOTS = 6000;
const WIDE_PLOTS =
  "\n.plots.wide { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }\n";

/** Observed ports as one HTML page: plots, the fingerprint, the raw ports. */
export function portsHtml(observation: Observation, print: Fingerprint): string {
  const { method, ports, peers } = observation;
  const { kernel, node, version } = environment();
  const about = `${count(ports.length)} attempts by ${method} to ${formatAddress(peers[0]!)}`;
  const rows = portsFacts(print).map(
    ([name, value]) => `<tr><th scope="row">${escapeMarkup(name)}</th><td>${escapeMarkup(value)}</td></tr>`,
  );
  const title = "How this host picks local ports";
  const body = `<header><h1>${escapeMarkup(title)}</h1>
<p>${escapeMarkup(verdictText(print))}</p>
<p class="dim">${escapeMarkup(`${about}; Linux ${kernel}, Node ${node}, selfconnect ${version}`)}</p></header>
<main>
<section class="plots wide">${figures(ports, peers[0]!.port)}</section>
${drawnNote(ports)}
<section><h2>Fingerprint</h2><div class="scroll" tabindex="0" role="region" aria-label="Fingerprint">
<table><tbody>${rows.join("\n")}</tbody></table></div></section>
${stepSection(print)}
${rawSection(ports)}
</main>`;
  return pageHtml({ title, body, style: WIDE_PLOTS, script: SCRIPT });
}

function verdictText({ verdict }: Fingerprint): string {
  const { name, family, kernels, resembles, reason, runnerUp } = verdict;
  if (reason !== null) return `Unknown: ${reason}`;
  const kernelText = kernels ? `, as in ${kernels}` : resembles ? `; resembles ${resembles}` : "";
  const odds = runnerUp ? `; 10^${count(runnerUp.oddsLog10)} times as likely as ${runnerUp.name}` : "";
  return `${family}${kernelText}; its name here is ${name}${odds}`;
}

function figures(ports: Uint16Array, peerPort: number): string {
  const drawn = Array.from(ports.subarray(0, MOST_DOTS));
  const walk = { plot: "walk", unit: "port", values: drawn } as const;
  const steps = drawn.slice(1).map((port, index) => port - drawn[index]!);
  const histogram = { plot: "steps", unit: "ports", values: steps } as const;
  return [
    figureHtml("Port over attempt", plotSvg(walk, "Port over attempt", [walk], peerPort)),
    figureHtml("Steps to the next port", plotSvg(histogram, "Steps to the next port", [histogram])),
  ].join("\n");
}

function drawnNote({ length }: Uint16Array): string {
  if (length <= MOST_DOTS) return "";
  const shown = `the first ${count(MOST_DOTS)} of ${count(length)} attempts`;
  return `<p class="dim">The plots show ${shown}; the tables count all.</p>`;
}

/** The steps of all attempts as a table of numbers. */
function stepSection({ steps }: Fingerprint): string {
  const shown = [...steps].slice(0, 32).sort((a, b) => a.step - b.step);
  const rows = shown.map(({ step, count: times }) => [`+${step}`, count(times)]);
  return `<section class="raw"><h2>Steps</h2>${tableHtml(["step", "times"], rows)}</section>`;
}

function rawSection(ports: Uint16Array): string {
  const shown = ports.subarray(0, MOST_DOTS);
  return `<section class="raw"><h2>Raw ports</h2>
<details><summary>${count(shown.length)} of ${count(ports.length)}, in order</summary>
<pre>${shown.join(" ")}</pre></details></section>`;
}
