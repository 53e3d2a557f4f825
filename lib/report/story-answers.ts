/** The questions that a story leaves open: how likely it was, whether this host is at risk, what to do. */
import type { Story } from "../audit/story.ts";
import { formatAddress } from "../socket/address.ts";
import { auditSections } from "./audit.ts";
import type { Cure } from "./audit-cures.ts";
import { riskCures } from "./audit-cures.ts";
import { escapeMarkup } from "./escape.ts";
import { count, duration } from "./numbers.ts";
import { figureHtml, scrollableTable, tableHtml } from "./page.ts";
import { commandBlock, paragraph, sectionHtml } from "./story-parts.ts";
import type { PaceCurve } from "./story-plots.ts";
import { attemptsSvg, pacesSvg } from "./story-plots.ts";
import { renderText } from "./terminal.ts";

/** Attempts per second of clients that wait between two attempts. */
const PACES = [1, 10, 100, 1000];
const PACE_COLUMNS = ["attempts/s", "mean", "half within", "90 % within", "99 % within"];

/** How many attempts and how long it takes, and where this run is among the others. */
export function chanceSection(story: Story): string {
  const { result, prediction, moment } = story;
  const title = "How likely it was";
  const rate = result.attemptsPerSecond;
  if (result.strategy === "bind" || result.strategy === "range")
    return sectionHtml(
      title,
      paragraph(`Certain: strategy ${result.strategy} takes the port at the first attempt.`),
    );
  if (prediction.never)
    return sectionHtml(title, paragraph(`It never happens, because ${prediction.never.because}.`));
  const wait = rate > 0 ? prediction.wait(rate) : null;
  if (!wait)
    return sectionHtml(title, paragraph("This host does not report its ephemeral range: nobody can know."));
  const curves = [...PACES.filter((pace) => pace < rate / 2), rate].map(
    (attemptsPerSecond): PaceCurve => ({ attemptsPerSecond, wait: prediction.wait(attemptsPerSecond)! }),
  );
  const share = Math.round(wait.cdf(result.attempts) * 100);
  const place = moment
    ? ` This run took ${count(result.attempts)}: ${share} of 100 such runs need no more than that.`
    : "";
  const figures = [
    figureHtml("Attempts until joined to itself", attemptsSvg(wait, moment ? result.attempts : null)),
    figureHtml("The same as time, for clients of several paces", pacesSvg(curves)),
  ];
  return sectionHtml(
    title,
    `${paragraph(
      `The chance of one attempt is 1 in ${count(1 / wait.chancePerAttempt)}. From the way in which this kernel ` +
        `picks ports (${prediction.algorithm.name}, ${prediction.basis}) the whole distribution follows: half of all ` +
        `runs need at most ${count(wait.quantile(0.5))} attempts.${place}`,
    )}
<div class="plots">${figures.join("\n")}</div>
${paragraph("So it is a question of time only. How long a client at each pace goes on until it happens:")}
<div class="numbers">${scrollableTable("Paces", PACE_COLUMNS, curves.map(paceRow))}</div>`,
  );
}

function paceRow({ attemptsPerSecond, wait }: PaceCurve): string[] {
  const attempts = [wait.mean, wait.quantile(0.5), wait.quantile(0.9), wait.quantile(0.99)];
  return [count(attemptsPerSecond), ...attempts.map((value) => duration((value / attemptsPerSecond) * 1000))];
}

/** What the audit of this host found. */
export function riskSection({ host }: Story): string {
  const range = host.ephemeralRange;
  const inRange = range
    ? `the ephemeral range ${range.low} to ${range.high}`
    : "an ephemeral range that it does not report";
  const sections = auditSections(host).map(({ title, lines }) => {
    const items = lines.map((line) => `<li>${escapeMarkup(renderText([line]))}</li>`);
    return `<h3>${escapeMarkup(capitalize(title))}</h3><ul>${items.join("\n")}</ul>`;
  });
  const verdict = {
    clean:
      "Nothing on this host is at risk now: no server listens within the range on a port that a client can be given.",
    found: "On this host something is at risk now:",
    unknown: "Not everything could be seen on this host.",
  }[host.verdict];
  return sectionHtml(
    "Am I at risk?",
    `${paragraph(
      `A server is at risk when its port is in the range from which its own host's clients get theirs, and clients ` +
        `on that host keep connecting while it is down. This host has ${inRange}.`,
    )}
${paragraph(verdict)}
${sections.join("\n")}
${paragraph("Ask again at any time; it connects nowhere:")}
${commandBlock(["selfconnect audit"])}`,
  );
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What to do about the peer's port, each with its command for this host. */
export function curesSection({ port, prediction, result }: Story): string {
  const cures = riskCures(port);
  const where = formatAddress(result.peer);
  if (cures.length === 0) {
    const why = prediction.never ? `: ${prediction.never.because}` : "";
    return sectionHtml("What to do", paragraph(`For ${where} nothing needs to be done now${why}.`));
  }
  return sectionHtml(
    "What to do",
    `${paragraph(`Each of these is enough for a server on ${where}. The commands are for this host.`)}
${cures.map(cureHtml).join("\n")}
<h3>Or guard a whole Node program, without changing it</h3>
${commandBlock(["node --import selfconnect/register app.js"])}
<h3>It has happened already? See who holds the port, and free it; the process stays</h3>
${commandBlock([`selfconnect who ${result.peer.port}`, `selfconnect free ${result.peer.port}`])}`,
  );
}

function cureHtml({ what, head, rows }: Cure): string {
  const title = `<h3>${escapeMarkup(capitalize(what))}</h3>`;
  if (rows.length === 0) return title;
  if (head) return `${title}<div class="scroll cure" tabindex="0">${tableHtml(head, rows)}</div>`;
  const lines = rows.map(
    ([place = "", command = ""]) => `<dt>${escapeMarkup(place)}</dt><dd>${commandBlock([command])}</dd>`,
  );
  return `${title}<dl class="commands">${lines.join("\n")}</dl>`;
}
