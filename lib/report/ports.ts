/** How the kernel picks local ports, as the object of docs/schema/ports-1.json and as text. */
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { Fingerprint } from "../ports/fingerprint.ts";
import type { Method } from "../ports/method.ts";
import type { Observation } from "../ports/sample.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { count, duration, pluralize } from "./numbers.ts";
import { barPlot, dotPlot } from "./plot-text.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { paint, renderText, tableLines } from "./terminal.ts";

/** The object of docs/schema/ports-1.json: a fingerprint and the observation behind it. */
export interface PortsReport extends Fingerprint {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.ports/1";
  /** How an attempt got its local port. */
  readonly method: Method;
  /** The addresses that were connected to. */
  readonly peers: readonly Pick<Address, "family" | "host" | "port">[];
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

const BARS = 16;
/** More points than this turn the plot of a walk into a solid block. */
const MOST_POINTS = 12_000;

/** Builds the object of docs/schema/ports-1.json. */
export function portsReport({ method, peers }: Observation, print: Fingerprint): PortsReport {
  return {
    schema: "selfconnect.ports/1",
    method,
    peers: peers.map(({ family, host, port }) => ({ family, host, port })),
    ...print,
    environment: environment(),
  };
}

/** Observed ports for a terminal: plots, the fingerprint, the verdict. */
export function portsText(observation: Observation, print: Fingerprint, options: TextOptions = {}): string {
  const how = observation.method === "bind" ? "on" : "to";
  const lines: Line[] = [
    `${count(print.attempts)} attempts ${how} ${formatAddress(observation.peers[0]!)}, ${observation.method}`,
    "",
  ];
  if (print.attempts > 0) {
    lines.push(...plotLines(observation, print), ...tableLines(portsFacts(print), "ll"), "");
    lines.push(...verdictLines(print));
  }
  return renderText(lines, options);
}

/** The algorithm and its kernels, or why it is unknown. */
export function verdictLines({ verdict }: Pick<Fingerprint, "verdict">): Line[] {
  const { name, family, kernels, resembles, reason, runnerUp, bitsPerAttempt } = verdict;
  if (reason !== null) return [[paint("bold", "unknown"), `: ${reason}`]];
  const odds = runnerUp && `10^${count(runnerUp.oddsLog10)} times as likely as ${runnerUp.name}`;
  return [
    [paint("bold", name), `: ${family}`],
    ...(kernels ? [`as in ${kernels}`] : []),
    ...(resembles ? [`resembles ${resembles}`] : []),
    ...(odds ? [`${odds}; it leaves ${bitsPerAttempt!.toFixed(2)} bits of each port unexplained`] : []),
  ];
}

function plotLines(observation: Observation, print: Fingerprint): string[] {
  const points = Array.from(observation.ports.subarray(0, MOST_POINTS), (y, x) => ({ x: x + 1, y }));
  const steps = [...print.steps.slice(0, BARS)].sort((a, b) => a.step - b.step);
  const bars = steps.map(({ step, count }) => ({ label: `+${step}`, value: count }));
  const isWalk = print.steps.reduce((sum, { count }) => sum + count, 0) > print.attempts / 2;
  const part =
    print.attempts > points.length ? `, the first ${count(points.length)} of ${count(print.attempts)}` : "";
  const peerPort = observation.peers[0]!.port;
  const labels = { x: `attempts${part}`, y: `local port (▶ the peer's, ${peerPort})` };
  const lines = [...dotPlot(points, labels, peerPort), ""];
  const joined = observation.ports.reduce((sum, port) => sum + (port === peerPort ? 1 : 0), 0);
  if (joined > 0) lines.push(`${pluralize(joined, "self-connect")}: attempts with the peer's port`, "");
  return isWalk ? [...lines, "step to the next port", ...barPlot(bars), ""] : lines;
}

/** How well the next port can be guessed from the one before. */
function entropyText({ bits, isLowerBound }: Fingerprint["entropy"]): string {
  const least = isLowerBound ? "at least " : "";
  return `one of about ${least}${count(2 ** bits)} (entropy ${least}${bits.toFixed(2)} bits)`;
}

/** The fingerprint as names and values, for every format. */
export function portsFacts(print: Fingerprint): [name: string, value: string][] {
  const { parity, wrap, jumps, entropy, reuse, dependence } = print;
  const wraps = wrap ? `, from ${wrap.from} to ${wrap.to}` : "";
  const every = jumps.everyMs === null ? "" : `, every ${duration(jumps.everyMs)}`;
  const again = reuse
    ? `after ${count(reuse.least)} attempts at the earliest, median ${count(reuse.median)}`
    : "none";
  const claims: [string, boolean | null][] = [
    ["the peer's port", dependence.peerPort],
    ["its address", dependence.peerAddress],
    ["other traffic", dependence.otherTraffic],
    ["the network namespace", dependence.namespace],
  ];
  const observed = claims.filter(([, claim]) => claim !== null);
  const facts: [string, string][] = [
    ["ports", `${print.low}-${print.high}, ${count(parity.even)} even, ${count(parity.odd)} odd`],
    ["times around", `${count(print.laps)}${wraps}`],
    ["sudden moves", `${count(jumps.count)}${every}`],
    ["next port", entropyText(entropy)],
    ["given again", again],
  ];
  if (observed.length > 0) {
    const claimTexts = observed.map(([name, claim]) => `${name}: ${claim ? "yes" : "no"}`);
    facts.push(["depends on", claimTexts.join(", ")]);
  }
  if (dependence.whyNoNamespace) {
    facts.push(["not observed", `the network namespace: ${dependence.whyNoNamespace}`]);
  }
  return facts;
}
