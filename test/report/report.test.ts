/** Reports: what every format shows, what all formats escape, and the page in a real browser. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Browser, Page } from "playwright-core";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { labExitCode } from "../../lib/cli/lab.ts";
import type { Finding, LabKernel, LabResult } from "../../lib/lab/index.ts";
import { labCsv, labHtml, labMarkdown, labText, mergeLabs, parseLabResult } from "../../lib/report/index.ts";
import { cli, command, MAIN, needsNamespaces, runInNamespace } from "../support/harness.ts";

const HOSTILE = `</td><script>document.title = "owned"</script>|=1+1`;
const PHONE = { width: 390, height: 844 };
const STORY_RANGE = { low: 40_000, high: 40_399 };
/** The sections of the page of reconnect --html. */
const STORY = [
  ...["What happens", "The way to the port", "The moment", "The handshake with itself", "The harm"],
  ...["How likely it was", "Am I at risk?", "What to do", "How this page was made"],
];

function validator(name: string) {
  const schema = JSON.parse(readFileSync(`docs/schema/${name}.json`, "utf8"));
  return new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true }).compile(schema);
}

function kernel(id: string, upstream: string): LabKernel {
  const environment = {
    kernel: `${upstream}-test`,
    upstream,
    architecture: "x64",
    cpus: 1,
    node: "v20",
    version: "0.1.0",
    ephemeralRange: "40000-40999",
    sysctls: {},
  };
  return { id, machine: "qemu", isEmulated: true, missing: null, environment };
}

function makeFinding(kernelId: string, experiment: string, more: Partial<Finding> = {}): Finding {
  return {
    kernel: kernelId,
    experiment,
    status: "answered",
    answer: "yes",
    counts: { attempts: 12 },
    elapsedMs: 7,
    expected: "yes",
    isAsExpected: true,
    ...more,
  };
}

const values = Array.from({ length: 60 }, (_, i) => 40_000 + ((i * 37) % 1000));
const steps = { plot: "steps", unit: "ports", values: values.map((value) => (value % 8) * 2 + 2) } as const;

const result: LabResult = {
  schema: "selfconnect.lab/1",
  startedAt: "2026-11-22T17:00:00.000Z",
  endedAt: "2026-11-22T17:02:00.000Z",
  command: "selfconnect lab",
  version: "0.1.0",
  commit: null,
  trials: 12,
  experiments: [
    { name: "steps", question: "How far?" },
    { name: "order", question: "In which order?" },
    { name: "parity", question: "How many attempts?" },
  ],
  kernels: [
    kernel("old", "5.10.1"),
    kernel("mid", "6.1.1"),
    kernel("new", "7.3.4"),
    { id: "absent", machine: "uml", isEmulated: false, missing: "needs linux.uml", environment: null },
  ],
  findings: [
    makeFinding("old", "steps", { samples: steps }),
    makeFinding("mid", "steps", { samples: steps }),
    makeFinding("new", "steps", { answer: HOSTILE, isAsExpected: false, samples: steps }),
    makeFinding("old", "order", { samples: { plot: "walk", unit: "port", values } }),
    makeFinding("new", "order", { answer: "no", expected: null, isAsExpected: null }),
    makeFinding("old", "parity", { samples: { plot: "distribution", unit: "attempts", values: [3, 1, 2] } }),
    makeFinding("new", "parity", {
      status: "died",
      note: "it died (exit code 3)",
      counts: {},
      isAsExpected: null,
    }),
  ],
};
delete (result.findings[6] as { answer?: string }).answer;

describe("the schema", () => {
  it("accepts a result, which is the same when read from its file", () => {
    const validate = validator("lab-1");
    expect(validate(result), JSON.stringify(validate.errors)).toBe(true);
    expect(parseLabResult(JSON.stringify(result))).toEqual(result);
  });

  it.each([
    ["not an object", "[]"],
    ["another schema", JSON.stringify({ ...result, schema: "other/1" })],
    [
      "a count that is text",
      JSON.stringify({ ...result, findings: [{ ...result.findings[0], counts: { a: "1" } }] }),
    ],
    [
      "an answer that is not text",
      JSON.stringify({ ...result, findings: [{ ...result.findings[0], answer: {} }] }),
    ],
    ["an unknown machine", JSON.stringify({ ...result, kernels: [{ ...result.kernels[0], machine: "x" }] })],
  ])("refuses %s", (_, json) => {
    expect(() => parseLabResult(json)).toThrow();
  });
});

/** The path of each field of an object. */
function* placesOf(value: unknown, at: readonly string[] = []): Generator<readonly string[]> {
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) {
    yield [...at, key];
    yield* placesOf(inner, [...at, key]);
  }
}

it("a result of a file is read only where its published schema allows it", () => {
  const validate = validator("lab-1");
  const text = readFileSync("test/golden/lab.json", "utf8");
  const wrongs = [undefined, 1, "text", {}, []];
  const accepted: string[] = [];
  for (const place of placesOf(JSON.parse(text))) {
    for (const wrong of wrongs) {
      const changed = JSON.parse(text);
      const parent = place.slice(0, -1).reduce((object, key) => object[key], changed);
      parent[place.at(-1)!] = wrong;
      const json = JSON.stringify(changed);
      if (validate(JSON.parse(json))) continue;
      try {
        // What the parser returns after dropping or correcting fields conforms to the schema.
        if (!validate(parseLabResult(json))) accepted.push(`${place.join(".")}: ${JSON.stringify(wrong)}`);
      } catch {}
    }
  }
  expect(accepted).toEqual([]);
});

it("a lab exits with 3 where an answer was not expected, whatever else is missing, and with 1 where one is missing", () => {
  const [contradicted] = result.findings.filter(({ isAsExpected }) => isAsExpected === false);
  const unanswered = result.findings.at(-1)!;
  const answered = result.findings[0]!;
  const exitCodeOf = (...findings: Finding[]) => labExitCode({ ...result, findings });
  expect(exitCodeOf(answered)).toBe(0);
  expect(exitCodeOf(answered, unanswered)).toBe(1);
  expect(exitCodeOf(answered, unanswered, contradicted!)).toBe(3);
  expect(labExitCode({ ...result, kernels: result.kernels.slice(3), findings: [] })).toBe(1);
  expect(labExitCode(result, { isInterrupted: true })).toBe(130);
});

describe("formats", () => {
  it("Markdown keeps its columns whatever a guest prints, contradictions first", () => {
    const text = labMarkdown(result);
    expect(text.indexOf("## Contradictions")).toBeLessThan(text.indexOf("| question |"));
    const widths = text.split("\n").filter((line) => line.startsWith("|"));
    expect(widths.map((line) => line.match(/(?<!\\)\|/g)!.length)).toEqual(widths.map(() => 6));
    expect(text).not.toContain("<script>");
    expect(text).toContain("≠ no");
    expect(text).toContain("absent could not run: needs linux.uml");
  });

  it("CSV quotes fields and disarms formulas", () => {
    const text = labCsv({ ...result, findings: [makeFinding("old", "steps", { answer: '=A1,"x"' })] });
    expect(text.split("\r\n")[1]).toBe(`old,qemu,5.10.1,steps,answered,"'=A1,""x""",yes,attempts,12`);
  });

  it("the terminal's text groups kernels by answer, and escapes control characters", () => {
    const text = labText({
      ...result,
      findings: [makeFinding("old", "steps"), makeFinding("mid", "steps", { answer: "a\u001b[2J" })],
    });
    expect(text).toContain("  yes\n      qemu 5.10.1\n");
    expect(text).not.toContain("\u001b");
  });

  it("several results become one table with distinct columns", () => {
    const merged = mergeLabs([result, result]);
    const second = "old (2, of 2026-11-22 17:00)";
    expect(labHtml(merged)).toContain("qemu 5.10.1 (2, of 2026-11-22 17:00)</th>");
    expect(merged.kernels.map(({ id }) => id).slice(0, 5)).toEqual(["old", "mid", "new", "absent", second]);
    expect(merged.findings.filter((one) => one.kernel === second)).toHaveLength(3);
  });
});

describe("the command line", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-report-"));
    writeFileSync(path.join(folder, "a.json"), JSON.stringify(result));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("lab writes its results and reports, and prints one object", async () => {
    const file = (name: string) => path.join(folder, name);
    const asked = ["--machine", "host", "--experiments", "bind-first,refusal"];
    const files = ["--output", file("lab.json"), "--html", file("lab.html"), "--csv", file("lab.csv")];
    const { status, stdout, stderr } = await cli(["lab", ...asked, ...files, "--json"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const validate = validator("lab-1");
    expect(validate(JSON.parse(stdout)), JSON.stringify(validate.errors)).toBe(true);
    expect(parseLabResult(readFileSync(file("lab.json"), "utf8"))).toEqual(JSON.parse(stdout));
    expect(readFileSync(file("lab.html"), "utf8")).toContain("bind-first");
    expect(readFileSync(file("lab.csv"), "utf8")).toContain("refusal");
  });

  it("lab exits with 130 on Ctrl-C with its results so far in the file, and --resume runs the rest", async (context) => {
    needsNamespaces(context);
    const output = path.join(folder, "cut.json");
    const asked = ["lab", "--machine", "host", "--output", output, "--experiments"];
    const interrupted = await cli([...asked, "bind-first,time"], (child) => {
      const look = setInterval(() => {
        if (!existsSync(output) || !readFileSync(output, "utf8").includes('"answer"')) return;
        clearInterval(look);
        child.kill("SIGINT");
      }, 50);
      child.on("close", () => clearInterval(look));
    });
    expect(interrupted).toMatchObject({ status: 130, stdout: expect.stringContaining("yes: self-connect") });
    const cut = parseLabResult(readFileSync(output, "utf8"));
    expect({ endedAt: cut.endedAt, answered: cut.findings.length }).toEqual({ endedAt: null, answered: 1 });
    expect(await cli([...asked, "bind-first,refusal", "--resume"])).toMatchObject({ status: 0 });
    const whole = parseLabResult(readFileSync(output, "utf8"));
    expect(whole.findings[0]).toEqual(cut.findings[0]);
    expect(whole.findings).toHaveLength(2);
  });

  it("lab shows a table of its kernels while it runs, on a terminal only, and clears it", async () => {
    const output = path.join(folder, "live.json");
    const line = `${process.execPath} ${MAIN} lab --machine host --experiments bind-first,refusal --output ${output}`;
    const { stdout } = await command("script", ["-qec", `stty cols 100 rows 30; ${line} 2>&1`, "/dev/null"]);
    const frames = stdout.split("\u001b[0J").map((frame) => frame.replace(/\s+/g, " "));
    const at = (frame: RegExp) => frames.findIndex((one) => frame.test(one));
    const states = [
      /^host booting 0\/2/,
      /^host running 0\/2 bind-first/,
      /^host running 1\/2 refusal/,
      /^host done 2\/2/,
    ];
    const places = states.map(at);
    expect(places[0]).toBeGreaterThan(0);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    // The table is cleared before the result is printed.
    expect(frames.at(-1)).toMatch(/bind-first/);
    expect(frames.at(-1)).not.toMatch(/running|done 2/);
  });

  it("lab kernels lists what apt offers and what is cached, as the published object", async () => {
    const [cache, programs] = [path.join(folder, "shelf"), path.join(folder, "programs")];
    for (const made of [path.join(cache, "kernels"), programs]) mkdirSync(made, { recursive: true });
    const cached = { release: "6.1.0-9-cloud-amd64", version: "6.1.27-1", sha256: "" };
    writeFileSync(path.join(cache, "kernels", "vmlinuz-6.1.0-9-cloud-amd64.json"), JSON.stringify(cached));
    const offer = (release: string, version: string, suite: string) =>
      `linux-image-${release} | ${version} | http://mirror.example/debian ${suite}/main amd64 Packages`;
    const offers = [
      offer("6.1.0-9-cloud-amd64", "6.1.27-1", "bookworm"),
      offer("6.12.9-cloud-amd64", "6.12.9-1", "trixie"),
      "user-mode-linux | 5.10um3+b1 | http://mirror.example/debian bookworm/main amd64 Packages",
    ];
    const aptCache = `case "$*" in *madison*) echo '${offers.join("\n")}';; *) echo 'linux-image-x - Linux';; esac`;
    const stubs = { "apt-get": "exit 0", "apt-cache": aptCache, "dpkg-deb": "exit 1", tar: "exit 1" };
    for (const [name, script] of Object.entries(stubs))
      writeFileSync(path.join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const list = (...flags: string[]) => {
      const asked = [
        "lab",
        "kernels",
        "--suites",
        "bookworm,trixie",
        "--mirror",
        "http://mirror.example/debian",
      ];
      const where = [`PATH=${programs}:${process.env.PATH}`, process.execPath, MAIN];
      return command("env", [...where, ...asked, "--cache", cache, ...flags]);
    };
    const { status, stdout, stderr } = await list("--json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const report = JSON.parse(stdout);
    const validate = validator("lab-kernels-1");
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    const kernel = { machine: "qemu", isCached: false };
    expect(report).toEqual({
      schema: "selfconnect.lab-kernels/1",
      suites: ["bookworm", "trixie"],
      kernels: [
        { ...kernel, release: "6.12.9-cloud-amd64", version: "6.12.9-1", suite: "trixie" },
        { ...kernel, release: "6.1.0-9-cloud-amd64", version: "6.1.27-1", suite: "bookworm", isCached: true },
        { ...kernel, machine: "uml", release: "5.10", version: "5.10um3+b1", suite: "bookworm" },
      ],
    });
    expect((await list()).stdout).toMatch(
      /^qemu +6\.12\.9-1 +trixie .*\nqemu +6\.1\.27-1 +bookworm .* {2}cached\numl +5\.10um3\+b1 +bookworm +5\.10\n$/,
    );
    // The control: a kernel without its suite does not conform to the schema.
    const { suite: _, ...damaged } = report.kernels[0];
    expect(validate({ ...report, kernels: [damaged] })).toBe(false);
  });

  it("report renders, compares, and reports what is wrong with a file", async () => {
    const file = path.join(folder, "a.json");
    expect((await cli(["report", file])).stdout).toContain("contradictions");
    const { stdout } = await cli(["report", "compare", file, file, "--json"]);
    expect(validator("compare-1")(JSON.parse(stdout))).toBe(true);
    const wrong = path.join(folder, "wrong.json");
    writeFileSync(wrong, '{"schema": "selfconnect.lab/2"}');
    expect(await cli(["report", wrong])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(
        'its schema is "selfconnect.lab/2"; this release reads selfconnect.lab/1',
      ),
    });
  });

  it.each([
    [["lab", "--machine", "qemuu"], /did you mean "qemu"/],
    [["lab", "--experiments", "stepz"], /did you mean "steps"/],
  ])("%j is a usage error with its fix", async (args, fix) => {
    expect(await cli(args)).toMatchObject({ status: 2, stderr: expect.stringMatching(fix) });
  });
});

describe("the page in a browser", () => {
  const installed = spawnSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).stdout.trim();
  let folder: string;
  let browser: Browser | undefined;
  const messages: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-page-"));
    writeFileSync(path.join(folder, "lab.html"), labHtml(result));
    if (installed) browser = await chromium.launch({ executablePath: installed, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(
    options: Parameters<Browser["newPage"]>[0] = {},
    file = path.join(folder, "lab.html"),
  ): Promise<Page> {
    const page = await browser!.newPage(options);
    page.on("console", (message) => messages.push(message.text()));
    page.on("pageerror", (error) => messages.push(error.message));
    page.on("request", (request) => request.url().startsWith("file:") || messages.push(request.url()));
    await page.goto(`file://${file}`);
    return page;
  }

  it("opens without an error or a request, and no script of a guest runs", async (context) => {
    if (!browser) context.skip("no chromium here (Debian: apt-get install chromium)");
    const page = await open();
    expect(await page.title()).toBe("The same questions to many kernels");
    expect(await page.getByText(`document.title = "owned"`).count()).toBeGreaterThan(0);
    expect(messages.filter((one) => !one.startsWith("data:"))).toEqual([]);
    await page.close();
  });

  it("sorts rows and puts them back", async (context) => {
    if (!browser) context.skip("no chromium here");
    const page = await open();
    const names = () => page.locator("#questions tbody th b").allTextContents();
    const before = await names();
    const sort = page.getByRole("button", { name: "Sort by question" });
    await sort.click();
    expect(await names()).toEqual(["order", "parity", "steps"]);
    await sort.click();
    expect(await names()).toEqual(before);
    await page.close();
  });

  it("zooms a plot in and out", async (context) => {
    if (!browser) context.skip("no chromium here");
    const page = await open();
    const plot = page.locator("svg.plot").first();
    const whole = await plot.getAttribute("viewBox");
    await page
      .getByRole("button", { name: /^Zoom in/ })
      .first()
      .click();
    expect(await plot.getAttribute("viewBox")).not.toBe(whole);
    await page
      .getByRole("button", { name: /^Show all/ })
      .first()
      .click();
    expect((await plot.getAttribute("viewBox"))!.split(" ").map(Number)).toEqual(
      whole!.split(" ").map(Number),
    );
    await page.close();
  });

  it("leads from every answer to its raw counts", async (context) => {
    if (!browser) context.skip("no chromium here");
    const page = await open();
    const links = await page.locator("#questions td a").all();
    expect(links).toHaveLength(result.findings.length);
    for (const link of links) {
      const hash = (await link.getAttribute("href"))!;
      expect(await page.locator(hash).getByRole("table").count()).toBe(1);
    }
    await page.close();
  });

  it("fits a phone, reads without its script, in the dark, and prints", async (context) => {
    if (!browser) context.skip("no chromium here");
    const page = await open({ viewport: PHONE, colorScheme: "dark", javaScriptEnabled: false });
    expect(await page.locator("#questions tbody tr").count()).toBe(3);
    expect(await page.locator("svg.plot").count()).toBe(5);
    const box = await page.locator("main").boundingBox();
    expect(box!.x + box!.width).toBeLessThanOrEqual(PHONE.width);
    await page.close();
    const printed = await open();
    const paper = await printed.evaluate("getComputedStyle(document.body).backgroundColor");
    expect(paper).toBe("rgb(255, 255, 255)");
    expect((await printed.pdf()).length).toBeGreaterThan(10_000);
    await printed.close();
  });

  it("tells the story of a real run: on a phone, in the dark, without its script", async (context) => {
    needsNamespaces(context);
    if (!browser) context.skip("no chromium here");
    const file = path.join(folder, "story.html");
    const peer = `127.0.0.1:${STORY_RANGE.low + 100}`;
    const args = [MAIN, "reconnect", peer, "--html", file, "--json"];
    const { low, high } = STORY_RANGE;
    const run = await runInNamespace(`${low} ${high}`, process.execPath, args);
    expect(run).toMatchObject({ status: 0, stderr: `written ${file}: open it in a browser\n` });
    messages.length = 0;
    const page = await open({ viewport: PHONE, colorScheme: "dark", javaScriptEnabled: false }, file);
    expect(messages.filter((one) => !one.startsWith("data:"))).toEqual([]);
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe(`${peer} connected to itself`);
    expect(await page.getByRole("heading", { level: 2 }).allTextContents()).toEqual(STORY);
    const text = await page.locator("main").innerText();
    const { attempts } = JSON.parse(run.stdout);
    for (const said of [/EADDRINUSE/, /read "hello, myself"/, /ESTABLISHED \d+\/node/, /sysctl -w/])
      expect(text).toMatch(said);
    expect(text).toContain(`This run took ${attempts.toLocaleString("en-US")}`);
    expect(await page.locator("svg .joined").count()).toBe(3);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(PHONE.width);
    await page.close();
  });

  it("has a name for everything that can be pressed or is drawn", async (context) => {
    if (!browser) context.skip("no chromium here");
    const page = await open();
    for (const button of await page.getByRole("button").all()) {
      expect(await button.getAttribute("aria-label")).toMatch(/\w+ \w+/);
    }
    expect(await page.getByRole("img").count()).toBe(5);
    for (const image of await page.getByRole("img").all())
      expect(await image.getAttribute("aria-label")).toMatch(/\d/);
    await page.close();
  });
});
