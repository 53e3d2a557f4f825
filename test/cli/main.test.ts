/** The command line as users see it: exit codes, stdout and stderr, the object of --json. */
import type { ChildProcess } from "node:child_process";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { cli, command, deadPeer, FAMILIES, interruptAfter, MAIN, withListener } from "../support/harness.ts";

const schema = JSON.parse(
  readFileSync(new URL("../../docs/schema/reconnect-1.json", import.meta.url), "utf8"),
);
const validate = new Ajv2020({ strict: true, allErrors: true }).compile(schema);

/** All that stderr may hold: on a busy machine a run takes longer than the ten seconds between two progress lines. */
const PROGRESS = /^((trial .* …|.*[\d,]+ attempts · .*)\n)*$/;

function parseValid(stdout: string) {
  const report = JSON.parse(stdout);
  validate(report);
  expect(validate.errors).toBeNull();
  return report;
}

describe.each(FAMILIES)("selfconnect reconnect, IPv%i", (family) => {
  it.each([
    "fresh",
    "reuse",
    "bind",
    "range",
  ])("%s shows the self-connect and the harm, and exits with 0", async (strategy) => {
    const peer = deadPeer(family);
    const name = formatAddress(peer);
    const { status, stdout, stderr } = await cli(["reconnect", name, "--strategy", strategy]);
    expect(status).toBe(0);
    expect(stderr).toMatch(PROGRESS);
    expect(stdout).toContain("joined to itself after");
    expect(stdout).toContain(`local ${name}  getsockname(2)`);
    expect(stdout).toContain(`peer  ${name}  getpeername(2)`);
    expect(stdout).toMatch(/tcp6? +0 +0 .*ESTABLISHED \d+\/node/);
    expect(stdout).toContain(
      `a server's listen on ${name}: EADDRINUSE\n    ${name} is joined to itself (ESTABLISHED): pid `,
    );
    expect(stdout).toContain('wrote "hello, myself", read "hello, myself"');
    expect(stdout).toContain(`a server's listen on ${name}: starts at once`);
    expect(listenRefusal(peer)).toBeNull();
  });
});

describe("--json", () => {
  it("prints one object of the published schema, and nothing else", async () => {
    const peer = deadPeer();
    const { status, stdout, stderr } = await cli([
      "reconnect",
      formatAddress(peer),
      "--trials",
      "3",
      "--json",
    ]);
    expect(status).toBe(0);
    expect(stderr).toMatch(PROGRESS);
    const report = parseValid(stdout);
    expect(report).toMatchObject({
      verdict: "self-connect",
      strategy: "fresh",
      threads: 1,
      peer,
      local: peer,
    });
    expect(report.trials).toHaveLength(3);
    const total = report.trials.reduce((sum: number, trial: { attempts: number }) => sum + trial.attempts, 0);
    expect(report.attempts).toBe(total);
    expect(report.outcomes).toEqual({ ECONNREFUSED: total - 3, "self-connect": 3 });
  });

  it("conforms to the schema with every verdict", async () => {
    const odd = formatAddress(deadPeer(4, "other"));
    const spent = await cli(["reconnect", odd, "--attempts", "50", "--json"]);
    expect(spent.status).toBe(1);
    expect(parseValid(spent.stdout)).toMatchObject({
      verdict: "attempts-spent",
      never: { reason: "parity" },
    });
    const late = await cli(["reconnect", odd, "--duration", "50ms", "--threads", "2", "--json"]);
    expect(late.status).toBe(1);
    expect(parseValid(late.stdout)).toMatchObject({
      verdict: "deadline",
      threads: 2,
      attemptsToSelfConnect: null,
    });
  });
});

describe("ends and exit codes", () => {
  it("1 and a clear line when something listens, with its owner", async () => {
    await withListener(
      4,
      () => {},
      async (peer) => {
        const { status, stdout } = await cli(["reconnect", formatAddress(peer)]);
        expect(status).toBe(1);
        expect(stdout).toContain(
          `connected to a listener, not to itself: something listens on ${formatAddress(peer)}`,
        );
        expect(stdout).toContain(`pid ${process.pid}`);
      },
    );
  });

  it("1 when it never happens, and prints the reason before it starts", async () => {
    const { status, stdout, stderr } = await cli([
      "reconnect",
      formatAddress(deadPeer(4, "other")),
      "--attempts",
      "99",
    ]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^never, because connect\(2\) picks .* ports here .* Instead: choose port \d+/);
    expect(stdout).toContain("99 attempts");
  });

  it("130 on Ctrl-C, with the partial result, as text and as JSON", async () => {
    const odd = formatAddress(deadPeer(4, "other"));
    const asText = await cli(["reconnect", odd], interruptAfter(1500));
    expect(asText.status).toBe(130);
    expect(asText.stdout).toMatch(/interrupted, not joined to itself; [\d,]+ attempts/);
    const asJson = await cli(["reconnect", odd, "--json"], interruptAfter(1500));
    expect(asJson.status).toBe(130);
    expect(parseValid(asJson.stdout)).toMatchObject({ verdict: "interrupted" });
  });

  it.each([
    [["reconnect", "192.0.2.1:80"], "192.0.2.1:80 is not an address of this host"],
    [["reconnect", "127.1:80"], "has a short form of 127.0.0.1, which not every program reads alike"],
    [["reconnect", "127.0.0.1:70000"], "port 70000 is not a port: use 0 to 65535"],
    [["reconnect", "127.0.0.1:0"], "port 0 cannot be connected to"],
    [["reconnect", "127.0.0.1"], 'write "address:port"'],
    [["reconnect", "--strategy", "frehs"], "Allowed choices are fresh, reuse, autobind, bind, range"],
    [["reconnect", "--strateggy", "fresh"], "Did you mean --strategy?"],
    [["reconnect", "--attempts", "0"], "Use a whole number above 0"],
    [["reconnect", "--attempts", "many"], "Use a whole number above 0"],
    [["reconnect", "--duration", "10"], "a time above 0 with its unit"],
    [["reconnect", "--rate", "-1"], "a number of attempts per second above 0"],
    [["reconnect", "--threads", "100000"], "threads 100000 is not a count: use 1 to 256"],
    [["reconnect", "--ports", "x", "--threads", "2"], "use threads 1"],
    [["reconect"], "unknown command 'reconect'"],
    [["reconnect", "127.0.0.1:1", "127.0.0.1:2"], "too many arguments"],
  ])("2 on usage, in one clear message without a stack trace: %j", async (args, message) => {
    const { status, stdout, stderr } = await cli(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/\n +at /);
    expect(stdout).toBe("");
  });

  it("1 when the file of --ports cannot be written, which it names", async () => {
    const { status, stderr } = await cli(["reconnect", "--ports", "/no/such/folder/ports"]);
    expect(status).toBe(1);
    expect(stderr).toContain("/no/such/folder/ports");
  });

  it("1 at the limit of open files, with what to do", async () => {
    const odd = formatAddress(deadPeer(4, "other"));
    const lowerLimit = (child: ChildProcess) => {
      // When it prints its first line, everything is loaded; from then on it opens only sockets.
      child.stdout?.once("data", () => spawnSync("prlimit", ["--pid", String(child.pid), "--nofile=10:"]));
    };
    const { status, stderr } = await cli(["reconnect", odd, "--rate", "20", "--duration", "20s"], lowerLimit);
    expect(status).toBe(1);
    expect(stderr).toContain("socket EMFILE");
    expect(stderr).toContain("ulimit -n");
    expect(stderr).not.toMatch(/\n +at /);
  });

  it("--help and --version print and exit with 0", async () => {
    const help = await cli(["reconnect", "--help"]);
    expect(help.status).toBe(0);
    for (const flag of [
      "strategy",
      "attempts",
      "duration",
      "trials",
      "threads",
      "rate",
      "ports",
      "hold",
      "json",
    ]) {
      expect(help.stdout).toContain(`--${flag}`);
    }
    expect((await cli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("files and terminals", () => {
  it("--ports writes the local port of every attempt, in order, one per line", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-"));
    const file = path.join(folder, "ports");
    try {
      const peer = deadPeer();
      await cli(["reconnect", formatAddress(peer), "--ports", file, "--json"]);
      const ports = readFileSync(file, "utf8").trimEnd().split("\n").map(Number);
      expect(ports.at(-1)).toBe(peer.port);
      expect(new Set(ports.map((port) => port % 2)).size).toBe(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("--hold keeps the socket until Ctrl-C, and only then frees the port", async () => {
    const peer = deadPeer();
    let refusal: string | null = null;
    const look = (child: ChildProcess) => {
      child.stderr?.on("data", (text: string) => {
        if (!text.includes("until Ctrl-C")) return;
        refusal = listenRefusal(peer);
        child.kill("SIGINT");
      });
    };
    const args = ["reconnect", formatAddress(peer), "--strategy", "bind", "--hold"];
    const { status, stdout } = await cli(args, look);
    expect(refusal).toBe("EADDRINUSE");
    expect(status).toBe(0);
    expect(stdout).toContain("starts at once");
    expect(listenRefusal(peer)).toBeNull();
  });

  it("an option without its value does not take the next option for it", async () => {
    const { status, stdout, stderr } = await cli(["ports", "--html", "--json"]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("option '--html <file>' got no value: --json is an option of its own");
  });

  it("the live line is shown on a terminal, and NO_COLOR removes the colours", async () => {
    const line = `NO_COLOR=1 ${process.execPath} ${MAIN} reconnect ${formatAddress(deadPeer(4, "other"))} --duration 700ms`;
    const { stdout } = await command("script", ["-qec", line, "/dev/null"]);
    expect(stdout).toMatch(/attempts · [\d,]+\/s · port \d+ ━*●─* · /);
    expect(stdout).not.toContain("\u001b[1m");
  });
});
