/** selfconnect ports: observe the kernel's choice of local ports, and name it. */
import { writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import type { Address } from "../index.ts";
import { formatAddress, TcpSocket } from "../index.ts";
import { environment } from "../kernel/index.ts";
import type { Fingerprint, Method, Observation } from "../ports/index.ts";
import { fingerprint, METHODS, samplePorts } from "../ports/index.ts";
import { barPlot, dotPlot, portsHtml } from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parsePeer } from "./arguments.ts";
import { writeWhole } from "./files.ts";
import { count, duration, INTERRUPTED, interruption, LiveLine, styled } from "./output.ts";

interface Flags {
  readonly peer: Address;
  readonly method: Method;
  readonly count: number;
  readonly listen?: boolean;
  readonly ports?: string;
  readonly html?: string;
  readonly json?: boolean;
}

const BARS = 16;
/** More points than this make the plot of a walk a solid block. */
const MOST_POINTS = 12_000;

export function portsCommand(): Command {
  return new Command("ports")
    .summary("observe which local ports the kernel picks, and name the algorithm")
    .description(
      "Makes attempts to a port of this host and looks at the local ports they are given. Then names the algorithm " +
        "(RFC 6056) and the kernels that have it, from the observations alone, or says why it cannot.",
    )
    .addOption(
      new Option("--peer <address>", "a dead port or a listener of this host")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--method <name>", "how a local port is asked for").choices(METHODS).default("connect"),
    )
    .option("--count <count>", "how many attempts", parseCount, 20_000)
    .option("--listen", "open a listener at the peer's address, and connect to that")
    .option("--ports <file>", "write the local ports, in order, one a line")
    .option("--html <file>", "write a page with zoomable plots")
    .option("--json", "print one object (docs/schema/ports-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await ports(flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect ports                                    what connect(2) is given
  selfconnect ports --method bind                      what bind(2) with port 0 is given
  selfconnect ports --count 2000000                    long enough to see a new salt, every 10 s on Linux`;

async function ports(flags: Flags): Promise<number> {
  const signal = interruption();
  const observation = await observe(flags, signal);
  if (flags.ports !== undefined) writeFileSync(flags.ports, `${observation.ports.join("\n")}\n`);
  const print = fingerprint(observation);
  if (flags.html !== undefined) writeWhole(flags.html, portsHtml(observation, print, facts(print)));
  if (flags.json) console.log(JSON.stringify(report(observation, print), null, 2));
  else tell(observation, print);
  if (signal.aborted) return INTERRUPTED;
  return print.verdict.name === "unknown" ? 1 : 0;
}

async function observe(flags: Flags, signal: AbortSignal): Promise<Observation> {
  using line = new LiveLine();
  using listener = flags.listen ? new PeerListener(flags.peer) : null;
  return await samplePorts({
    peer: flags.peer,
    method: flags.method,
    count: flags.count,
    namespaces: true,
    signal,
    onProgress: (made) => {
      listener?.drain();
      line.show(`${count(made)} of ${count(flags.count)} attempts`);
    },
  });
}

/** A listener of the command's own. It takes every connection and lets it go: a full backlog would drop SYNs. */
class PeerListener implements Disposable {
  readonly #socket: TcpSocket;

  constructor(address: Address) {
    this.#socket = TcpSocket.open(address.family, { reuseAddress: true });
    try {
      this.#socket.bind(address).listen();
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  drain(): void {
    for (let taken = this.#socket.accept(); taken; taken = this.#socket.accept()) taken.reset();
  }

  [Symbol.dispose](): void {
    this.drain();
    this.#socket.close();
  }
}

export function tell(observation: Observation, print: Fingerprint): void {
  const { verdict } = print;
  const how = observation.method === "bind" ? "on" : "to";
  console.log(
    `${count(print.attempts)} attempts ${how} ${formatAddress(observation.peers[0]!)}, ${observation.method}\n`,
  );
  if (print.attempts === 0) return;
  for (const line of plots(observation, print)) console.log(line);
  for (const [name, value] of facts(print)) console.log(`${name.padEnd(13)} ${value}`);
  console.log();
  if (verdict.reason !== null) {
    console.log(`${styled("bold", "unknown")}: ${verdict.reason}`);
    return;
  }
  console.log(`${styled("bold", verdict.name)}: ${verdict.family}`);
  if (verdict.kernels) console.log(`as in ${verdict.kernels}`);
  const { runnerUp } = verdict;
  if (runnerUp) {
    const odds = `10^${count(runnerUp.oddsLog10)} to 1 over ${runnerUp.name}`;
    console.log(`${verdict.bitsPerAttempt.toFixed(2)} bits an attempt; ${odds}, the runner-up`);
  }
}

function plots(observation: Observation, print: Fingerprint): string[] {
  const points = Array.from(observation.ports.subarray(0, MOST_POINTS), (y, x) => ({ x: x + 1, y }));
  const steps = [...print.steps.slice(0, BARS)].sort((a, b) => a.step - b.step);
  const bars = steps.map(({ step, count }) => ({ label: `+${step}`, value: count }));
  const isWalk = print.steps.reduce((sum, { count }) => sum + count, 0) > print.attempts / 2;
  const lines = [...dotPlot(points, { x: "attempts", y: "local port" }), ""];
  return isWalk ? [...lines, "step to the next port", ...barPlot(bars), ""] : lines;
}

export function facts(print: Fingerprint): [string, string][] {
  const { parity, wrap, jumps, entropy, reuse, dependence } = print;
  const wraps = wrap ? `, from ${wrap.from} on to ${wrap.to}` : "";
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
  const told = claims.filter(([, claim]) => claim !== null);
  return [
    ["ports", `${print.low}-${print.high}, ${count(parity.even)} even, ${count(parity.odd)} odd`],
    ["laps", `${count(print.laps)}${wraps}`],
    ["jumps", `${count(jumps.count)}${every}`],
    ["entropy", `${entropy.isLowerBound ? "at least " : ""}${entropy.bits.toFixed(2)} bits of the next port`],
    ["re-use", again],
    ...(told.length > 0
      ? [["depends on", told.map(([name, claim]) => `${name}: ${claim ? "yes" : "no"}`).join(", ")]]
      : []),
    ...(dependence.whyNoNamespace
      ? [["not observed", `the network namespace: ${dependence.whyNoNamespace}`]]
      : []),
  ] as [string, string][];
}

/** The object of docs/schema/ports-1.json. */
export function report(observation: Observation, print: Fingerprint) {
  const { method, peers } = observation;
  return {
    schema: "selfconnect.ports/1",
    method,
    peers: peers.map(({ family, host, port }) => ({ family, host, port })),
    ...print,
    environment: environment(),
  };
}
