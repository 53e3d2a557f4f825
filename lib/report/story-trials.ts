/** Several trials of a run, for the page of a story: a table, their histogram, and the exact distribution. */
import type { ReconnectResult } from "../loop/reconnect.ts";
import { summarizeTrials } from "../loop/reconnect.ts";
import { count, duration } from "./numbers.ts";
import { figureHtml, scrollableTable } from "./page.ts";
import type { ReconnectTrials } from "./reconnect.ts";
import { barsOf } from "./reconnect.ts";
import { histogramSvg } from "./reconnect-histogram.ts";
import { paragraph, sectionHtml } from "./story-parts.ts";

/** The trials that count, and how they were made. */
export interface StoryTrials extends ReconnectTrials {
  /** Each trial, in order. */
  readonly results: readonly Pick<ReconnectResult, "verdict" | "attempts" | "elapsedMs">[];
}

const COLUMNS = ["min", "median", "mean", "p90", "max"] as const;

/** The section; "" for a story of one trial. */
export function trialsSection(trials: StoryTrials | null): string {
  if (!trials) return "";
  const { results, starts, warmUp, law } = trials;
  const { attempts, elapsedMs } = summarizeTrials(results);
  const rows =
    attempts && elapsedMs
      ? [
          ["attempts", ...COLUMNS.map((column) => count(attempts[column]))],
          ["time", ...COLUMNS.map((column) => duration(elapsedMs[column]))],
        ]
      : [];
  const before = warmUp > 0 ? ` ${count(warmUp)} trials before them do not count.` : "";
  const began =
    starts === "cold"
      ? "Each connected to a port of its own, so that each began at a random place of the kernel's walk."
      : "Each began where the one before had ended, so that they are no independent samples.";
  const note = law
    ? `The lines are what the exact distribution expects (mean ${count(law.wait.mean)}); ` +
      `Kolmogorov-Smirnov test: p = ${law.test.p.toFixed(3)}.`
    : "";
  return sectionHtml(
    "All trials",
    `${paragraph(`This run made ${count(results.length)} trials; this page is about the first.${before} ${began}`)}
${rows.length > 0 ? `<div class="numbers">${scrollableTable("Trials", ["", ...COLUMNS], rows)}</div>` : ""}
<div class="plots">${figureHtml("Trials by their number of attempts", histogramSvg(barsOf(results, law)), note)}</div>`,
  );
}
