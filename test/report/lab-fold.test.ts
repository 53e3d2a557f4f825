/** A lab of hundreds of kernels: those that agree share a column, differences come first, the hosts are behind it. */
import { describe, expect, it } from "vitest";
import type { Finding, LabKernel, LabResult } from "../../lib/lab/lab.ts";
import { foldKernels } from "../../lib/report/lab-fold.ts";
import { labHtml } from "../../lib/report/lab-html.ts";
import { labMarkdown } from "../../lib/report/lab-markdown.ts";
import { rowsOfResult } from "../../lib/report/lab-table.ts";
import { labText } from "../../lib/report/lab-text.ts";
import { replyOf } from "../support/fleet.ts";

const VERSION = "0.1.0";

/** A fleet of three releases, one host that answers otherwise, and two that could not be asked. */
function fleetResult(count: number): LabResult {
  const releases = ["6.1.0", "6.1.0", "6.12.0", "5.10.0"];
  const kernels: LabKernel[] = [];
  const findings: Finding[] = [];
  const ask = (id: string, experiment: string, words: string, kernel: string, expected: string | null) => {
    const order = { version: VERSION, run: "", kind: "experiment", experiment, trials: 1 } as const;
    const reply = replyOf(order, words, kernel);
    if (reply.kind !== "finding") throw new Error("it is no finding");
    const isAsExpected = expected === null ? null : words === expected;
    findings.push({ kernel: id, ...reply.finding, expected, isAsExpected });
    return reply.environment;
  };
  for (let at = 0; at < count; at++) {
    const id = `web-${at}`;
    const kernel = releases[at % releases.length]!;
    ask(id, "same", "yes", kernel, "yes");
    const walk = at === 7 ? "<b>odd</b>" : kernel === "5.10.0" ? "both parities" : "one parity";
    const environment = ask(id, "other", walk, kernel, at === 7 ? "both parities" : null);
    kernels.push({ id, machine: "worker", isEmulated: false, missing: null, environment });
  }
  for (const id of ["gone-1", "gone-2"])
    kernels.push({
      id,
      machine: "worker",
      isEmulated: false,
      missing: "no sign of its worker",
      environment: null,
    });
  return {
    schema: "selfconnect.lab/1",
    startedAt: "2026-11-27T00:00:00.000Z",
    endedAt: "2026-11-27T00:01:00.000Z",
    command: "selfconnect lab --queue redis://h",
    version: VERSION,
    commit: null,
    trials: 12,
    experiments: ["same", "other"].map((name) => ({ name, question: `Is it ${name}?` })),
    kernels,
    findings,
  };
}

describe("a lab of a fleet", () => {
  const result = fleetResult(400);
  const folded = foldKernels(rowsOfResult(result))!;

  it("has a column for each set of answers, the largest first, and differences above the rest", () => {
    expect(folded.folds.map(({ title, kernels }) => [title, kernels.length])).toEqual([
      ["300 kernels: 6.1.0, 6.12.0", 300],
      ["99 kernels: 5.10.0", 99],
      ["2 kernels: no answer", 2],
      ["web-7: 5.10.0", 1],
    ]);
    expect(folded.rows.map(({ name }) => name)).toEqual(["other", "same"]);
  });

  it("lists every host once behind its column, in every format, and escapes what hosts said", () => {
    const [html, markdown, text] = [labHtml(result), labMarkdown(result), labText(result)];
    for (const { id } of result.kernels) expect(html.split(`>${id}<`)).toHaveLength(2);
    expect(html).not.toContain("<b>odd</b>");
    expect(html.length).toBeLessThan(200_000);
    expect(markdown).toContain("- **2 kernels: no answer:** gone-1, gone-2");
    expect(markdown).toContain("| question | 300 kernels: 6.1.0, 6.12.0 | 99 kernels: 5.10.0 |");
    expect(text).toContain("web-7: 5.10.0, other: <b>odd</b>; expected both parities");
    expect(text).toContain("and 280 more");
  });

  it("keeps a column for each kernel of a small lab", () => {
    expect(foldKernels(rowsOfResult(fleetResult(10)))).toBeNull();
    expect(labHtml(fleetResult(10))).not.toContain("share a column");
  });
});
