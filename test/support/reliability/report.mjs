// docs/reliability.md, which keeps the figures of each part of check:deep until the part runs again: {part, date, command,
// seconds, load, facts, head, rows, red, skipped, plots}.

import { createRequire } from "node:module";
import os from "node:os";

const { buildSync } = createRequire(import.meta.url)("esbuild");
const WHAT = {
  faults:
    "Every system call that `native/core` makes fails with every errno of its manual page and with EINTR: once at each of " +
    "a path's first three calls, and for ever. A library loaded before the addon does it, built from one list " +
    "(`test/support/reliability/calls.mjs`); what io_uring does in the kernel fails by its results. Each fault must end in " +
    "a typed error that names the errno and the call, or the work is done all the same; nothing hangs, and no descriptor stays open.",
  commands:
    "Each command, once for each system call that it makes through the addon, with that call failing for ever: it says so " +
    "in a line with the call and the errno and exits with a documented code, or does its work all the same. It prints no " +
    "stack trace, and does not end as if all were well where it would have found something.",
  fuzz: "Random values and bytes; a finding is a crash, a hang, or an error without a code.",
  races: "Work is ended at random moments. Nothing crashes, hangs or leaves descriptors.",
  exhaustion:
    "Something is missing or used up. A command says what in words, exits with a documented code and leaves no half-written file.",
  crash:
    "SIGKILL at a random moment. A file is whole or absent, no guest lives on, and `lab --resume` goes on.",
  sanitizers:
    "The core's tests, and in Node the tests of the rooms `socket` and `loop` (under TSan six files of them) and random calls of the addon, " +
    "built with the sanitizers of gcc and of clang, whose runtimes are loaded before Node. A program with a fault shows for " +
    "each that it finds one. Leaks count where the addon is in the stack: Node keeps memory of its own at its end.",
  soak: "Loops of every strategy, engine and number of threads, while the guard dials in the same process and workers come and go.",
  promise:
    "Clients of every runtime dial, in every way in, services that start and stop at random, in namespaces whose ephemeral " +
    "range has twelve ports, six of them those of services: on loopback, from a source address, with TCP Fast Open, through " +
    "NAT and behind two kinds of load balancer. The bytes tell whether a socket is joined to itself: its own question comes " +
    "back. *Crossed* is a socket that is joined to another client's, which at that moment dialled its local port: the kernel " +
    "and the guard see an ordinary connection there.",
  tests:
    "Every `*.deep.ts`: what `npm test` tries for seconds, for minutes. `--only TEXT` runs those whose path has the text, and " +
    "leaves the rows of the others.",
  mutation:
    "Stryker changes the sources, one fault at a time, and the tests must notice ([its page](mutation.md)).",
};
/** Beside the page. */
export const PICTURE = "reliability-soak.svg";

/** The page with this part's row and section made anew; the others stay as they are. */
export function renewPage(page, latest) {
  const [head, ...sections] = page.split(/\n(?=## )/);
  const texts = new Map(sections.map((text) => [/^## (\w+)/.exec(text)[1], text.trimEnd()]));
  const figures = latest.files ? withEarlierTests(latest, texts.get(latest.part) ?? "") : latest;
  const rows = new Map(head.split("\n").flatMap(namedRow)).set(figures.part, rowOf(figures));
  texts.set(figures.part, sectionOf(figures).join("\n"));
  const parts = Object.keys(WHAT).filter((part) => rows.has(part));
  return `${[headOf(parts.map((part) => rows.get(part))), ...parts.map((part) => texts.get(part))].join("\n\n")}\n`;
}

/** These take hours together, so that some may run again alone: the rows of the others stay, and count. */
function withEarlierTests(figures, text) {
  const cells = (line) => line.slice(2, -2).split(" | ");
  const lines = text.split("\n").filter((line) => line.startsWith("| `") && !line.includes("not run"));
  const earlier = lines.map(cells).map(([name, ...counts]) => [name, ...counts.map(toNumber)]);
  const latest = new Set(figures.rows.map(([name]) => name));
  const kept = earlier.filter(([name]) => !latest.has(name));
  const run = [...kept, ...figures.rows];
  const names = run.map(([name]) => name);
  const others = figures.files.map((file) => `\`${file}\``).filter((name) => !names.includes(name));
  const notRun = others.map((name) => [name, "", "not run", "", ""]);
  const rows = [...run, ...notRun].sort(([one], [other]) => (one < other ? -1 : 1));
  const reds = kept
    .filter(([, , , red]) => red > 0)
    .map(([name, , , red]) => `${name}: ${red} red, in a run before`);
  const seconds = run.reduce((sum, [, one]) => sum + one, 0);
  return { ...figures, rows, seconds, red: [...figures.red, ...reds] };
}

function toNumber(text) {
  return Number(text.replaceAll(",", ""));
}

function namedRow(line) {
  const name = /^\| \[(\w+)\]/.exec(line)?.[1];
  return name ? [[name, line]] : [];
}

function rowOf({ part, seconds, load, red, command }) {
  return `| [${part}](#${part}) | ${seconds} | ${load.toFixed(1)} | ${red.length} | \`${command}\` |`;
}

function headOf(rows) {
  const cells = rows.map((row) => row.split(" | "));
  const sum = (column) => cells.reduce((total, row) => total + Number(row[column]), 0);
  return [
    "# Reliability",
    "",
    `What was tried to break this package, with seeds and commands. ${sum(3) === 0 ? "Nothing here is red." : `**${sum(3)} are red.**`}`,
    `\`npm run check:deep -- --minutes 60\` makes this page; what is here took ${(sum(1) / 3600).toFixed(1)} hours. Those minutes are the`,
    "time of `fuzz`, of `soak`, of `promise` and of three of the tests, each. The same `--seed` repeats what is random.",
    "The load is that at a part's end.",
    "",
    "| part | seconds | load | red | command |",
    "|---|--:|--:|--:|---|",
    ...rows,
  ].join("\n");
}

function sectionOf({ part, date, facts, head, rows, red, skipped = [], plots }) {
  const number = (value) => (typeof value === "number" ? value.toLocaleString("en-US") : value);
  const cell = (value) => String(number(value)).replace(/\|/g, "\\|");
  const table = (names, lines) =>
    ["", `| ${names.join(" | ")} |`, `|---|${"--:|".repeat(names.length - 1)}`].concat(
      lines.map((line) => `| ${line.map(cell).join(" | ")} |`),
    );
  const list = (title, lines) =>
    lines.length > 0 ? ["", title, "", ...lines.map((line) => `- ${line}`)] : [];
  const machine = `Linux ${os.release()}, Node ${process.versions.node}, ${os.availableParallelism()} processors`;
  return [
    `## ${part}`,
    "",
    `${WHAT[part]} Run on ${date}: ${machine}.`,
    ...(facts.length > 0 ? table(["", "figure"], facts) : []),
    ...(plots
      ? [
          "",
          `![Descriptors, RSS, heap, event-loop delay and attempts over the seconds of the run](${PICTURE})`,
        ]
      : []),
    ...(head ? table(head, rows) : []),
    ...list("Red:", red.map(shortened)),
    ...list("Skipped:", skipped),
  ];
}

/** The message without its stack, in one line of Markdown. */
function shortened(red) {
  return red
    .replace(/\s+at .*/s, "")
    .replace(/\s+/g, " ")
    .replace(/[[\]`]/g, "")
    .slice(0, 200);
}

/** One plot above the other, by the frame that every plot of this package has. */
export function drawPlots(plots) {
  const file = new URL("../../../lib/report/plot-frame.ts", import.meta.url).pathname;
  const { outputFiles } = buildSync({
    entryPoints: [file],
    bundle: true,
    write: false,
    format: "cjs",
    platform: "node",
  });
  const module = { exports: {} };
  new Function("module", "exports", "require", outputFiles[0].text)(
    module,
    module.exports,
    createRequire(import.meta.url),
  );
  const { frame, HEIGHT, niceCeiling, point, svg, WIDTH } = module.exports;
  const bodies = plots.map(({ name, values }, i) => {
    const x = { low: 0, high: Math.max(1, values.length) };
    const y = { low: 0, high: niceCeiling(Math.max(...values)) };
    const points = values.map((value, second) => point(second, value, x, y)).join(" ");
    const line = `<polyline class="line" points="${points}"/>`;
    return `<g transform="translate(0 ${i * HEIGHT})">${frame(x, y, "seconds", name)}${line}</g>`;
  });
  const style =
    "text{font:11px sans-serif;fill:#555}.axis{stroke:#888;fill:none}.grid{stroke:#ccc;fill:none}.line{fill:none;stroke:#06c}";
  const drawn = svg(
    "plot",
    WIDTH,
    plots.length * HEIGHT,
    "The soak over time",
    `<style>${style}</style>${bodies.join("")}`,
  );
  return `${drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')}\n`;
}
