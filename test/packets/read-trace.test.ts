/** Self-connects and simultaneous opens in capture files are explained as live ones are. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, it } from "vitest";
import { readTrace, trace } from "../../lib/packets/index.ts";
import { traceHtml, tracePcapng, traceReport, traceText } from "../../lib/report/index.ts";
import type { MadeSyn } from "../support/capture-files.ts";
import { frame, LINKS, pcapFile } from "../support/capture-files.ts";
import { deadPeer, FAMILIES, MAIN } from "../support/harness.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-read-trace-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function* piece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const SYN: MadeSyn = { from: "192.0.2.7", to: "192.0.2.9", port: 4000, peerPort: 5000, sequence: 7, atMs: 0 };
const reverse = ({ from, to, port, peerPort, ...rest }: MadeSyn): MadeSyn => ({
  ...rest,
  from: to,
  to: from,
  port: peerPort,
  peerPort: port,
});
const self = (syn: MadeSyn): MadeSyn => ({ ...syn, to: syn.from, peerPort: syn.port });

function fileOf(syns: readonly MadeSyn[], link: keyof typeof LINKS = "Ethernet"): Buffer {
  return pcapFile(
    syns.map((syn, index) => ({ bytes: frame(syn, link), atMs: index })),
    LINKS[link]![0],
  );
}

describe("a live trace, written as pcapng and read again", () => {
  it.each(
    FAMILIES.flatMap((family) => [true, false].map((pair) => [family, pair] as const)),
  )("has the same ladder, IPv%i, pair: %s", async (family, pair) => {
    const live = await trace({ peer: deadPeer(family), pair, data: new Uint8Array(5), closing: "close" });
    const file = tracePcapng(live);
    if (!file) return console.log(`skipped: ${live.whyNoCapture}`);
    const { trace: read, found } = await readTrace(piece(file));
    expect(found).toBe(1);
    expect(read.verdict).toBe(live.verdict);
    // A pair's first end is the one that sent the first packet.
    const isTurned = read.ladder.ends[0]!.address.port !== live.ladder.ends[0]!.address.port;
    const paths = live.ladder.ends.map(({ path: states }) => states);
    expect(read.ladder.ends.map(({ path: states }) => states)).toEqual(isTurned ? paths.reverse() : paths);
    expect(read.ladder.rows.map(({ why }) => why)).toEqual(live.ladder.rows.map(({ why }) => why));
  });
});

describe("a capture file", () => {
  it.each(
    Object.keys(LINKS),
  )("in which an address sends a SYN to itself, %s: a self-connect", async (link) => {
    const { trace: read } = await readTrace(piece(fileOf([SYN, self(SYN)], link)));
    expect(read).toMatchObject({ verdict: "self-connect", isPair: false });
    expect(read.ladder.ends.map(({ path: states }) => states)).toEqual([
      ["CLOSED", "SYN-SENT", "SYN-RECEIVED"],
    ]);
  });

  it("in which two SYNs cross: a simultaneous open; the file's other connections are left out", async () => {
    const other = { ...SYN, port: 4001 };
    const { trace: read, found } = await readTrace(piece(fileOf([other, SYN, reverse(SYN), self(SYN)])));
    expect([read.verdict, read.ladder.rows.length, found]).toEqual(["simultaneous-open", 2, 2]);
    const extras = { sent: null, leavings: null };
    expect(traceText(read, extras)).toContain("Simultaneous open between 192.0.2.7:4000 and 192.0.2.9:5000");
    expect(traceHtml(read, extras)).not.toContain("outgoing copies");
    const schema = JSON.parse(
      readFileSync(new URL("../../docs/schema/trace-1.json", import.meta.url), "utf8"),
    );
    const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
    const report = traceReport(read.ladder.ends[0]!.address, read, extras);
    expect(validate(JSON.parse(JSON.stringify(report))), JSON.stringify(validate.errors)).toBe(true);
  });

  it("without either is an error that says what is in it", async () => {
    await expect(readTrace(piece(fileOf([SYN, { ...SYN, port: 4001 }])))).rejects.toMatchObject({
      code: "ERR_CAPTURE_FILE",
      message: expect.stringContaining("2 packets, 2 connections"),
    });
  });

  it("is explained by the command, also from stdin", () => {
    const file = path.join(folder, "self.pcap");
    writeFileSync(file, fileOf([self(SYN)]));
    const read = (name: string) =>
      spawnSync(process.execPath, [MAIN, "trace", "--read", name], {
        input: readFileSync(file),
        encoding: "utf8",
      });
    const [named, piped] = [read(file), read("-")];
    expect([named.status, named.stderr, piped.stdout]).toEqual([0, "", named.stdout]);
    expect(named.stdout).toContain("192.0.2.7:4000 connects to itself");
  });
});
