/** Names the algorithm of hosts from their SYNs: simulated hosts of every kind, every link type, hostile files. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, test } from "vitest";
import { seededRandom } from "../../lib/loop/statistics.ts";
import { Capture, pcapng } from "../../lib/packets/index.ts";
import type { PortsReading } from "../../lib/ports/index.ts";
import { fingerprint, samplePorts } from "../../lib/ports/index.ts";
import { portsReadHtml, portsReadReport, portsReadText } from "../../lib/report/index.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import type { MadeSyn } from "../support/capture-files.ts";
import { frame, LINKS, pcapFile } from "../support/capture-files.ts";
import { cli, deadPeer, FAMILIES } from "../support/harness.ts";
import { CLIENT, fileOf, judgeHosts, packetsOf, read } from "../support/port-captures.ts";
import type { SeenSyn } from "../support/port-hosts.ts";
import { PORT_HOSTS } from "../support/port-hosts.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-read-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const namesIn = ({ sources }: PortsReading) =>
  Object.fromEntries(sources.map(({ host, verdict }) => [host, verdict.name]));

/** A host of one kind, which the generators of hosts have in this order. */
function hostOf(kind: string, seed: number) {
  const random = seededRandom(seed);
  const made = PORT_HOSTS.map((make) => make(random)).find((host) => host.kind === kind)!;
  return { host: made, random };
}

/** SYNs in quick succession, to peers in turn. */
function quickSyns(kind: string, count: number, peers: number, seed = 1): SeenSyn[] {
  const { host, random } = hostOf(kind, seed);
  return Array.from({ length: count }, (_, index) => {
    const peer = index % peers;
    return { peer, port: host.pick(peer, index), atMs: index, sequence: Math.floor(random() * 2 ** 32) };
  });
}

describe("simulated hosts", () => {
  // 1,000 take minutes: test/ports/read.deep.ts.
  test("of every kind are never named wrongly, and most that can be named are", async () => {
    const { wrong, named } = await judgeHosts(1, 6 * PORT_HOSTS.length);
    expect(wrong).toEqual([]);
    expect(named).toBeGreaterThan(12);
  });

  test.each([
    ["uniform", 2000, 1, "simple-random"],
    ["sequential", 400, 4, "sequential"],
    ["hash-based, also gVisor", 800, 4, "hash-based"],
    ["double-hash", 800, 3, "double-hash"],
    ["Linux 5.18", 300, 1, "linux-5.18"],
    ["Linux 6.8 with a range", 900, 3, "linux-6.8-range"],
    ["Linux 5.12", 6000, 4, "linux-5.12"],
    ["Linux, bind(0)", 2000, 1, "linux-bind"],
  ] as const)("%s: %i SYNs to %i peers in turn are %s", async (kind, count, peers, name) => {
    const { sources } = await read(fileOf(packetsOf(quickSyns(kind, count, peers), CLIENT[4])));
    expect(sources[0]).toMatchObject({ host: CLIENT[4], syns: count, peerCount: peers, verdict: { name } });
  });

  test.each([
    "sequential",
    "hash-based, also gVisor",
    "double-hash",
    "Linux 4.6, also with salts",
    "Linux 5.12",
  ])("%s to one peer: no verdict, because a counter shows only to several peers in turn", async (kind) => {
    const { sources } = await read(fileOf(packetsOf(quickSyns(kind, 3000, 1), CLIENT[4])));
    expect(sources[0]!.verdict).toMatchObject({ name: "unknown", reason: expect.any(String) });
  });
});

describe("captures", () => {
  const syns = quickSyns("Linux 5.18", 400, 2);

  test.each(
    Object.keys(LINKS).flatMap((link) => FAMILIES.map((family) => [link, family] as const)),
  )("%s, IPv%i", async (link, family) => {
    const reading = await read(fileOf(packetsOf(syns, CLIENT[family]), link), 1000);
    expect(reading).toMatchObject({ format: "capture", packets: 400, syns: 400, repeats: 0, cutBytes: 0 });
    expect(namesIn(reading)).toEqual({ [CLIENT[family]]: "linux-5.18" });
  });

  test.each([
    { isLittle: false },
    { isNanoseconds: true },
    { isLittle: false, isNanoseconds: true },
  ])("pcap in another byte order and with other times: %o", async (form) => {
    expect(namesIn(await read(fileOf(packetsOf(syns, CLIENT[4]), "Ethernet", form)))).toEqual({
      [CLIENT[4]]: "linux-5.18",
    });
  });

  test("mixed clients are separated, in pieces of one byte too", async () => {
    const other = quickSyns("sequential", 400, 4);
    const mixed = [...packetsOf(syns, CLIENT[4]), ...packetsOf(other, CLIENT[6])].sort(
      (a, b) => a.atMs - b.atMs,
    );
    const expected = { [CLIENT[4]]: "linux-5.18", [CLIENT[6]]: "sequential" };
    const file = fileOf(mixed);
    expect(namesIn(await read(file))).toEqual(expected);
    expect(namesIn(await read(file, 1))).toEqual(expected);
  });

  test("a SYN that is sent again counts once; another one from the same port counts", async () => {
    const [first] = packetsOf(syns, CLIENT[4]) as [MadeSyn];
    const reading = await read(fileOf([first, first, { ...first, sequence: 1 + first.sequence }]));
    expect(reading).toMatchObject({ packets: 3, syns: 2, repeats: 1 });
  });

  test("two hosts behind one address are not named as one that picks at random", async () => {
    const both = [...quickSyns("Linux 5.18", 1500, 1, 1), ...quickSyns("Linux 5.18", 1500, 1, 2)];
    const mixed = packetsOf(
      both.sort((a, b) => a.atMs - b.atMs),
      CLIENT[4],
    );
    expect(namesIn(await read(fileOf(mixed)))).toEqual({ [CLIENT[4]]: "unknown" });
  });

  test("a list is one host; what is no port is an error that names the line", async () => {
    const list = syns.filter(({ peer }) => peer === 0).map(({ port }) => port);
    const reading = await read(Buffer.from(`${list.join("\n")}\n`), 7);
    expect(reading).toMatchObject({ format: "list", syns: 200, sources: [{ host: null }] });
    expect(namesIn(reading)).toEqual({ null: "linux-5.18" });
    await expect(read(Buffer.from("1\n2\n70000\n"))).rejects.toThrow('line 3: "70000" is not a port');
    await expect(read(Buffer.from(`1${"0".repeat(1 << 20)}`), 4096)).rejects.toThrow("line 1");
  });

  test("the text says what is known and how much a verdict needs; the page escapes; the object fits its schema", async () => {
    const reading = await read(fileOf(packetsOf([...syns, ...quickSyns("Linux 5.18", 20, 1)], CLIENT[4])));
    const few = await read(fileOf(packetsOf(syns.slice(0, 20), CLIENT[4])));
    expect(portsReadText("x.pcap", reading)).toContain("each peer has a walk of its own");
    expect(portsReadText("x.pcap", few)).toContain("A verdict needs 200 SYNs of one host");
    expect(portsReadHtml("<script>x", few)).not.toContain("<script>x");
    const validate = new Ajv2020({ allowUnionTypes: true }).compile(
      JSON.parse(readFileSync(new URL("../../docs/schema/ports-read-1.json", import.meta.url), "utf8")),
    );
    for (const one of [reading, few]) {
      const report = JSON.parse(JSON.stringify(portsReadReport("x.pcap", one)));
      expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    }
  });
});

describe("damaged and hostile files", () => {
  const whole = fileOf(packetsOf(quickSyns("Linux 5.18", 300, 1), CLIENT[4]));

  test.each([
    ["an empty file", Buffer.alloc(0), "is empty"],
    ["noise", Buffer.from("GIF89a, not a capture"), "neither a pcap nor a pcapng"],
    ["a compressed file", Buffer.from([0x1f, 0x8b, 8, 0]), "compressed"],
    ["an unknown link type", pcapFile([], 147), "link type 147"],
  ])("%s is an error", async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toMatchObject({
      code: "ERR_CAPTURE_FILE",
      message: expect.stringContaining(message),
    });
  });

  test("a file that was cut off at any byte is read up to there", async () => {
    for (let length = 24; length < 400; length++) {
      const { packets, cutBytes } = await read(whole.subarray(0, length));
      expect(packets).toBe(Math.floor((length - 24) / 70));
      expect(cutBytes).toBe((length - 24) % 70);
    }
  });

  test("a length without end is an error, not memory", async () => {
    const bytes = Buffer.from(whole);
    bytes.writeUInt32LE(0xffff_fff0, 24 + 8);
    await expect(read(bytes)).rejects.toThrow("a packet of 4294967280 bytes at byte 24");
  });

  test("4,000 changed files end in a reading or in ERR_CAPTURE_FILE", async () => {
    const random = seededRandom(5);
    const frames = [
      {
        frame: {
          stampNs: 5n,
          bytes: frame(packetsOf(quickSyns("uniform", 1, 1), CLIENT[4])[0]!, "Ethernet"),
          wireBytes: 54,
        },
        comment: "x",
      },
    ];
    const about = { device: "lo", filter: "tcp", comment: "", system: "", application: "" };
    const modern = pcapng(frames, { ...about, counts: { passed: 1, lost: 0 } });
    let [readings, errors] = [0, 0];
    for (let round = 0; round < 4000; round++) {
      const bytes = Uint8Array.from(round % 2 === 0 ? whole.subarray(0, 300) : modern);
      for (let change = 0; change < 3; change++) bytes[Math.floor(random() * bytes.length)] = random() * 256;
      try {
        await read(bytes);
        readings++;
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_CAPTURE_FILE" });
        errors++;
      }
    }
    expect(Math.min(readings, errors)).toBeGreaterThan(200);
  });
});

describe("this host", () => {
  test("is named from packets of our own Capture, written as pcapng, as from its sample", async (context) => {
    const peer = deadPeer();
    let frames: ReturnType<Capture["read"]>;
    const observation = await (async () => {
      try {
        using capture = Capture.open(peer.port, 0);
        const sample = await samplePorts({ peer, count: 500 });
        frames = capture.read();
        return sample;
      } catch (error) {
        if (!(error instanceof SocketError) || error.code !== "EPERM") throw error;
        return context.skip("no packets here: AF_PACKET needs CAP_NET_RAW");
      }
    })();
    const about = { device: "lo", filter: "tcp", comment: "", system: "", application: "" };
    const file = pcapng(
      frames!.map((one) => ({ frame: one, comment: "" })),
      { ...about, counts: { passed: frames!.length, lost: 0 } },
    );
    const { name } = fingerprint(observation).verdict;
    expect(namesIn(await read(file))).toEqual({ [peer.host]: name });
  });

  test.each(["lo", "any"])("is named from tcpdump's capture of %s, by the command", async (device) => {
    const context = expect.getState();
    if (spawnSync("tcpdump", ["--version"]).error) {
      console.log(
        `${context.currentTestName}: skipped, tcpdump is missing (Debian: apt-get install tcpdump)`,
      );
      return;
    }
    const file = path.join(folder, `${device}.pcap`);
    // The other parity: a self-connect would add packets.
    const peer = deadPeer(4, "other");
    // The run, and the weave's attempts to this port of two hosts. -Z keeps the user, so that the file can be here.
    const [count, woven] = [400, 64];
    const asked = ["-c", String(count + 2 * woven), "-Z", "root", "-w", file, `tcp dst port ${peer.port}`];
    const dump = spawn("tcpdump", ["-i", device, "-B", "4096", ...asked]);
    const ended = new Promise((resolve) => dump.once("exit", resolve));
    const started = await new Promise<boolean>((resolve) => {
      dump.stderr.on("data", (text) => String(text).includes("listening on") && resolve(true));
      ended.then(() => resolve(false));
    });
    if (!started) return console.log("skipped: tcpdump needs CAP_NET_RAW");
    await samplePorts({ peer, count });
    const late = setTimeout(() => dump.kill("SIGINT"), 10_000);
    await ended;
    clearTimeout(late);
    const { status, stdout, stderr } = await cli(["ports", "--read", file, "--json"]);
    expect([status, stderr]).toEqual([0, ""]);
    const { sources } = JSON.parse(stdout);
    const own = sources[0].peers.find(
      ({ address }: { address: { port: number } }) => address.port === peer.port,
    );
    expect(sources[0].verdict.name).toMatch(/^linux-/);
    expect(own.syns).toBe(count + woven);
  });

  test("the command reads a list as --ports writes it; a file that is none is an error that names it", async () => {
    const file = path.join(folder, "list");
    const peer = formatAddress(deadPeer());
    const live = await cli(["ports", "--peer", peer, "--count", "500", "--ports", file, "--json"]);
    const again = await cli(["ports", "--read", file, "--json"]);
    expect(JSON.parse(again.stdout).sources[0].verdict.name).toBe(JSON.parse(live.stdout).verdict.name);
    const wrong = path.join(folder, "wrong");
    writeFileSync(wrong, "no capture");
    const { status, stderr } = await cli(["ports", "--read", wrong]);
    expect([status, stderr]).toEqual([1, expect.stringContaining(`cannot read ${wrong}: this is neither`)]);
  });
});
