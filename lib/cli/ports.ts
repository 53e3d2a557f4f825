/** selfconnect ports: observe the kernel's choice of local ports, and name it. */
import { Command, Option } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import type { Address } from "../index.ts";
import { formatAddress, listenRefusal, TcpSocket } from "../index.ts";
import { isOwnAddress } from "../kernel/index.ts";
import type { Method, Observation } from "../ports/index.ts";
import { findDeadPort, fingerprint, METHODS, readPorts, samplePorts } from "../ports/index.ts";
import {
  portsHtml,
  portsReadHtml,
  portsReadReport,
  portsReadText,
  portsReport,
  portsText,
} from "../report/index.ts";
import { count, mebibytes } from "../report/numbers.ts";
import { DEFAULT_PEER, parseCount, parsePeer } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addHostOptions, runHereOrThere } from "./on-hosts.ts";
import { interruption, LiveLine, printNotice, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addBaselineOptions, addFileOptions, finishResult, readBaseline } from "./result-files.ts";

interface Flags extends HostFlags, ResultFlags {
  readonly peer: Address;
  readonly method: Method;
  readonly count: number;
  readonly listen?: boolean;
  readonly read?: string;
  readonly ports?: string;
}

export function portsCommand(): Command {
  const command = new Command("ports")
    .description(
      "Connects to a port of this host again and again and records the local ports. From these alone it names the " +
        "algorithm (RFC 6056) and the kernels that have it, or reports why it cannot. With --read it names the " +
        "algorithm of every host whose SYNs are in a capture, and connects nowhere.",
    )
    .addOption(
      new Option(
        "--peer <address>",
        "an address of this host; where a server is at work, a dead port is observed",
      )
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--method <name>", "how an attempt gets its local port").choices(METHODS).default("connect"),
    )
    .option("--count <count>", "how many attempts", parseCount, 20_000)
    .option("--listen", "open a listener at the peer's address, and connect to that")
    .addOption(
      new Option(
        "--read <file>",
        "instead read a capture (pcap, pcapng), or a list as --ports writes it; - is stdin",
      ).conflicts(["peer", "method", "count", "listen", "ports"]),
    )
    .option("--ports <file>", "write the local ports, in order, one per line")
    .option("--json", "print one object (docs/schema/ports-1.json, with --read ports-read-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runHereOrThere("ports", flags, () =>
        flags.read === undefined ? runPorts(flags) : runRead(flags.read, flags),
      );
    });
  return addHostOptions(addBaselineOptions(addFileOptions(command, FILES)), ["read", "ports"]);
}

const FILES = { html: "write a page with zoomable plots", output: true, markdown: true, csv: true } as const;

const EXAMPLES = `Examples:
  selfconnect ports                                    what connect(2) is given
  selfconnect ports --method bind                      what bind(2) with port 0 is given
  selfconnect ports --count 2000000                    long enough to see a new salt, every 10 s on Linux
  selfconnect ports --baseline before.json             does it pick them as before? (--output wrote the file)
  tcpdump -w - tcp | selfconnect ports --read -        how the hosts on this network pick ports`;

async function runPorts(flags: Flags): Promise<number> {
  const signal = interruption();
  const baseline = readBaseline("ports", flags);
  const observation = await observe(flags, signal);
  const fingerprinted = fingerprint(observation);
  if (flags.ports !== undefined) writeWhole(flags.ports, `${observation.ports.join("\n")}\n`);
  const result = {
    report: portsReport(observation, fingerprinted),
    text: () => portsText(observation, fingerprinted, textOptions()),
    html: () => portsHtml(observation, fingerprinted),
  };
  const code = fingerprinted.verdict.name === "unknown" ? EXIT.failed : EXIT.done;
  return finishResult(result, flags, baseline, signal.aborted ? EXIT.interrupted : code);
}

/** Names the algorithm of every host in a capture or list. Exits with 0 if it names one. */
async function runRead(file: string, flags: Flags): Promise<number> {
  const baseline = readBaseline("ports-read", flags);
  using line = new LiveLine();
  const onProgress = (bytes: number) => line.show(`${mebibytes(bytes)} read`);
  const reading = await readPorts(file === "-" ? process.stdin : file, { onProgress }).catch((error) => {
    throw new Error(`cannot read ${file}: ${error.message}`, { cause: error });
  });
  line.clear();
  const result = {
    report: portsReadReport(file, reading),
    text: () => portsReadText(file, reading, textOptions()),
    html: () => portsReadHtml(file, reading),
  };
  const isNamed = reading.sources.some(({ verdict }) => verdict.name !== "unknown");
  return finishResult(result, flags, baseline, isNamed ? EXIT.done : EXIT.failed);
}

async function observe(flags: Flags, signal: AbortSignal): Promise<Observation> {
  using line = new LiveLine();
  using listener = flags.listen ? new PeerListener(flags.peer) : null;
  return await samplePorts({
    peer: flags.listen ? flags.peer : deadPeerOf(flags.peer),
    method: flags.method,
    count: flags.count,
    namespaces: true,
    signal,
    onProgress: (done) => {
      listener?.drain();
      line.show(`${count(done)} of ${count(flags.count)} attempts`);
    },
  });
}

/** The peer, or a dead port of its host when a server is at work there: it must not get thousands of connections. */
function deadPeerOf(peer: Address): Address {
  if (!isOwnAddress(peer) || listenRefusal(peer) === null) return peer;
  const dead = { ...peer, port: findDeadPort(peer) };
  printNotice([`${formatAddress(peer)} is in use: observing ${formatAddress(dead)}, where nothing listens`]);
  return dead;
}

/** The listener of --listen. Accepts and resets every connection, because a full backlog would drop SYNs. */
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
