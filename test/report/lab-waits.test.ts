/** Time to self-connect: from trials to counts, and from counts to the table and the picture of every format. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Finding, LabResult } from "../../lib/lab/lab.ts";
import { countWaits, readWaits } from "../../lib/lab/waits.ts";
import { labHtml, labMarkdown, labText, parseLabResult } from "../../lib/report/index.ts";

const recorded = parseLabResult(
  readFileSync(new URL("../golden/lab.json", import.meta.url).pathname, "utf8"),
);

/** A recorded lab in which the first kernel was asked for its waits too. */
function labWith(counts: Record<string, number>): LabResult {
  const kernel = recorded.kernels[0]!.id;
  const answered = { kernel, experiment: "waits", status: "answered", answer: "always: fresh" } as const;
  const finding: Finding = { ...answered, counts, elapsedMs: 1, expected: null, isAsExpected: null };
  return { ...recorded, findings: [...recorded.findings, finding] };
}

const TRIALS = Array.from({ length: 12 }, (_, index) => 100 * (index + 1));
const FRESH = countWaits("fresh", "cold", {
  trials: 12,
  attempts: TRIALS,
  ms: TRIALS.map((one) => one / 10),
});
/** Six of twelve trials ended: the middle of those six would be too low. */
const SOME = countWaits("reuse", "cold", { trials: 12, attempts: TRIALS.slice(6), ms: TRIALS.slice(6) });
const NEVER = countWaits("reuse", "chained", { trials: 1, attempts: [], ms: [] });

test("counts are read as they were written", () => {
  expect(readWaits({ ...FRESH, ...SOME, ...NEVER })).toEqual([
    {
      ...{ strategy: "fresh", start: "cold", trials: 12, joined: 12 },
      // The third and the tenth of twelve: 96 %.
      ...{ attempts: { median: 650, low: 300, high: 1000 }, ms: { median: 65, low: 30, high: 100 } },
    },
    { strategy: "reuse", start: "cold", trials: 12, joined: 6, attempts: null, ms: null },
    { strategy: "reuse", start: "chained", trials: 1, joined: 0, attempts: null, ms: null },
  ]);
});

describe("a lab that asked", () => {
  const result = labWith({ ...FRESH, ...SOME, ...NEVER });

  test.each([
    ["Markdown", labMarkdown(result)],
    ["text", labText(result)],
    ["HTML", labHtml(result)],
  ])("%s has the table", (_, text) => {
    expect(text).toContain("650 (300 to 1,000); 65 ms (30 ms to 100 ms)");
    expect(text).toContain("6 of 12 trials");
    expect(text).toContain("never");
  });

  test("the page has both figures, without what has no median", () => {
    const section = /<section id="waits">.*?<\/section>/s.exec(labHtml(result))![0];
    expect(section.match(/<svg/g)).toHaveLength(2);
    expect(section.match(/<circle/g)).toHaveLength(2);
    expect(section).toContain(": 650 (300 to 1,000)</title>");
  });
});

test("a lab that did not ask has neither", () => {
  for (const text of [labMarkdown(recorded), labText(recorded), labHtml(recorded)])
    expect(text).not.toContain("Time to self-connect");
});
