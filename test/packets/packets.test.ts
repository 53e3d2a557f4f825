/** Packets without a network: the decoder, the states, the reasons, the file and the picture, and malformed bytes. */
import { describe, expect, it } from "vitest";
import type { Frame, LadderRow } from "../../lib/packets/index.ts";
import { decodeFrame, ladderOf, pcapng } from "../../lib/packets/index.ts";
import { agreesWith } from "../../lib/packets/trace.ts";
import { ladderSvg } from "../../lib/report/index.ts";
import { ladderLines } from "../../lib/report/ladder-text.ts";
import { renderText } from "../../lib/report/terminal.ts";
import { hostBytes } from "../../lib/socket/address-text.ts";
import type { TcpState } from "../../lib/socket/tcp-state.ts";
import { FAMILIES, LOOPBACK, random } from "../support/harness.ts";

const FLAG_BITS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
const A = 1000;
const B = 2000;

interface Made {
  readonly family?: 4 | 6;
  readonly from?: number;
  readonly to?: number;
  readonly flags: string;
  readonly seq: number;
  readonly ack?: number;
  readonly data?: string;
  readonly options?: readonly number[];
}

/** Builds a correct Ethernet frame for the decoder. */
function frameBytes({
  family = 4,
  from = A,
  to = A,
  flags,
  seq,
  ack = 0,
  data = "",
  options = [],
}: Made): Uint8Array {
  const payload = new TextEncoder().encode(data);
  const tcp = new Uint8Array(20 + options.length + payload.length);
  const tcpView = new DataView(tcp.buffer);
  tcpView.setUint16(0, from);
  tcpView.setUint16(2, to);
  tcpView.setUint32(4, seq);
  tcpView.setUint32(8, ack);
  tcp[12] = ((20 + options.length) / 4) << 4;
  tcp[13] = [...flags].reduce((bits, flag) => bits | FLAG_BITS[flag]!, 0);
  tcpView.setUint16(14, 512);
  tcp.set(options, 20);
  tcp.set(payload, 20 + options.length);
  const host = hostBytes(LOOPBACK[family])!;
  const ip = new Uint8Array(family === 4 ? 20 : 40);
  const ipView = new DataView(ip.buffer);
  if (family === 4) {
    ip.set([0x45, 0]);
    ipView.setUint16(2, 20 + tcp.length);
    ip.set([64, 6], 8);
    ip.set([...host, ...host], 12);
  } else {
    ip[0] = 0x60;
    ipView.setUint16(4, tcp.length);
    ip.set([6, 64], 6);
    ip.set([...host, ...host], 8);
  }
  const etherType = family === 4 ? [0x08, 0x00] : [0x86, 0xdd];
  return Uint8Array.from([...new Array<number>(12).fill(0), ...etherType, ...ip, ...tcp]);
}

function framesOf(made: readonly Made[]): Frame[] {
  return made.map((one, i) => {
    const bytes = frameBytes(one);
    return { stampNs: 1_700_000_000_000_000_000n + BigInt(i) * 1000n, bytes, wireBytes: bytes.length };
  });
}

const self = (made: readonly Made[]) => ladderOf(framesOf(made), [address(A)], "self");
const pair = (made: readonly Made[]) => ladderOf(framesOf(made), [address(A), address(B)], "pair");
const address = (port: number) => ({ family: 4 as const, host: LOOPBACK[4], port });
const fromA = { from: A, to: B };
const fromB = { from: B, to: A };
const states = (rows: readonly LadderRow[]) => rows.map((row) => [row.sent.after, row.received.after]);

/** What Linux 6.18 sends when a socket connects to itself, writes two bytes and ends with shutdown(2). */
const SELF: Made[] = [
  { flags: "S", seq: 100 },
  { flags: "SA", seq: 100, ack: 101 },
  { flags: "A", seq: 101, ack: 101 },
  { flags: "PA", seq: 101, ack: 101, data: "hi" },
  { flags: "A", seq: 103, ack: 103 },
  { flags: "FA", seq: 103, ack: 103 },
  { flags: "A", seq: 104, ack: 104 },
];

describe.each(FAMILIES)("the decoder, IPv%i", (family) => {
  it("reads addresses, numbers, flags, options and data", () => {
    const mss = [2, 4, 0xff, 0xd7];
    const others = [4, 2, 3, 3, 10, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4, 30, 3, 0];
    const bytes = frameBytes({
      family,
      flags: "SA",
      seq: 2 ** 32 - 1,
      ack: 7,
      options: [...mss, ...others],
      data: "hi",
    });
    expect(decodeFrame(bytes)).toEqual({
      from: { family, host: LOOPBACK[family], port: A },
      to: { family, host: LOOPBACK[family], port: A },
      flags: ["SYN", "ACK"],
      sequence: 2 ** 32 - 1,
      acknowledgement: 7,
      window: 512,
      options: {
        maxSegmentBytes: 0xffd7,
        sackPermitted: true,
        windowScale: 10,
        timestamps: { value: 1, echo: 2 },
        sack: [{ left: 3, right: 4 }],
        otherKinds: [30],
      },
      dataBytes: 2,
      data: new TextEncoder().encode("hi"),
    });
  });

  it("reports the problem of every cut-off frame, and the length of the data in a short capture", () => {
    const whole = frameBytes({ family, flags: "PA", seq: 1, ack: 1, data: "hello" });
    const headers = whole.length - 5;
    for (let length = 0; length < headers; length++) {
      expect(decodeFrame(whole.subarray(0, length)), `${length} bytes`).toHaveProperty("problem");
    }
    for (let length = headers; length <= whole.length; length++) {
      expect(decodeFrame(whole.subarray(0, length))).toMatchObject({ dataBytes: 5 });
    }
  });
});

describe("malformed frames", () => {
  it("never crash the decoder, the ladder or the picture, and never decode to more data than bytes", () => {
    const { next, seed } = random();
    console.log(`fuzz: SEED=${seed}`);
    const below = (limit: number) => Math.floor(next() * limit);
    const options = [2, 4, 1, 2, 4, 2, 3, 3, 7, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1];
    const seeds = FAMILIES.flatMap((family) =>
      SELF.map((made) => frameBytes({ ...made, family, options: [...options, 0, 0] })),
    );
    const decoded = { segments: 0, problems: 0 };
    for (let round = 0; round < 20_000; round++) {
      const bytes = seeds[below(seeds.length)]!.slice();
      for (let change = below(6); change >= 0; change--) bytes[below(bytes.length)] = below(256);
      const cut = bytes.subarray(0, below(4) === 0 ? below(bytes.length + 1) : bytes.length);
      const result = decodeFrame(cut);
      if ("problem" in result) {
        decoded.problems++;
        continue;
      }
      decoded.segments++;
      expect(result.data.length, `SEED=${seed} round ${round}`).toBeLessThanOrEqual(
        Math.min(result.dataBytes, cut.length),
      );
      const frame = { stampNs: BigInt(round), bytes: cut, wireBytes: cut.length };
      const ladder = ladderOf([frame, frame], [result.from], "fuzz");
      if (round % 50 === 0)
        expect(ladderSvg(ladder) + renderText(ladderLines(ladder))).not.toContain("undefined");
    }
    // The decoder returned both: a fuzz test that only produces problems tests nothing.
    expect(decoded.segments).toBeGreaterThan(1000);
    expect(decoded.problems).toBeGreaterThan(1000);
  });

  it("are left out of the ladder, and described", () => {
    const frames = framesOf([...SELF.slice(0, 3), { flags: "S", seq: 1, from: B, to: A }]);
    const cut = { ...frames.at(-1)!, bytes: frames[0]!.bytes.subarray(0, 20) };
    const ladder = ladderOf([...frames, cut], [address(A)], "self");
    expect(ladder.rows).toHaveLength(3);
    expect(ladder.others).toEqual([expect.stringContaining(`:${B} to `), "the IPv4 header is cut off"]);
  });
});

describe("packets of an earlier connection of the same addresses", () => {
  it("are left out of the ladder, and described", () => {
    const [stray] = framesOf([{ flags: "A", seq: 7, ack: 9 }]);
    const frames = framesOf(SELF).map((frame) => ({ ...frame, stampNs: frame.stampNs + 1_000_000n }));
    const ladder = ladderOf([stray!, ...frames], [address(A)], "self");
    expect(states(ladder.rows)).toEqual(states(self(SELF).rows));
    expect(ladder.others).toEqual([
      expect.stringMatching(/^127\.0\.0\.1:.* to 127\.0\.0\.1:.*, before the first SYN$/),
    ]);
  });

  it("cannot be told where the capture has no SYN: all are kept", () => {
    expect(self([{ flags: "A", seq: 7, ack: 9 }]).rows).toHaveLength(1);
  });
});

describe("the states that packets imply", () => {
  it("are those of RFC 9293, figures 7 and 13, for a socket joined to itself", () => {
    const { rows, ends } = self(SELF);
    expect(states(rows)).toEqual([
      ["SYN-SENT", "SYN-RECEIVED"],
      ["SYN-RECEIVED", "ESTABLISHED"],
      ["ESTABLISHED", "ESTABLISHED"],
      ["ESTABLISHED", "ESTABLISHED"],
      ["ESTABLISHED", "ESTABLISHED"],
      ["FIN-WAIT-1", "CLOSING"],
      ["CLOSING", "TIME-WAIT"],
    ]);
    const path = ["CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "CLOSING", "TIME-WAIT"];
    expect(ends[0]!.path).toEqual(path);
    expect(rows.map((row) => row.sequence.relative)).toEqual([0, 0, 1, 1, 3, 3, 4]);
    expect(rows.map((row) => row.why)).toEqual([
      expect.stringContaining("simultaneous open (figure 7)"),
      expect.stringContaining("enter SYN-RECEIVED, answer SYN,ACK (3.10.7.3)"),
      expect.stringContaining("not acceptable, which calls for an ACK (3.10.7.4)"),
      expect.stringContaining("2 bytes, which come back to the writer"),
      expect.stringContaining("acknowledges 2 bytes"),
      expect.stringContaining("simultaneous close (figure 13)"),
      expect.stringContaining("enters TIME-WAIT"),
    ]);
  });

  it("are the same when packets are sent again, and across the end of the sequence numbers", () => {
    const repeated = [SELF[0]!, SELF[0]!, ...SELF.slice(1, 6), SELF[5]!, SELF[6]!];
    expect(self(repeated).ends[0]!.path).toEqual(self(SELF).ends[0]!.path);
    expect(self(repeated).rows[1]!.why).toContain("sent again");
    const shift = 2 ** 32 - 102;
    const wrapped = SELF.map((made) => ({
      ...made,
      seq: (made.seq + shift) >>> 0,
      ...(made.ack && { ack: (made.ack + shift) >>> 0 }),
    }));
    expect(self(wrapped).ends[0]!.path).toEqual(self(SELF).ends[0]!.path);
    expect(self(wrapped).rows.map((row) => row.sequence.relative)).toEqual([0, 0, 1, 1, 3, 3, 4]);
  });

  it("end in CLOSED by a reset", () => {
    const { rows, ends } = self([...SELF.slice(0, 3), { flags: "RA", seq: 101, ack: 101 }]);
    expect(ends[0]!.path).toEqual(["CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "CLOSED"]);
    expect(rows.at(-1)!.why).toContain("ABORT: RST");
  });

  /** Each SYN is sent before the other arrives: both ends pass SYN-RECEIVED. */
  const CROSSING: Made[] = [
    { ...fromA, flags: "S", seq: 100 },
    { ...fromB, flags: "S", seq: 500 },
    { ...fromA, flags: "SA", seq: 100, ack: 501 },
    { ...fromB, flags: "SA", seq: 500, ack: 101 },
    { ...fromA, flags: "A", seq: 101, ack: 501 },
    { ...fromB, flags: "A", seq: 501, ack: 101 },
  ];

  it("are those of figure 7 for two sockets whose SYN cross", () => {
    const { rows, ends } = pair(CROSSING);
    const path = ["CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"];
    expect(ends.map((end) => end.path)).toEqual([path, path]);
    expect(rows.map((row) => row.crossed > 0)).toEqual([true, false, true, false, false, false]);
    expect(rows[2]!.acknowledgement).toEqual({ absolute: 501, relative: 1 });
  });

  it("follow the order of the time stamps: two processors may queue their packets in another order", () => {
    const [one, other, ...rest] = framesOf(CROSSING);
    const swapped = ladderOf([other!, one!, ...rest], [address(A), address(B)], "pair");
    expect(swapped).toEqual(pair(CROSSING));
  });

  it("are those of figure 6 when they do not", () => {
    const { ends } = pair([CROSSING[0]!, { ...CROSSING[3]! }, CROSSING[4]!]);
    expect(ends[0]!.path).toEqual(["CLOSED", "SYN-SENT", "ESTABLISHED"]);
  });

  it("are those of figure 12 when one end closes first", () => {
    const close: Made[] = [
      { ...fromA, flags: "FA", seq: 101, ack: 501 },
      { ...fromB, flags: "A", seq: 501, ack: 102 },
      { ...fromB, flags: "FA", seq: 501, ack: 102 },
      { ...fromA, flags: "A", seq: 102, ack: 502 },
    ];
    const [a, b] = pair([...CROSSING, ...close]).ends.map((end) => end.path.slice(3));
    expect(a).toEqual(["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]);
    expect(b).toEqual(["ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]);
  });

  it("do not agree with the kernel's if one is not on the path, is out of order, or is another last one", () => {
    const ladder = self(SELF);
    const reported = (...list: TcpState[]) =>
      list.map((state) => ({ end: 0, state, source: "TCP_INFO" as const, afterPackets: 0 }));
    expect(agreesWith(ladder, reported("ESTABLISHED", "TIME-WAIT"))).toBe(true);
    expect(agreesWith(ladder, reported("ESTABLISHED", "FIN-WAIT-2", "TIME-WAIT"))).toBe(false);
    expect(agreesWith(ladder, reported("ESTABLISHED", "SYN-SENT", "TIME-WAIT"))).toBe(false);
    expect(agreesWith(ladder, reported("ESTABLISHED"))).toBe(false);
  });
});

describe("the ladder", () => {
  it("as text is at most 80 columns wide and names every state of the path", () => {
    const ladder = self(SELF);
    const lines = renderText(ladderLines(ladder)).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const state of ladder.ends[0]!.path satisfies readonly TcpState[])
      expect(lines.join("\n")).toContain(state);
  });

  it("as a picture is XML with escaped text, a title and a description, and follows the colour scheme", () => {
    const hostile = `<script>"&'`;
    const svg = ladderSvg(self([...SELF.slice(0, 3), { flags: "PA", seq: 101, ack: 101, data: hostile }]));
    expect(svg).not.toContain("<script>");
    expect(svg).toContain("&lt;script&gt;&quot;&amp;&#39;");
    expect(svg).toMatch(/<title id="title">self<\/title>/);
    expect(svg).toMatch(/<desc id="description">1\. SYN sent in SYN-SENT, received: SYN-RECEIVED\./);
    expect(svg).toContain("prefers-color-scheme: dark");
    expect(svg).not.toMatch(/href|<image|url\(/);
    expect(ladderSvg(self(SELF))).toBe(ladderSvg(structuredClone(self(SELF))));
  });
});

it("pcapng is a sequence of blocks, each with its length at both ends", () => {
  const frames = framesOf(SELF).map((frame) => ({ frame, comment: "why" }));
  const about = { device: "lo", filter: "tcp", comment: "", system: "Linux", application: "selfconnect" };
  const bytes = pcapng(frames, { ...about, counts: { passed: 9, lost: 2 } });
  const view = new DataView(bytes.buffer);
  const types: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    expect(view.getUint32(at + length - 4, true)).toBe(length);
    types.push(view.getUint32(at, true));
    at += length;
  }
  expect(types).toEqual([0x0a0d0d0a, 1, ...SELF.map(() => 6), 5]);
});
