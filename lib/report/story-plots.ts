/** The pictures of a story: what happens, the walk of the local ports, its way past the peer's port, the chances. */
import type { Wait } from "../ports/model.ts";
import type { WalkPasses } from "../ports/passes.ts";
import type { PortRange } from "../socket/port-range.ts";
import { escapeMarkup } from "./escape.ts";
import { count, duration } from "./numbers.ts";
import type { Axis } from "./plot-frame.ts";
import {
  BOTTOM,
  frame,
  HEIGHT,
  LEFT,
  PERCENT_AXIS,
  point,
  RIGHT,
  scaleX,
  scaleY,
  svg,
  TOP,
  WIDTH,
} from "./plot-frame.ts";

/** Laps that are drawn whole; earlier ones would be a grey block. */
const MOST_LAPS = 12;
const MOST_POINTS = 3000;
/** How far from the peer's port the close-up reaches, and how many passes it shows. */
const NEAR = 20;
const MOST_PASSES = 12;
const CURVE_POINTS = 120;
const TICKS_S = [
  { value: 0.001, text: "1 ms" },
  { value: 0.03, text: "30 ms" },
  { value: 1, text: "1 s" },
  { value: 60, text: "1 min" },
  { value: 3600, text: "1 h" },
  { value: 86_400, text: "1 day" },
  { value: 2_592_000, text: "30 days" },
];

/** One scene of the drawing: who sends what to whom. */
export interface Scene {
  readonly caption: string;
  readonly left: readonly [name: string, port: string];
  /** Null where the packet comes back to the socket that sent it. */
  readonly right: readonly [name: string, port: string] | null;
  readonly there: string;
  readonly back: string;
  readonly isGood: boolean;
}

/** A scene as a picture. */
export function sceneSvg({ caption, left, right, there, back, isGood }: Scene): string {
  const box = (x: number, [name, port]: readonly [string, string], kind = "") =>
    `<rect class="box ${kind}" x="${x}" y="34" width="122" height="66" rx="8"/>` +
    `<text class="name" x="${x + 61}" y="62" text-anchor="middle">${escapeMarkup(name)}</text>` +
    `<text x="${x + 61}" y="82" text-anchor="middle">${escapeMarkup(port)}</text>`;
  const kind = isGood ? "good" : "bad";
  const label = (x: number, y: number, text: string) =>
    `<text x="${x}" y="${y}" text-anchor="middle">${escapeMarkup(text)}</text>`;
  const body = right
    ? box(4, left) +
      box(234, right, isGood ? "" : "gone") +
      `<path class="flow ${kind}" d="M130 56H224"/><path class="head ${kind}" d="M230 56l-10 -5v10z"/>` +
      `<path class="flow ${kind}" d="M230 80H136"/><path class="head ${kind}" d="M130 80l10 -5v10z"/>` +
      label(180, 49, there) +
      label(180, 97, back)
    : box(119, left, "self") +
      `<path class="flow bad" d="M241 52C330 52 330 126 180 126C30 126 30 84 109 84"/>` +
      `<path class="head bad" d="M118 84l-11 -5v10z"/>` +
      label(292, 46, there) +
      label(60, 76, back);
  return svg("scene", WIDTH, 140, `${caption}: ${there}, ${back}`, body);
}

/** The local ports of a run, in the order of its attempts, and the peer's port among them. */
export function walkSvg(ports: Uint16Array, peerPort: number, range: PortRange, isWalk: boolean): string {
  const from = isWalk ? startOfLaps(ports) : Math.max(0, ports.length - MOST_POINTS);
  const x = { low: from + 1, high: Math.max(ports.length, from + 2) };
  const y = { low: range.low, high: range.high, isPort: true };
  const marks = isWalk ? lapLines(ports, from, x, y) : dots(ports, from, x, y);
  const last = ports.length - 1;
  const hit = ports[last] === peerPort ? hitMark(ports.length, peerPort, x, y) : "";
  const label =
    `the local ports of attempts ${count(from + 1)} to ${count(ports.length)} in order, ` +
    `between ${range.low} and ${range.high}${hit ? `; the last is ${peerPort}, the peer's own` : ""}`;
  const body = frame(x, y, "attempt", "local port") + marks + peerLine(peerPort, y) + hit;
  return svg("plot", WIDTH, HEIGHT, label, body);
}

/** The attempt from which the last laps of a walk are drawn. */
function startOfLaps(ports: Uint16Array): number {
  let laps = 0;
  for (let at = ports.length - 1; at > 0; at--) {
    if (ports[at]! < ports[at - 1]! && ++laps === MOST_LAPS) return at;
  }
  return 0;
}

/** A line for each lap, of so few points that all laps together have MOST_POINTS. */
function lapLines(ports: Uint16Array, from: number, x: Axis, y: Axis): string {
  const every = Math.max(1, Math.ceil((ports.length - from) / MOST_POINTS));
  const laps: string[][] = [[]];
  for (let at = from; at < ports.length; at++) {
    const isNewLap = at > from && ports[at]! < ports[at - 1]!;
    const isEnd = at === ports.length - 1 || ports[at + 1]! < ports[at]!;
    if (isNewLap) laps.push([]);
    if (isNewLap || isEnd || (at - from) % every === 0) laps.at(-1)!.push(point(at + 1, ports[at]!, x, y));
  }
  return laps.map((points) => `<polyline class="line" points="${points.join(" ")}"/>`).join("");
}

function dots(ports: Uint16Array, from: number, x: Axis, y: Axis): string {
  return Array.from(ports.subarray(from), (port, index) => {
    const [cx, cy] = [scaleX(from + index + 1, x).toFixed(1), scaleY(port, y).toFixed(1)];
    return `<circle class="dot" cx="${cx}" cy="${cy}" r="1.2"/>`;
  }).join("");
}

function hitMark(attempt: number, port: number, x: Axis, y: Axis): string {
  const [cx, cy] = [scaleX(attempt, x).toFixed(1), scaleY(port, y).toFixed(1)];
  const tip = `<title>attempt ${count(attempt)}: joined to itself</title>`;
  return `<circle class="joined" cx="${cx}" cy="${cy}" r="5">${tip}</circle>`;
}

function peerLine(peerPort: number, y: Axis): string {
  if (peerPort < y.low || peerPort > y.high) return "";
  const top = scaleY(peerPort, y).toFixed(1);
  const text = `<text class="mark" x="${LEFT + 4}" y="${Number(top) - 4}">port ${peerPort}</text>`;
  return `<path class="peer" d="M${LEFT} ${top}H${WIDTH - RIGHT}"/>${text}`;
}

/** Every pass over the peer's port, one line each: the ports that were picked near it. */
export function passesSvg(ports: Uint16Array, peerPort: number, { at }: WalkPasses): string {
  const shown = at.slice(-MOST_PASSES);
  const x: Axis = { low: peerPort - NEAR, high: peerPort + NEAR, isPort: true, ticks: portTicks(peerPort) };
  const gap = (HEIGHT - TOP - BOTTOM) / (shown.length + 1);
  const lines = shown.map((attempt, index) => {
    const top = (TOP + gap * (index + 1)).toFixed(1);
    const near = portsAround(ports, attempt, peerPort);
    const marks = near.map((port) => {
      const isHit = port === peerPort;
      const mark = `cx="${scaleX(port, x).toFixed(1)}" cy="${top}" r="${isHit ? 5 : 3}"`;
      return `<circle class="${isHit ? "joined" : "dot"}" ${mark}/>`;
    });
    const number = at.length - shown.length + index + 1;
    const name = `<text x="${LEFT - 6}" y="${Number(top) + 4}" text-anchor="end">${count(number)}</text>`;
    return `<path class="grid" d="M${LEFT} ${top}H${WIDTH - RIGHT}"/>${name}${marks.join("")}`;
  });
  const middle = scaleX(peerPort, x).toFixed(1);
  const line = `<path class="peer" d="M${middle} ${TOP - 6}V${HEIGHT - BOTTOM}"/>`;
  const floor: Axis = { low: 0, high: 1, ticks: [] };
  const times = `the last ${shown.length} of ${count(at.length)} times that the walk came by`;
  const label = `the local ports near ${peerPort}, ${times}`;
  return svg("plot", WIDTH, HEIGHT, label, frame(x, floor, "local port", "pass") + line + lines.join(""));
}

function portTicks(peerPort: number): NonNullable<Axis["ticks"]> {
  return [-16, -8, 0, 8, 16].map((step) => ({ value: peerPort + step, text: String(peerPort + step) }));
}

/** The ports within NEAR of the port that were picked just before and after an attempt. */
function portsAround(ports: Uint16Array, attempt: number, peerPort: number): number[] {
  const around = ports.subarray(Math.max(0, attempt - NEAR), attempt + NEAR);
  return Array.from(around).filter((port) => Math.abs(port - peerPort) <= NEAR);
}

/** The chance that so many attempts are enough, and how many this run took. */
export function attemptsSvg(wait: Wait, attempts: number | null): string {
  const x = { low: 0, high: Math.max(wait.quantile(0.99), attempts ?? 0) * 1.05 };
  const y = PERCENT_AXIS;
  const curve = Array.from({ length: CURVE_POINTS + 1 }, (_, index) => {
    const at = Math.round((index / CURVE_POINTS) * x.high);
    return point(at, wait.cdf(at), x, y);
  });
  const here = attempts === null ? "" : thisRun(attempts, wait.cdf(attempts), x, y);
  const label =
    `the share of runs that are joined to themselves within so many attempts: half of them within ` +
    `${count(wait.quantile(0.5))}, 99 % within ${count(wait.quantile(0.99))}`;
  const body = `${frame(x, y, "attempts", "share of runs")}<polyline class="line" points="${curve.join(" ")}"/>${here}`;
  return svg("plot", WIDTH, HEIGHT, label, body);
}

function thisRun(attempts: number, share: number, x: Axis, y: Axis): string {
  const [left, top] = [scaleX(attempts, x), scaleY(share, y)];
  const isRight = left > WIDTH / 2;
  const anchor = isRight ? "end" : "start";
  const [x0, y0] = [left + (isRight ? -9 : 9), Math.min(top + 18, HEIGHT - BOTTOM - 6)];
  const text = markText(x0, y0, anchor, "this run");
  const line = `<path class="peer" d="M${left.toFixed(1)} ${HEIGHT - BOTTOM}V${top.toFixed(1)}"/>`;
  return `${line}<circle class="joined" cx="${left.toFixed(1)}" cy="${top.toFixed(1)}" r="5"/>${text}`;
}

function markText(x: number, y: number, anchor: string, text: string): string {
  return `<text class="mark" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${text}</text>`;
}

/** A client at one pace, and its wait. */
export interface PaceCurve {
  readonly attemptsPerSecond: number;
  readonly wait: Wait;
}

/** The chance of a self-connect within a time, for clients of several paces. */
export function pacesSvg(curves: readonly PaceCurve[]): string {
  const seconds = (curve: PaceCurve, share: number) => curve.wait.quantile(share) / curve.attemptsPerSecond;
  const low = Math.min(...curves.map((curve) => seconds(curve, 0.02)));
  const high = Math.max(...curves.map((curve) => seconds(curve, 0.99)));
  const ticks = TICKS_S.filter(({ value }) => value >= low && value <= high);
  const x: Axis = { low, high, isLogarithmic: true, ticks };
  const y = PERCENT_AXIS;
  const lines = curves.map((curve, index) => {
    const { attemptsPerSecond, wait } = curve;
    const points = Array.from({ length: CURVE_POINTS + 1 }, (_, at) => {
      const time = low * (high / low) ** (at / CURVE_POINTS);
      return point(time, wait.cdf(Math.floor(time * attemptsPerSecond)), x, y);
    });
    const share = 0.5 + (index % 2 === 0 ? 0.22 : -0.08);
    const left = scaleX(seconds(curve, share), x) - 6;
    const top = scaleY(share, y);
    const name = markText(left, top, "end", `${count(attemptsPerSecond)}/s`);
    return `<polyline class="line" points="${points.join(" ")}"/>${name}`;
  });
  const medians = curves.map((curve) => {
    return `at ${count(curve.attemptsPerSecond)} a second half of them within ${duration(seconds(curve, 0.5) * 1000)}`;
  });
  const label = `the share of clients that are joined to themselves within a time: ${medians.join(", ")}`;
  return svg(
    "plot",
    WIDTH,
    HEIGHT,
    label,
    frame(x, y, "time, logarithmic", "share of clients") + lines.join(""),
  );
}
