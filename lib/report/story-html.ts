/** The story of one self-connect as one HTML page, for somebody who has never heard of it. */
import type { JoinedMoment } from "../audit/joined.ts";
import type { Story } from "../audit/story.ts";
import { environment } from "../kernel/host.ts";
import { findPasses } from "../ports/passes.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeMarkup } from "./escape.ts";
import { netstatLines, ssLines } from "./netstat.ts";
import { count, duration, pluralize } from "./numbers.ts";
import { figureHtml, pageHtml, SCRIPT } from "./page.ts";
import { chanceSection, curesSection, riskSection } from "./story-answers.ts";
import { codeBlock, commandBlock, paragraph, sectionHtml } from "./story-parts.ts";
import type { Scene } from "./story-plots.ts";
import { passesSvg, sceneSvg, walkSvg } from "./story-plots.ts";
import type { StoryTrials } from "./story-trials.ts";
import { trialsSection } from "./story-trials.ts";
import { PICTURE_STYLE, pictureSection, stepsHtml } from "./trace-html.ts";
import { holderText } from "./who.ts";

const STYLE = `
body { max-width: 62rem; } header p { font-size: 1.1rem; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.facts li { flex: 1 1 9rem; border: 1px solid var(--line); border-radius: 6px; padding: .5rem .8rem; }
.facts b { display: block; font-size: 1.3rem; } .facts span { color: var(--dim); font-size: .86rem; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }
figcaption span { display: block; font-weight: 400; color: var(--dim); }
svg.scene { width: 100%; height: auto; display: block; } .box { fill: var(--soft); stroke: var(--line); }
.box.gone { stroke-dasharray: 5 4; fill: none; } .box.self { stroke: var(--joined); stroke-width: 2; }
text.name { font-weight: 600; fill: var(--ink); } text.mark { fill: var(--ink); paint-order: stroke;
  stroke: var(--paper); stroke-width: 3px; }
.flow { fill: none; stroke-width: 2; } .flow.good { stroke: var(--accent); } .flow.bad { stroke: var(--joined); }
.head.good { fill: var(--accent); } .head.bad { fill: var(--joined); }
pre.code { border: 1px solid var(--line); border-left: 3px solid var(--accent); border-radius: 4px;
  padding: .6rem .8rem; overflow-x: auto; font: .82rem/1.5 ui-monospace, monospace; margin: .5rem 0; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); }
.commands dt { color: var(--dim); font-size: .86rem; margin-top: .5rem; } .commands dd { margin: 0; }
.steps { padding-left: 1.4rem; } .steps li { margin: .5rem 0; max-width: 75ch; }
.steps b, .steps .states { font-family: ui-monospace, monospace; font-size: .9em; }
.steps .states { display: block; color: var(--dim); }
.expected { fill: none; stroke: var(--joined); stroke-width: 2; }
.numbers td, .numbers th { min-width: 0; text-align: right; font-variant-numeric: tabular-nums; }
.cure td, .cure th { min-width: 0; } .cure td { overflow-wrap: anywhere; } 
.cure tbody th { min-width: 6rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .picture, .wide-note { display: none; } .cure tbody th { min-width: 5rem; max-width: 7rem; }
  .numbers .scroll th, .numbers .scroll td { min-width: 0; padding: .45rem .4rem; } }
@media print { body { font-size: 10pt; } header p, .facts b { font-size: 12pt; } pre.code { font-size: 7.5pt; }
  figcaption, .facts span, .commands dt, table { font-size: 9pt; } .steps { font-size: 9pt; }
  pre.code { white-space: pre-wrap; overflow-wrap: anywhere; } .picture { display: block; }
  .picture img { max-width: 15cm; } section { break-inside: auto; } h2, h3 { break-after: avoid; } }
`;

/** The story as one HTML page that loads nothing and is complete without its script. */
export function storyHtml(story: Story, trials: StoryTrials | null = null): string {
  const peer = formatAddress(story.result.peer);
  const title = story.moment ? `${peer} connected to itself` : `${peer} did not connect to itself`;
  const body = `<header><h1>${escapeMarkup(title)}</h1>
${leadHtml(story)}</header>
<main>
${drawingSection(story)}
${walkSection(story)}
${story.moment ? momentSection(story.moment) : ""}
${story.moment ? handshakeSection(story) : ""}
${story.moment ? harmSection(story, story.moment) : ""}
${chanceSection(story)}
${trialsSection(trials)}
${riskSection(story)}
${curesSection(story)}
${aboutSection(story)}
</main>`;
  return pageHtml({ title, body, style: PICTURE_STYLE + STYLE, script: SCRIPT });
}

function leadHtml({ result, moment, never }: Story): string {
  const { attempts, elapsedMs, attemptsPerSecond, peer } = result;
  const outcome = moment
    ? `After ${pluralize(attempts, "attempt")} it was connected, though there is no server: to itself.`
    : never
      ? `It never can be joined to itself here, because ${never.because}.`
      : `It was not joined to itself in ${pluralize(attempts, "attempt")}.`;
  const facts = [
    [count(attempts), attempts === 1 ? "attempt" : "attempts"],
    [duration(elapsedMs), "from the first to the last"],
    [count(attemptsPerSecond), "attempts per second"],
  ];
  const items = facts.map(([figure, what]) => `<li><b>${escapeMarkup(figure!)}</b><span>${what}</span></li>`);
  return `${paragraph(
    `A program kept connecting to ${formatAddress(peer)}, a port of its own machine where nothing listened. ${outcome}`,
  )}
<ul class="facts">${items.join("")}</ul>`;
}

function drawingSection({ result, ports, moment }: Story): string {
  const peer = result.peer.port;
  const example = ports?.find((port) => port !== peer) ?? "its own";
  const scenes: Scene[] = [
    {
      caption: "As it should be",
      left: ["client", `port ${example}`],
      right: ["server", `port ${peer}`],
      there: "SYN",
      back: "SYN+ACK",
      isGood: true,
    },
    {
      caption: "The server is down",
      left: ["client", `port ${example}`],
      right: ["nobody", `port ${peer}`],
      there: "SYN",
      back: "RST: refused",
      isGood: false,
    },
    {
      caption: moment ? "What happened" : "What can happen",
      left: ["client", `port ${peer}`],
      right: null,
      there: `to port ${peer}`,
      back: "from itself",
      isGood: false,
    },
  ];
  const notes = [
    "A client is given a local port by the kernel, and connects to the port of a server.",
    "The kernel refuses. The client tries again, each time from another local port.",
    "One day the port that it is given is the one that it connects to. Its packet comes back to it.",
  ];
  const figures = scenes.map((scene, index) => figureHtml(scene.caption, sceneSvg(scene), notes[index]));
  return sectionHtml(
    "What happens",
    `${paragraph(
      "A TCP connection is two addresses: the local one and the peer's. Nothing says that they must differ. When a " +
        "client sends its first packet (SYN) to the very port that it has itself, TCP takes that packet for the " +
        "other side's: two ends that open at the same moment (RFC 9293, section 3.5). Both ends are one socket, " +
        "connected to itself. connect() succeeds, and no program can see from that alone that the server is missing.",
    )}
<div class="plots">${figures.join("\n")}</div>`,
  );
}

function walkSection(story: Story): string {
  const { result, ports, prediction, never } = story;
  const range = prediction.situation.ephemeralRange;
  const peer = result.peer.port;
  if (!ports || !range || ports.length < 2) {
    const why = ports
      ? `Strategy ${result.strategy} needs no walk: it had port ${peer} at the first attempt.`
      : "The local ports were not recorded, because several attempts were made at a time.";
    return sectionHtml("The way to the port", paragraph(why));
  }
  const isWalk = prediction.algorithm.counters !== "none";
  const passes = findPasses(ports, peer, range);
  const isHit = ports.at(-1) === peer;
  const figures = [
    figureHtml(
      "Local port of each attempt",
      walkSvg(ports, peer, range, isWalk),
      "The red line is the peer's port.",
    ),
    ...(isWalk && passes.at.length > 0
      ? [
          figureHtml(
            `The walk near port ${peer}`,
            passesSvg(ports, peer, passes),
            "One line for each time that the walk came by; a dot is a port that was picked.",
          ),
        ]
      : []),
  ];
  return sectionHtml(
    "The way to the port",
    `${paragraph(walkWords(story, isWalk))}
${paragraph(passedWords(passes.at.length - (isHit ? 1 : 0), isHit, peer, isWalk))}
${paragraph(parityWords(passes.otherParity, ports.length, peer, never !== null))}
<div class="plots">${figures.join("\n")}</div>`,
  );
}

function walkWords({ prediction, ports }: Story, isWalk: boolean): string {
  const { low, high } = prediction.situation.ephemeralRange!;
  const from = `The kernel picks the local port, from the ephemeral range ${low} to ${high}`;
  if (!isWalk) return `${from}. On this host each pick is independent of the one before.`;
  const longest = prediction.algorithm.increments.length * prediction.algorithm.stride;
  const isAround = ports!.some((port, index) => index > 0 && port < ports![index - 1]!);
  return (
    `${from}. It walks through the range: each of the ${count(ports!.length)} attempts got a port a few further on ` +
    `(here up to ${longest})${isAround ? ", and at the end of the range the walk began again" : ""}.`
  );
}

function passedWords(passes: number, isHit: boolean, peer: number, isWalk: boolean): string {
  if (!isWalk) return isHit ? `The last pick was ${peer}.` : `${peer} was not among the picks.`;
  const often = passes === 1 ? "once" : pluralize(passes, "time");
  const times = passes === 0 ? "" : `It stepped over port ${peer} ${often}`;
  if (!isHit) return times === "" ? `It did not come to port ${peer}.` : `${times} and never landed on it.`;
  return times === ""
    ? `The first time it came to port ${peer}, it landed on it.`
    : `${times}, and then landed on it.`;
}

function parityWords(otherParity: number, attempts: number, peer: number, isNever: boolean): string {
  if (otherParity > 0 && otherParity < attempts)
    return `${count(otherParity)} of the ${count(attempts)} ports were ${peer % 2 === 0 ? "odd" : "even"}.`;
  const parity = (otherParity === 0) === (peer % 2 === 0) ? "even" : "odd";
  const other = parity === "even" ? "odd" : "even";
  const server = isNever
    ? `so it never comes to ${peer}`
    : `so a server on ${peer + 1} could not be hit this way`;
  const rule = `connect(2) takes no ${other} port here while one that is ${parity} is free`;
  return `Every one of these ports is ${parity}. ${rule}: ${server}.`;
}

function momentSection({ local, peer, rows, whyNoRows }: JoinedMoment): string {
  const table = whyNoRows
    ? paragraph(`The kernel's table could not be read: ${whyNoRows}`)
    : `${paragraph("The kernel's own tables show one row for both ends, as netstat prints it:")}
${codeBlock(netstatLines(rows))}
${paragraph("and as ss prints it:")}
${codeBlock(ssLines(rows))}`;
  return sectionHtml(
    "The moment",
    `${paragraph("The client asked for its two addresses. They were the same:")}
${codeBlock([`local  ${formatAddress(local)}   getsockname(2)`, `peer   ${formatAddress(peer)}   getpeername(2)`])}
${table}`,
  );
}

function handshakeSection({ trace }: Story): string {
  const { ladder, samples, whyNoCapture } = trace;
  const title = "The handshake with itself";
  const seen = samples.map(({ state, source }) => `${state} (${source})`).join(", ");
  const states = paragraph(`The kernel reported these states of the socket: ${seen || "none"}.`);
  if (ladder.rows.length === 0) {
    const why = whyNoCapture ?? "none of them was captured";
    return sectionHtml(title, `${paragraph(`The packets are not here: ${why}.`)}\n${states}`);
  }
  return sectionHtml(
    title,
    `${paragraph(
      "These packets went over the loopback device. Each was sent by the socket and received by the same socket, so " +
        "the picture draws it twice. The numbers in brackets are sections of RFC 9293.",
    )}
${pictureSection(ladder)}
${stepsHtml(ladder)}
${states}`,
  );
}

function harmSection({ refusalAfter }: Story, moment: JoinedMoment): string {
  const { local, refusal, holders, sent, received } = moment;
  const where = formatAddress(local);
  const inTheWay = holders.filter(({ isInTheWay }) => isInTheWay);
  const start = refusal
    ? `While the socket was open, the real server could not start on ${where}: ${refusal}. Nothing listens there; ` +
      "a tool that lists listeners shows nothing."
    : `A server could start on ${where} all the same (unexpected).`;
  const after = refusalAfter ? `${refusalAfter} (unexpected)` : "the server can start at once";
  return sectionHtml(
    "The harm",
    `${paragraph(start)}
${inTheWay.length > 0 ? commandBlock(inTheWay.map(holderText)) : ""}
${paragraph(
  `And the client read its own bytes as an answer: it wrote "${sent}" and read "${received}". A client that expects ` +
    "a greeting waits for ever; one that sends a request gets the request back.",
)}
${paragraph(
  "close(2) is not enough: it leaves the port in TIME-WAIT for a minute. reset() sends RST instead (SO_LINGER with " +
    `time 0, then close): nothing is left, and ${after}.`,
)}`,
  );
}

function aboutSection({ result }: Story): string {
  const { kernel, architecture, cpus, node, version } = environment();
  const host = `Linux ${kernel} (${architecture}, ${pluralize(cpus, "CPU")}), Node ${node}`;
  const command = `selfconnect reconnect ${formatAddress(result.peer)} --html story.html`;
  return sectionHtml(
    "How this page was made",
    `${paragraph(`By selfconnect ${version} from one real run: ${host}.`)}
${commandBlock([command])}`,
  );
}
