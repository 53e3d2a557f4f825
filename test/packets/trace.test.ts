/** Traces of real connections, compared with tshark and with the kernel's states; and traces with lost packets. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { chromium } from "playwright-core";
import type { TestContext } from "vitest";
import { afterAll, describe, expect, it } from "vitest";
import type { LadderRow, Leaving, TraceOptions } from "../../lib/packets/index.ts";
import { Capture, observeLeavings, trace } from "../../lib/packets/index.ts";
import { traceHtml } from "../../lib/report/index.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import {
  type CommandResult,
  cli,
  command,
  deadPeer,
  FAMILIES,
  interruptAfter,
  LOOPBACK,
  MAIN,
  needsNamespaces,
  needsTwoProcessors,
  runInNamespace,
} from "../support/harness.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-trace-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => path.join(folder, name);

const schema = JSON.parse(readFileSync(new URL("../../docs/schema/trace-1.json", import.meta.url), "utf8"));
const validate = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true }).compile(schema);

function parseValidated(stdout: string) {
  const report = JSON.parse(stdout);
  validate(report);
  expect(validate.errors).toBeNull();
  return report;
}

function needsCapture(context: TestContext): void {
  try {
    Capture.open(1, 1)[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof SocketError) || error.code !== "EPERM") throw error;
    context.skip("no packets here: AF_PACKET needs CAP_NET_RAW");
  }
}

function needsProgram(context: TestContext, name: string, debian: string): void {
  if (spawnSync(name, ["--version"]).error)
    context.skip(`${name} is missing (Debian: apt-get install ${debian})`);
}

const bytes = (text: string) => new TextEncoder().encode(text);
const PHONE = { width: 390, height: 844 };
const OPEN = ["CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"];
const CLOSE = ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"];

describe.each(FAMILIES)("a self-connect, IPv%i", (family) => {
  it.each([
    ["shutdown", CLOSE],
    ["close", CLOSE],
    ["reset", ["CLOSED"]],
  ] as const)("ended by %s: its packets, its states, its echo", async (closing, ending) => {
    const peer = deadPeer(family);
    const traced = await trace({ peer, closing, data: bytes("hello, myself") });
    expect(new TextDecoder().decode(traced.received)).toBe("hello, myself");
    expect(traced.samples.at(-1)!.state).toBe(ending.at(-1));
    if (traced.whyNoCapture) return; // Without CAP_NET_RAW there are no packets to check.
    const { ladder, capture } = traced;
    expect(ladder.ends).toMatchObject([{ address: peer, path: [...OPEN, ...ending] }]);
    const flags = ladder.rows.map((row) => row.flags.join("+"));
    const end = closing === "reset" ? ["RST+ACK"] : ["FIN+ACK", "ACK"];
    expect(flags).toEqual(["SYN", "SYN+ACK", "ACK", "PSH+ACK", "ACK", ...end]);
    expect(ladder.rows[3]).toMatchObject({ dataBytes: 13, text: "hello, myself" });
    // If both copies of each packet were kept, it would be twice as many.
    expect(capture).toMatchObject({ passed: ladder.rows.length, lost: 0, keptCopy: "outgoing" });
    expect(traced.agrees).toBe(true);
  });
});

it("a natural self-connect has the packets of its attempt, and none of the thousands before", async (context) => {
  needsCapture(context);
  const peer = deadPeer();
  const traced = await trace({ peer, natural: { attempts: 1_000_000, durationMs: 25_000 } });
  expect(traced.verdict).toBe("self-connect");
  expect(traced.ladder.rows.map((row) => row.flags.join("+"))).toEqual(["SYN", "SYN+ACK", "ACK", "RST+ACK"]);
  expect(traced.capture).toMatchObject({ passed: 4, lost: 0 });
});

it("on one processor SYNs do not cross, and the command says so", async (context) => {
  needsProgram(context, "taskset", "util-linux");
  const { status, stdout } = await command("taskset", ["-c", "0", process.execPath, MAIN, "trace", "--pair"]);
  // Even there a thread may lose the processor between its SYN and the answer.
  if (status === 0) context.skip("they crossed, on one processor");
  expect(stdout).toContain("only where two processors send them at the same moment");
});

it("a pair opens simultaneously: both ends pass SYN-RECEIVED, and B reads what A writes", async (context) => {
  needsCapture(context);
  needsTwoProcessors(context);
  const traced = await trace({ peer: deadPeer(), pair: true, data: bytes("punch"), closing: "close" });
  expect(traced.verdict).toBe("simultaneous-open");
  expect(new TextDecoder().decode(traced.received)).toBe("punch");
  const [a, b] = traced.ladder.ends.map((end) => end.path);
  expect(a!.slice(0, 4)).toEqual(OPEN);
  expect(b!.slice(0, 4)).toEqual(OPEN);
  expect([a!.at(-1), b!.at(-1)]).toContain("TIME-WAIT");
  expect(
    traced.ladder.rows
      .filter((row) => row.flags.join() === "SYN")
      .map((row) => row.from)
      .sort(),
  ).toEqual([0, 1]);
  expect(traced.agrees).toBe(true);
});

/** How many bytes of data the rows carry. A byte that was sent again counts once. */
function coveredBytes(rows: readonly LadderRow[]): number {
  const segments = rows
    .filter((row) => row.dataBytes > 0)
    .map((row) => ({ first: row.sequence.relative, end: row.sequence.relative + row.dataBytes }))
    .sort((a, b) => a.first - b.first);
  let bytes = 0;
  let covered = 0;
  for (const { first, end } of segments) {
    bytes += Math.max(0, end - Math.max(first, covered));
    covered = Math.max(covered, end);
  }
  return bytes;
}

describe("packets that the kernel had no room for", () => {
  const big: Partial<TraceOptions> = { data: new Uint8Array(400_000), stepMs: 2000 };

  it("are counted, and `agrees` is null", async (context) => {
    needsCapture(context);
    const { capture, ladder, agrees } = await trace({ peer: deadPeer(), ...big, bufferBytes: 1 });
    expect(capture!.lost).toBeGreaterThan(0);
    expect(capture!.passed).toBe(ladder.rows.length + capture!.lost);
    expect(agrees).toBeNull();
  });

  it("do not occur when there is room", async (context) => {
    needsCapture(context);
    const { capture, ladder, agrees } = await trace({ peer: deadPeer(), ...big });
    expect(capture).toMatchObject({ passed: ladder.rows.length, lost: 0 });
    // Under load the kernel sends some segments again, so their rows repeat.
    expect(coveredBytes(ladder.rows)).toBe(400_000);
    expect(agrees).toBe(true);
  });
});

describe("what each way to end a self-connect leaves behind", () => {
  it.each(FAMILIES)("only a reset frees the port, IPv%i", async (family) => {
    const table = await observeLeavings({ family, host: LOOPBACK[family], port: 0 });
    const row = (find: Partial<Leaving>) =>
      table.find(
        (one) => one.closing === find.closing && one.hadReuseAddress === (find.hadReuseAddress ?? false),
      );
    const inUse = { listen: "EADDRINUSE", listenWithReuseAddress: "EADDRINUSE" };
    expect(row({ closing: null })).toMatchObject({ left: "ESTABLISHED", ...inUse });
    for (const closing of ["shutdown", "close"] as const) {
      expect(row({ closing })).toMatchObject({ left: "TIME-WAIT", ...inUse });
      expect(row({ closing })!.remainingMs).toBeGreaterThan(50_000);
    }
    expect(row({ closing: "close", hadReuseAddress: true })).toMatchObject({
      left: "TIME-WAIT",
      listen: "EADDRINUSE",
      listenWithReuseAddress: null,
    });
    expect(row({ closing: "reset" })).toMatchObject({
      left: "CLOSED",
      remainingMs: 0,
      listen: null,
      listenWithReuseAddress: null,
    });
  });
});

/** Again, up to twice, where the SYNs of a pair did not cross: other work may have had a processor all the time. */
async function runTrace(args: readonly string[]): Promise<CommandResult> {
  let run = await cli(["trace", ...args]);
  for (let more = 2; more > 0 && /attempts-spent|at the same moment/.test(run.stdout); more--) {
    run = await cli(["trace", ...args]);
  }
  return run;
}

describe("tshark", () => {
  const FIELDS = ["tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw", "tcp.len"];
  const MORE = ["tcp.window_size_value", "frame.time_epoch", "frame.comment", "frame.interface_name"];
  const BITS: Record<string, number> = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 };

  const cases = FAMILIES.flatMap((family) => [
    { family, extra: [] },
    { family, extra: ["--pair"] },
  ]);
  it.for(cases)("opens the pcapng without a warning and agrees packet by packet: $family $extra", async ({
    family,
    extra,
  }, context) => {
    needsCapture(context);
    needsProgram(context, "tshark", "tshark");
    if (extra.length > 0) needsTwoProcessors(context);
    const peer = deadPeer(family);
    const [written, json] = [file(`${family}${extra.length}.pcapng`), "--json"];
    const data = ["--data", "hello", "--close", "shutdown"];
    const run = await runTrace([formatAddress(peer), ...extra, ...data, "--write", written, json]);
    const report = parseValidated(run.stdout);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    const args = ["-r", written, "-T", "fields", ...[...FIELDS, ...MORE].flatMap((name) => ["-e", name])];
    const { stdout, stderr, status } = await command("tshark", args);
    expect(status).toBe(0);
    expect(stderr.replace(/^Running as user "root".*\n/, "")).toBe("");
    const seen = stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t"));
    expect(seen).toEqual(
      report.ladder.rows.map((row: LadderJson) => [
        String(report.ladder.ends[row.from]!.address.port),
        String(report.ladder.ends[row.to]!.address.port),
        `0x${row.flags
          .reduce((bits, flag) => bits | BITS[flag]!, 0)
          .toString(16)
          .padStart(4, "0")}`,
        String(row.sequence.absolute),
        String(row.acknowledgement?.absolute ?? 0),
        String(row.dataBytes),
        String(row.window),
        row.stampNs.replace(/(\d{9})$/, ".$1"),
        `${row.sent.after} -> ${row.received.after}: ${row.why}`,
        "lo",
      ]),
    );
  });
});

interface LadderJson {
  readonly from: number;
  readonly to: number;
  readonly flags: string[];
  readonly sequence: { absolute: number };
  readonly acknowledgement: { absolute: number } | null;
  readonly dataBytes: number;
  readonly window: number;
  readonly stampNs: string;
  readonly sent: { after: string };
  readonly received: { after: string };
  readonly why: string;
}

describe("--html", () => {
  const HOSTILE = `</td><img src=x onerror="alert(1)">&`;

  async function page(context: TestContext, extra: readonly string[]) {
    needsCapture(context);
    const [html, written] = [file("page.html"), file("page.pcapng")];
    const run = await runTrace([formatAddress(deadPeer()), ...extra, "--html", html, "--write", written]);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    return {
      html: readFileSync(html, "utf8"),
      pcapng: readFileSync(written),
      opened: html,
      stdout: run.stdout,
    };
  }

  it.for([
    [],
    ["--pair"],
  ])("is one page with the picture, the packets and the pcapng of --write: %j", async (extra, context) => {
    if (extra.length > 0) needsTwoProcessors(context);
    const { html, pcapng, stdout } = await page(context, ["--data", "hello", ...extra]);
    const rows = html.match(/<tbody>([\s\S]*?)<\/tbody>/)![1]!.match(/<tr>/g)!;
    expect(stdout).toContain(`(pcapng, ${rows.length} packets)`);
    const embedded = /download="selfconnect\.pcapng" href="data:[^;]+;base64,([^"]+)"/.exec(html)![1]!;
    expect(Buffer.from(embedded, "base64").equals(pcapng)).toBe(true);
    const image = /<img src="data:image\/svg\+xml;base64,([^"]+)"/.exec(html)![1]!;
    expect(Buffer.from(image, "base64").toString()).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    expect(html).not.toContain("<script");
    for (const [, address] of html.matchAll(/(?:src|href)="([^"]*)"/g)) expect(address).toMatch(/^data:/);
  });

  it("escapes the data, in the text and in the picture", async (context) => {
    const { html } = await page(context, ["--data", HOSTILE]);
    expect(html).toContain("&lt;/td&gt;&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;");
    expect(html).not.toContain("<img src=x");
    const image = /<img src="data:image\/svg\+xml;base64,([^"]+)"/.exec(html)![1]!;
    expect(Buffer.from(image, "base64").toString()).not.toContain("<img");
  });

  it("reports what each way to end it leaves behind, with --close", async (context) => {
    const { html } = await page(context, ["--close", "reset"]);
    expect(html).toMatch(/<th scope="row">reset\(\)<\/th><td>nothing<\/td><td><\/td><td>starts<\/td>/);
  });

  it("reports why there are no packets where they cannot be captured", async () => {
    const traced = { ...(await trace({ peer: deadPeer() })), capture: null, frames: [], agrees: null };
    const ladder = { ...traced.ladder, rows: [] };
    const without = { ...traced, ladder, whyNoCapture: "needs <CAP_NET_RAW>" };
    const extra = { leavings: null, sent: null };
    const html = traceHtml(without, extra);
    expect(html).toContain("No packets: needs &lt;CAP_NET_RAW&gt;");
    expect(html).toContain("ESTABLISHED (TCP_INFO)");
    expect(html).not.toMatch(/<img|download=/);
  });

  it("opens in a browser without a script or request, fits a phone, and displays the picture", async (context) => {
    const installed = spawnSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).stdout.trim();
    if (!installed) context.skip("no chromium here (Debian: apt-get install chromium)");
    const { opened } = await page(context, ["--data", "hello", "--close", "shutdown"]);
    const browser = await chromium.launch({ executablePath: installed, args: ["--no-sandbox"] });
    try {
      const shown = await browser.newPage({ viewport: PHONE, colorScheme: "dark" });
      const events: string[] = [];
      shown.on("console", (message) => events.push(message.text()));
      shown.on("request", (request) => /^(file|data):/.test(request.url()) || events.push(request.url()));
      await shown.goto(`file://${opened}`);
      expect(events).toEqual([]);
      expect(await shown.evaluate("document.images[0].naturalWidth")).toBeGreaterThan(PHONE.width);
      expect(await shown.evaluate("document.documentElement.scrollWidth")).toBe(PHONE.width);
      expect(await shown.evaluate("getComputedStyle(document.body).backgroundColor")).toBe("rgb(17, 21, 26)");
      expect(await shown.getByRole("img").getAttribute("alt")).toMatch(/7 packets/);
      const started = shown.waitForEvent("download");
      await shown.getByRole("link", { name: "selfconnect.pcapng" }).click();
      expect((await started).suggestedFilename()).toBe("selfconnect.pcapng");
    } finally {
      await browser.close();
    }
  });
});

describe("in slow motion", () => {
  /**
   * Limits loopback to 500 bytes a second: every packet waits, so that every state lasts long enough for ss(8), which
   * uses NETLINK_SOCK_DIAG. Until the socket exists, datagrams of 100 bytes keep the bucket empty. They go to an open
   * port, because there is no room for an ICMP reply.
   */
  const SLOW = `
    tc qdisc add dev lo root tbf rate 4kbit burst 150 limit 100000 || exit 77
    "$1" -e 'const s=require("dgram").createSocket("udp4").bind(0,"127.0.0.1",()=>{const f=()=>s.send(Buffer.alloc(58),s.address().port,"127.0.0.1");f();f();setInterval(f,200)})' & filling=$!
    "$1" "$2" trace "$3" --data hi --close shutdown --json & traced=$!
    while kill -0 $traced 2>/dev/null; do
      state=$(ss -tanH "sport = :$4")
      [ -z "$state" ] || { kill $filling 2>/dev/null; echo "$state" >&2; }
    done
    kill $filling 2>/dev/null
    wait $traced`;

  /** On a busy machine ss may miss states, or loopback be too slow for the connect. Then the test tries again. */
  const LOOKS = 8;
  const whole = [...OPEN, ...CLOSE].slice(1);

  it("sock_diag and TCP_INFO report every state of the path, in its order", {
    timeout: 120_000,
  }, async (context) => {
    needsNamespaces(context);
    needsProgram(context, "ss", "iproute2");
    const seen = { sockDiag: new Set<string>(), sampled: new Set<string>() };
    const isSeen = () => Object.values(seen).every((states) => states.size === whole.length);
    for (let look = 0; look < LOOKS && !isSeen(); look++) {
      const { sockDiag, report } = await lookSlowly(context);
      const sampled: string[] = report?.samples.map((sample: { state: string }) => sample.state) ?? [];
      for (const [name, states] of Object.entries({ sockDiag, sampled })) {
        // States may be missing, but those that were reported are in the order of the path.
        expect(states, name).toEqual(whole.filter((state) => states.includes(state)));
        for (const state of states) seen[name as keyof typeof seen].add(state);
      }
      if (report) expect(report.ladder.ends[0].path.slice(1)).toEqual(whole);
      if (report) expect(report.agrees).toBe(true);
    }
    expect(whole.filter((state) => seen.sockDiag.has(state))).toEqual(whole);
    expect(whole.filter((state) => seen.sampled.has(state))).toEqual(whole);
  });

  /** Returns the states that ss reported, and the trace's report; null if the connect reached its deadline. */
  async function lookSlowly(context: TestContext) {
    const peer = deadPeer();
    const args = ["-c", SLOW, "sh", process.execPath, MAIN, formatAddress(peer), String(peer.port)];
    const { status, stdout, stderr } = await runInNamespace("32768 60999", "sh", args);
    if (status === 77) context.skip("this kernel cannot slow its loopback down: needs CONFIG_NET_SCH_TBF");
    const sockDiag = stderr
      .split("\n")
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => line.split(/\s+/)[0]!)
      .filter((state, i, all) => state !== "UNCONN" && state !== all[i - 1])
      .map((state) => ({ "SYN-RECV": "SYN-RECEIVED", ESTAB: "ESTABLISHED" })[state] ?? state);
    if (status !== 0) expect(stderr).toContain("no reply to connect");
    return { sockDiag, report: status === 0 ? parseValidated(stdout) : null };
  }
});

describe("selfconnect trace", () => {
  it("prints packets, states, echo and leavings, and frees the port by default", async () => {
    const peer = deadPeer();
    const picture = file("ladder.svg");
    const { status, stdout, stderr } = await cli([
      "trace",
      formatAddress(peer),
      "--data",
      "hi",
      "--svg",
      picture,
    ]);
    expect(stderr).toBe("");
    expect(stdout).toContain(`${formatAddress(peer)} connects to itself`);
    expect(stdout).toContain('wrote "hi", the same socket read "hi"');
    expect(listenRefusal(peer)).toBeNull();
    if (stdout.includes("no packets:")) return;
    expect(status).toBe(0);
    expect(stdout).toContain("CLOSED → SYN-SENT → SYN-RECEIVED → ESTABLISHED → CLOSED");
    expect(stdout).toContain("none lost");
    expect(readFileSync(picture, "utf8")).toMatch(/^<svg /);
  });

  it("without CAP_NET_RAW prints that, and still prints the states and TCP_INFO", async (context) => {
    if (spawnSync("setpriv", ["--bounding-set", "-net_raw", "true"]).status !== 0)
      context.skip("cannot take a capability away here: needs setpriv (util-linux) and permission");
    const drop = ["--bounding-set", "-net_raw", "--inh-caps", "-net_raw", process.execPath, MAIN, "trace"];
    const printed = await command("setpriv", [...drop, formatAddress(deadPeer())]);
    expect(printed.status).toBe(0);
    expect(printed.stdout).toMatch(/no packets: .*CAP_NET_RAW/);
    expect(printed.stdout).toContain("kernel    ESTABLISHED (TCP_INFO), CLOSED (/proc/net/tcp)");
    expect(printed.stdout).toMatch(/TCP_INFO +ESTABLISHED, segments out 3, in 3/);
    const unwritten = file("unwritten.pcapng");
    const asked = await command("setpriv", [
      ...drop,
      formatAddress(deadPeer()),
      "--write",
      unwritten,
      "--json",
    ]);
    expect(asked.status).toBe(1);
    expect(parseValidated(asked.stdout)).toMatchObject({ capture: null, agrees: null, ladder: { rows: [] } });
  });

  it("reports the state of the socket that has the port, and for how long", async () => {
    const peer = formatAddress(deadPeer());
    await cli(["trace", peer, "--close", "close"]);
    const { status, stderr } = await cli(["trace", peer]);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /bind EADDRINUSE.*is in TIME-WAIT after a socket joined to itself, \d+ s left.*--close reset/,
    );
  });

  it("is interrupted by Ctrl-C, and refuses wrong arguments", async () => {
    const never = formatAddress(deadPeer(4, "other"));
    const interrupted = await cli(["trace", never, "--natural", "--json"], interruptAfter(1000));
    expect(interrupted.status).toBe(130);
    expect(parseValidated(interrupted.stdout)).toMatchObject({ verdict: "interrupted" });
    const spent = await cli(["trace", never, "--natural", "--attempts", "10"]);
    expect(spent.status).toBe(1);
    expect(spent.stdout).toContain("not connected: attempts-spent");
    for (const wrong of [["--close", "slowly"], ["--natural", "--pair"], ["nonsense"]]) {
      expect((await cli(["trace", ...wrong])).status).toBe(2);
    }
  });
});
