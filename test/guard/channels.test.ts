/** diagnostics_channel: who listens gets every attempt, and nobody pays while nobody listens. */
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import type { AttemptMessage } from "../../lib/guard/channels.ts";
import {
  countAttempts,
  hasAttemptSubscribers,
  publishAttempt,
  publishRejected,
  selfConnectMessage,
} from "../../lib/guard/channels.ts";
import { connect } from "../../lib/guard/net.ts";
import { guardStatistics } from "../../lib/guard/statistics.ts";
import type { Attempt } from "../../lib/socket/errors.ts";
import { deadPeer, withListener } from "../support/harness.ts";
import { collectMessages } from "../support/messages.ts";

/** The attempts that are published while `use` runs. */
async function collectAttempts(use: () => Promise<unknown>): Promise<Attempt[]> {
  return (await collectMessages<AttemptMessage>("selfconnect:attempt", use)).map(({ attempt }) => attempt);
}

describe("selfconnect:attempt", () => {
  it("is asked for while somebody listens", async () => {
    expect(hasAttemptSubscribers()).toBe(false);
    await collectAttempts(async () => expect(hasAttemptSubscribers()).toBe(true));
    expect(hasAttemptSubscribers()).toBe(false);
  });

  it("has the attempt that connected, with both addresses and its time", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const socket = connect(peer);
        const attempts = await collectAttempts(() => once(socket, "connect"));
        const local = { family: 4, host: "127.0.0.1", port: socket.localPort };
        expect(attempts).toEqual([{ outcome: "connected", peer, local, elapsedMs: expect.any(Number) }]);
        expect(attempts[0]!.elapsedMs).toBeGreaterThan(0);
        expect(attempts[0]!.elapsedMs).toBeLessThan(performance.now());
        socket.destroy();
        await once(socket, "close");
      },
    ));

  it("has the attempt that was refused, in each connect of its own", async () => {
    const peer = deadPeer(4, "other");
    const socket = connect(peer).on("error", () => {});
    const attempts = await collectAttempts(() => new Promise((closed) => socket.once("close", closed)));
    expect(attempts).toEqual([{ outcome: "ECONNREFUSED", peer, elapsedMs: expect.any(Number) }]);
    expect(attempts[0]!.elapsedMs).toBeGreaterThan(0);
    expect(attempts[0]!.elapsedMs).toBeLessThan(performance.now());
  });
});

it("the message of a rejection counts the self-connects among the attempts", () => {
  const peer = { family: 4, host: "127.0.0.1", port: 9 } as const;
  const attempt = (outcome: Attempt["outcome"]) => ({ outcome, peer, elapsedMs: 1 });
  const of = (...outcomes: Attempt["outcome"][]) =>
    selfConnectMessage("127.0.0.1:9", countAttempts(outcomes.map(attempt)), true);
  expect(of("self-connect")).toContain("1 of 1 attempt was a self-connect and was reset");
  expect(of("ECONNREFUSED", "self-connect")).toContain("1 of 2 attempts");
  expect(of("self-connect", "self-connect", "ETIMEDOUT")).toContain(
    "2 of 3 attempts were self-connects and were reset",
  );
});

describe("guardStatistics()", () => {
  const attemptThat = (outcome: Attempt["outcome"]): Attempt => ({ outcome, peer: deadPeer(), elapsedMs: 1 });

  it.each([
    ["an attempt that connected", "connected", () => publishAttempt(attemptThat("connected"))],
    ["one that was refused", "failed", () => publishAttempt(attemptThat("ECONNREFUSED"))],
    ["none that was abandoned", undefined, () => publishAttempt(attemptThat("abandoned"))],
    ["no self-connect twice", undefined, () => publishAttempt(attemptThat("self-connect"))],
    ["its reset", "reset", () => publishRejected(attemptThat("self-connect"), true)],
    ["its refusal", "refused", () => publishRejected(attemptThat("self-connect"), false)],
  ])("counts %s", (_what, counted, publish) => {
    const before = Object.values(guardStatistics());
    publish();
    const after = Object.entries(guardStatistics());
    const added = after.flatMap(([name, value], i) => Array(value - before[i]!).fill(name));
    expect(added).toEqual(counted ? [counted] : []);
  });
});
