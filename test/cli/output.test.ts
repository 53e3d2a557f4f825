/** The output of commands: hostile text stays text, a lost result is an error, a file is whole or absent. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { WholeFile, writeWhole } from "../../lib/audit/whole-file.ts";
import { LiveLine } from "../../lib/cli/output.ts";
import { portsCommand } from "../../lib/cli/ports.ts";
import { reconnectCommand } from "../../lib/cli/reconnect.ts";
import { reportCommand } from "../../lib/cli/report.ts";
import { traceCommand } from "../../lib/cli/trace.ts";
import { escapeJson } from "../../lib/report/escape.ts";
import {
  auditChangesText,
  auditMetrics,
  auditText,
  compareText,
  dialText,
  labText,
  parseLabResult,
  portsText,
  reconnectText,
  traceText,
} from "../../lib/report/index.ts";
import { paint, renderText, tableLines } from "../../lib/report/terminal.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { cli, command, deadPeer, MAIN, needsNamespaces } from "../support/harness.ts";

/** Clears the screen, sets the title, hides, ends the line, deletes, reverses the direction, and ends in a lone surrogate. */
const HOSTILE = "x\u001b[2J\u001b]0;OWNED\u0007\u001b[8m\n\r\u007f\u009b2J\u202e\u2066\u2028\ud800y";
const COMMANDS =
  /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]|\p{Cs}/u;
const address = { family: 4, host: "127.0.0.1", port: 1 } as const;
const owner = { pid: 1, command: HOSTILE, user: HOSTILE, unit: HOSTILE, container: null, fd: 3 };

function readRecorded(name: string) {
  return JSON.parse(readFileSync(new URL(`../golden/${name}`, import.meta.url), "utf8"));
}

/** A recorded result in which `text` replaces every text that does not come from the kernel. */
function withOwner(text: string) {
  const found = readRecorded("audit.input.json");
  const by = { pid: 1, command: text, user: text, unit: text, container: null, fd: 3 };
  const owned = <T>(list: T[]) => list.map((one) => ({ ...one, owner: by, is: text }));
  return {
    ...found,
    listeners: owned(found.listeners.map((one: object) => ({ ...one, heldBy: owned([{ local: address }]) }))),
    joined: owned(found.joined),
    leftovers: owned(found.leftovers),
    knocking: owned(found.knocking),
    unseen: [text],
  };
}

function labOf(text: string) {
  const result = parseLabResult(readFileSync(new URL("../golden/lab.json", import.meta.url), "utf8"));
  const findings = result.findings.map((finding) => ({ ...finding, answer: text, expected: text }));
  return { ...result, findings, kernels: result.kernels.map((kernel) => ({ ...kernel, missing: text })) };
}

function dialOf(text: string): Parameters<typeof dialText> {
  const outcome = {
    verdict: "failed",
    local: null,
    peer: null,
    attempts: [{ outcome: text, local: null, peer: address, elapsedMs: 1 }],
    error: { code: "E", message: text },
    listenCheck: { address, refusal: text, inTheWay: [{ local: address, is: text, remedy: text }] },
    elapsedMs: 1,
  } as const;
  return [text, outcome as never];
}

const writers: Record<string, (text: string) => string> = {
  audit: (text) => auditText(withOwner(text)),
  "audit --watch": (text) =>
    auditChangesText([readRecorded("audit-port.input.json")], [withOwner(text)], new Date(0)),
  dial: (text) => dialText(...dialOf(text)),
  lab: (text) => labText(labOf(text)),
  "report compare": (text) => {
    const { changes, ...comparison } = readRecorded("compare.json");
    const words = { subject: text, name: text, unit: text, first: text, second: text, whyNone: text };
    const hostile = changes.map((change: object) => ({ ...change, ...words }));
    return compareText({ ...comparison, remarks: [text], changes: hostile });
  },
  ports: (text) => {
    const { verdict, ...print } = readRecorded("ports.json");
    const observation = {
      peers: [{ ...address, host: text }],
      method: text,
      ports: new Uint16Array(2),
    } as never;
    return portsText(observation, {
      ...print,
      verdict: { ...verdict, name: text, family: text, kernels: text },
    });
  },
  reconnect: (text) => {
    const { results } = readRecorded("reconnect-listener.input.json");
    return reconnectText(results, { listener: { pid: 1, command: text } });
  },
  trace: (text) => {
    const { traced } = readRecorded("trace-without-packets.input.json");
    const extras = { sent: text, leavings: null };
    return traceText({ ...traced, whyNoCapture: text, received: new TextEncoder().encode(text) }, extras);
  },
};

const LAB = new URL("../golden/lab.json", import.meta.url).pathname;
const INPUTS = mkdtempSync(path.join(os.tmpdir(), "selfconnect-inputs-"));
const CAPTURE = path.join(INPUTS, "self.pcapng");
const PORT_LIST = path.join(INPUTS, "ports");
const SIGNALS = ["SIGINT", "SIGTERM"] as const;

beforeAll(() => {
  const hex = readFileSync(new URL("../golden/trace.pcapng.hex", import.meta.url), "utf8");
  writeFileSync(CAPTURE, Buffer.from(hex.replaceAll("\n", ""), "hex"));
  writeFileSync(PORT_LIST, Array.from({ length: 300 }, (_, index) => 40_000 + 2 * index).join("\n"));
});
afterAll(() => rmSync(INPUTS, { recursive: true }));

/** Runs a command in this process, without its output, and takes back what it sets here. */
async function runInside(subject: Command, ...args: string[]): Promise<void> {
  const { exitCode } = process;
  const before = SIGNALS.map((signal) => process.listeners(signal));
  const output = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    await subject.parseAsync(args, { from: "user" });
  } finally {
    output.mockRestore();
    process.exitCode = exitCode;
    for (const [index, signal] of SIGNALS.entries()) {
      const added = process.listeners(signal).filter((one) => !before[index]!.includes(one));
      for (const one of added) process.removeListener(signal, one);
    }
  }
}

/** Every way in which a command or the library writes a file. The lab's and the bench's files are written by these too. */
const FILE_WRITERS: Readonly<Record<string, (file: string) => Promise<unknown>>> = {
  "report --html": (file) => runInside(reportCommand(), LAB, "--html", file),
  "report --markdown": (file) => runInside(reportCommand(), LAB, "--markdown", file),
  "report --csv": (file) => runInside(reportCommand(), LAB, "--csv", file),
  "ports --ports": (file) =>
    runInside(portsCommand(), "--peer", formatAddress(deadPeer()), "--count", "200", "--ports", file),
  "ports --html": (file) => runInside(portsCommand(), "--read", PORT_LIST, "--html", file),
  "trace --html": (file) => runInside(traceCommand(), "--read", CAPTURE, "--html", file),
  "trace --svg": (file) => runInside(traceCommand(), "--read", CAPTURE, "--svg", file),
  "trace --write": (file) => runInside(traceCommand(), "--read", CAPTURE, "--write", file),
  "reconnect --ports": (file) =>
    runInside(reconnectCommand(), formatAddress(deadPeer()), "--strategy", "bind", "--json", "--ports", file),
};

describe("on a terminal", () => {
  it.each(Object.keys(writers))("%s shows hostile text as text", (name) => {
    const [harmless, hostile] = ["xy", HOSTILE].map(writers[name]!);
    expect(harmless).toContain("xy");
    expect(hostile).toContain("x\\x1b[2J");
    expect(hostile).not.toMatch(COMMANDS);
    expect(hostile!.split("\n")).toHaveLength(harmless!.split("\n").length);
  });

  it("metrics keep a hostile name inside its label", () => {
    const [harmless, hostile] = ["xy", HOSTILE].map((text) => auditMetrics(withOwner(text)));
    expect(hostile).not.toMatch(COMMANDS);
    expect(hostile!.split("\n")).toHaveLength(harmless!.split("\n").length);
  });

  it("JSON has no control characters, and parses to the same object", () => {
    for (const indent of [0, 2]) {
      const json = escapeJson({ owner }, indent);
      expect(json).not.toMatch(COMMANDS);
      expect(JSON.parse(json)).toEqual({ owner });
    }
  });

  it("an error's message is one line", async () => {
    const { status, stderr } = await cli(["report", `/no/such\u001b[2J\nfile`]);
    expect(status).toBe(1);
    expect(stderr).not.toMatch(COMMANDS);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  it("a style encloses the escaped text, and only with colours on", () => {
    const lines = [[paint("red", "\u001b[8mx"), "y"]];
    expect(renderText(lines)).toBe("\\x1b[8mxy");
    expect(renderText(lines, { colours: true })).toBe("\u001b[31m\\x1b[8mx\u001b[39my");
  });

  it("columns are as wide as their printed cells, styled or escaped, without trailing spaces", () => {
    const rows = [
      ["name", "count", "note"],
      [paint("bold", "a\n"), "12,345", ""],
      ["longer", "7", "x"],
    ];
    expect(renderText(tableLines(rows, "lrl")).split("\n")).toEqual([
      "name     count  note",
      "a\\x0a   12,345",
      "longer       7  x",
    ]);
  });
});

it("progress is a line every ten seconds where stderr is no terminal, and none of a short command", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const { isTTY } = process.stderr;
  process.stderr.isTTY = false;
  const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  try {
    using line = new LiveLine();
    for (let second = 1; second <= 25; second++) {
      vi.advanceTimersByTime(1000);
      line.show(`${second} of 25 \x1b[2J`, "details");
    }
    expect(write.mock.calls.map(([text]) => text)).toEqual(["10 of 25 \\x1b[2J\n", "20 of 25 \\x1b[2J\n"]);
  } finally {
    process.stderr.isTTY = isTTY;
    write.mockRestore();
    vi.useRealTimers();
  }
});

describe("a result that is lost", () => {
  it.each([
    "audit",
    "audit --json",
    "audit --openmetrics",
    "dial --json",
  ])("is an error: %s", async (asked) => {
    const peer = asked.startsWith("dial") ? formatAddress(deadPeer()) : "";
    const line = `${process.execPath} ${MAIN} ${asked} ${peer} > /dev/full`;
    const { status, stderr } = await command("sh", ["-c", line]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^selfconnect: the result could not be written: ENOSPC[^\n]*\n$/);
  });

  it("is no error when the reader closes the pipe: the command exits quietly", async () => {
    const { status, stderr } = await cli(["audit", "--openmetrics"], (child) => child.stdout!.destroy());
    expect(stderr).toBe("");
    expect([0, 3]).toContain(status);
  });
});

describe("a file", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-"));
    file = path.join(folder, "file");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("appears when it is whole, with nothing beside it", () => {
    writeFileSync(file, "old");
    {
      using whole = new WholeFile(file);
      whole.append("ne");
      whole.append(new TextEncoder().encode("w"));
      expect(readFileSync(file, "utf8")).toBe("old");
      whole.commit();
    }
    expect(readFileSync(file, "utf8")).toBe("new");
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("keeps its content when its writer fails, and no part stays behind", () => {
    writeFileSync(file, "old");
    const fail = () => {
      using whole = new WholeFile(file);
      whole.append("half");
      throw new Error("failed");
    };
    expect(fail).toThrow("failed");
    expect(readFileSync(file, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("keeps its mode, and links to it stay links", () => {
    writeFileSync(file, "old");
    chmodSync(file, 0o640);
    const [link, dangling] = ["link", "dangling"].map((name) => path.join(folder, name)) as [string, string];
    symlinkSync("file", link);
    symlinkSync("later", dangling);
    writeWhole(link, "new");
    writeWhole(dangling, "new");
    expect(readFileSync(file, "utf8")).toBe("new");
    expect(readFileSync(path.join(folder, "later"), "utf8")).toBe("new");
    expect([link, dangling].every((one) => lstatSync(one).isSymbolicLink())).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it("that is a pipe is written to, not replaced", async () => {
    execFileSync("mkfifo", [file]);
    const reader = command("cat", [file]);
    writeWhole(file, "text");
    expect((await reader).stdout).toBe("text");
    expect(statSync(file).isFIFO()).toBe(true);
  });

  it("that is the program's own output receives the text in order", () => {
    const peer = deadPeer();
    const args = ["reconnect", formatAddress(peer), "--strategy", "bind", "--ports", "/dev/stdout"];
    execFileSync("sh", ["-c", `${[process.execPath, MAIN, ...args].join(" ")} > ${file}`]);
    const lines = readFileSync(file, "utf8").split("\n");
    expect(lines[0]).toMatch(/^reconnecting to/);
    expect(lines[1]).toBe(String(peer.port));
    expect(lines[2]).toMatch(/^joined to itself/);
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("keeps its owner, as root", (context) => {
    context.skip(process.geteuid!() !== 0, "only root can own and give away files of others");
    writeFileSync(file, "old");
    chownSync(file, 1234, 5678);
    writeWhole(file, "new");
    expect(statSync(file)).toMatchObject({ uid: 1234, gid: 5678 });
  });

  it("that cannot be written is named as the user wrote it", () => {
    const missing = path.join(folder, "no", "file");
    expect(() => writeWhole(missing, "x")).toThrow(
      `cannot write ${missing}: ENOENT: no such file or directory`,
    );
    expect(() => writeWhole(folder, "x")).toThrow(`cannot write ${folder}: EISDIR`);
    expect(readdirSync(folder)).toEqual([]);
  });

  describe.each(Object.keys(FILE_WRITERS))("of %s", (name) => {
    const write = FILE_WRITERS[name]!;

    it("is whole, behind a link, with its mode and with nothing beside it", async () => {
      const link = path.join(folder, "link");
      writeFileSync(file, "old");
      chmodSync(file, 0o640);
      symlinkSync("file", link);
      await write(link);
      expect(readFileSync(file, "utf8")).not.toMatch(/^(old)?$/);
      expect(statSync(file).mode & 0o777).toBe(0o640);
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
      expect(readdirSync(folder).sort()).toEqual(["file", "link"]);
    });

    it("is an error that names it, when it is lost, and no device is replaced", async () => {
      const full = path.join(folder, "full");
      symlinkSync("/dev/full", full);
      await expect(write(full)).rejects.toThrow(`cannot write ${full}: ENOSPC: no space left on device`);
      expect(lstatSync("/dev/full").isCharacterDevice()).toBe(true);
      const missing = path.join(folder, "no", "file");
      await expect(write(missing)).rejects.toThrow(`cannot write ${missing}: ENOENT`);
      expect(readdirSync(folder)).toEqual(["full"]);
    });
  });

  it("for which the disk has no room is an error that names it, and leaves the disk as it was", async (context) => {
    needsNamespaces(context);
    const lab = path.resolve("test/golden/lab.json");
    const script = `mount -t tmpfs -o size=8k none ${folder} && echo old > ${file}
      ${process.execPath} ${MAIN} report ${lab} --html ${file}; echo "exit $?"; cat ${file}; ls -A ${folder}`;
    const { stdout, stderr } = await command("unshare", ["-rm", "sh", "-c", script]);
    expect(stderr).toBe(`selfconnect: cannot write ${file}: ENOSPC: no space left on device\n`);
    expect(stdout).toBe("exit 1\nold\nfile\n");
  });

  it("is not overwritten by the result when stdout was closed before the start", () => {
    const lab = path.resolve("test/golden/lab.json");
    execFileSync("sh", ["-c", `${process.execPath} ${MAIN} report ${lab} --csv ${file} --json >&-`]);
    expect(readFileSync(file, "utf8")).toMatch(/^[^{\n]+,[^{]*$/);
    expect(readdirSync(folder)).toEqual(["file"]);
  });
});
