/** selfconnect dial: what it prints, its schema, its exit codes. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { CommandResult } from "../support/harness.ts";
import {
  cli,
  deadPeer,
  FAMILIES,
  interruptAfter,
  LOOPBACK,
  MAIN,
  needsNamespaces,
  runInNamespace,
  withListener,
} from "../support/harness.ts";

const schema = JSON.parse(readFileSync(new URL("../../docs/schema/dial-1.json", import.meta.url), "utf8"));
const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(schema);

function parseChecked({ stdout }: CommandResult) {
  const report = JSON.parse(stdout);
  expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
  return report;
}

describe.each(FAMILIES)("dial over IPv%i", (family) => {
  it("exits with 0 and the four-tuple when connected", () =>
    withListener(
      family,
      (socket) => socket.end(),
      async (peer) => {
        const text = await cli(["dial", formatAddress(peer), "--listen-check"]);
        expect(text.status).toBe(0);
        expect(text.stderr).toBe("");
        expect(text.stdout).toContain("connected after");
        expect(text.stdout).toContain(`peer  ${formatAddress(peer)}`);
        expect(text.stdout).toContain("cannot start: EADDRINUSE\n");
        expect(text.stdout).toContain(`    ${formatAddress(peer)} listens: pid ${process.pid} (node, user `);
        const json = await cli(["dial", formatAddress(peer), "--json"]);
        expect(parseChecked(json)).toMatchObject({
          verdict: "connected",
          peer,
          error: null,
          listenCheck: null,
        });
        expect(json.status).toBe(0);
      },
    ));

  it("exits with 1 when nobody listens", async () => {
    const peer = deadPeer(family);
    const result = await cli(["dial", formatAddress(peer), "--json", "--listen-check"]);
    expect(result.status).toBe(1);
    const report = parseChecked(result);
    expect(report).toMatchObject({ verdict: "failed", error: { code: "ECONNREFUSED" } });
    expect(report.listenCheck).toEqual({
      address: peer,
      refusal: null,
      needs: [],
      because: null,
      waitMs: 0,
      inTheWay: [],
    });
  });

  it("exits with 3 when the guard rejects, before connecting", async () => {
    const peer = formatAddress(deadPeer(family));
    const result = await cli(["dial", peer, "--local", peer, "--json"]);
    expect(result.status).toBe(3);
    expect(parseChecked(result)).toMatchObject({
      verdict: "self-connect",
      error: { code: "ERR_SELF_CONNECT" },
    });
  });
});

describe("dial", () => {
  it("never reports a self-connect as healthy: exits with 3 after self-connects, and the port is free", async (context) => {
    needsNamespaces(context);
    const args = [MAIN, "dial", "127.0.0.1:40000", "--json", "--listen-check"];
    const result = await runInNamespace("40000 40000", process.execPath, args);
    expect(result.status).toBe(3);
    const report = parseChecked(result);
    expect(report.attempts.map((attempt: { outcome: string }) => attempt.outcome)).toEqual(
      Array(3).fill("self-connect"),
    );
    expect(report.listenCheck.refusal).toBe(null);
  });

  it("exits with 1 at its deadline and for an unknown name", async () => {
    const result = await cli(["dial", "name.invalid:80", "--json"]);
    expect(result.status).toBe(1);
    expect(parseChecked(result)).toMatchObject({ verdict: "failed", peer: null });
  });

  it("exits with 2 on wrong usage", async () => {
    for (const args of [
      ["nowhere"],
      ["127.0.0.1:80", "--attempts", "0"],
      ["127.0.0.1:80", "--guard", "off"],
      [],
    ]) {
      expect((await cli(["dial", ...args])).status).toBe(2);
    }
  });

  it("exits with 130 on Ctrl-C, and prints the attempts so far", async () => {
    using full = openFullListener();
    const result = await cli(
      ["dial", formatAddress(full.peer), "--json", "--deadline", "20s"],
      interruptAfter(1000),
    );
    expect(result.status).toBe(130);
    expect(parseChecked(result)).toMatchObject({ verdict: "interrupted" });
  });
});

describe("dial --wait", () => {
  it("exits with 0 when the service comes up meanwhile, with every attempt before", async () => {
    const peer = deadPeer(4, "other");
    using listener = TcpSocket.open(4, { reuseAddress: true }).bind(peer);
    const waiting = cli(["dial", formatAddress(peer), "--wait", "20s", "--json"]);
    setTimeout(() => listener.listen(), 4000);
    const result = await waiting;
    expect([result.status, result.stderr]).toEqual([0, ""]);
    const { verdict, attempts, attemptCount } = parseChecked(result);
    expect(verdict).toBe("connected");
    expect(attempts[0]).toMatchObject({ outcome: "ECONNREFUSED" });
    expect(attemptCount).toBe(attempts.length);
  });

  it("exits with 1 when it has not, and says how the last attempt ended", async () => {
    const result = await cli(["dial", formatAddress(deadPeer()), "--wait", "400ms"]);
    expect(result.status).toBe(1);
    expect(result.stdout).toMatch(/within 400 ms \(\d+ attempts; the last ended in ECONNREFUSED\)/);
  });

  it("waits for a name too, and cannot be combined with another limit", async () => {
    const result = await cli(["dial", "name.invalid:80", "--wait", "300ms", "--json"]);
    expect(parseChecked(result)).toMatchObject({ error: { code: "ERR_DEADLINE" }, attemptCount: 0 });
    expect((await cli(["dial", ":80", "--wait", "1s", "--deadline", "2s"])).status).toBe(2);
  });
});

it("dial --local needs no port", () =>
  withListener(
    4,
    (socket) => socket.end(),
    async (peer) => {
      const result = await cli(["dial", formatAddress(peer), "--local", "127.0.0.2", "--json"]);
      expect(parseChecked(result).local.host).toBe("127.0.0.2");
    },
  ));

/** A listener whose backlog is full: it answers no SYN, so a connect to it waits. */
function openFullListener() {
  const listener = TcpSocket.open(4).bind({ family: 4, host: LOOPBACK[4], port: 0 }).listen(0);
  const peer = listener.getsockname();
  const waiting = Array.from({ length: 4 }, () => {
    const socket = TcpSocket.open(4);
    socket.connect(peer);
    return socket;
  });
  return {
    peer,
    [Symbol.dispose]: () => {
      for (const socket of [listener, ...waiting]) socket.close();
    },
  };
}
