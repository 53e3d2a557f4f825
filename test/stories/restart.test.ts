/**
 * The article's story: a service on an even port of the ephemeral range dies and restarts while a client reconnects at
 * full speed. In a namespace with few ports the kernel picks the peer's port hundreds of times as often.
 * test/stories/restart.deep.ts runs the same on the host's range, with 300,000 reconnects for each door.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { deadPort, needsNamespaces } from "../support/harness.ts";
import {
  expectGuarded,
  GUARDED_DOORS,
  PLAIN_DOORS,
  REGISTER,
  REGISTER_MODULE,
  runStory,
} from "../support/story.ts";

const few = { range: "40000 40127", port: 40010 } as const;
const ATTEMPTS = 400;
const RESTARTS = 3;
const PATIENCE_MS = 60_000;

beforeEach((context) => needsNamespaces(context));

describe("control: a client without the guard", () => {
  it.each(PLAIN_DOORS)("%s is joined to itself", async (door) => {
    const story = await runStory({ door, ...few, attempts: 100_000, restarts: 0 });
    expect(story.client.selfConnects).toBeGreaterThan(0);
    // The TLS client closes its socket by itself, because it rejects its own ClientHello as an answer.
    if (door !== "tls") expect(story.refusalAtTheEnd).toBe("EADDRINUSE");
  });

  it("is joined to itself without a small range, on the host's own range", {
    timeout: 2 * PATIENCE_MS,
  }, async () => {
    // The chance that so few attempts do not suffice is below one in a million.
    const story = await runStory({ door: "net", port: deadPort(), attempts: 400_000, restarts: 0 });
    expect(story.client.selfConnects).toBeGreaterThan(0);
    expect(story.refusalAtTheEnd).toBe("EADDRINUSE");
  });
});

describe("guarded", () => {
  it.each(GUARDED_DOORS)("%s never is, and every restart binds at its first try", {
    timeout: PATIENCE_MS,
  }, async (door) => {
    const story = await runStory({ door, ...few, attempts: ATTEMPTS, restarts: RESTARTS });
    expectGuarded(story, ATTEMPTS, RESTARTS);
  });

  it.each(PLAIN_DOORS)("%s under selfconnect/register never is", { timeout: PATIENCE_MS }, async (door) => {
    const story = await runStory({ door, ...few, attempts: ATTEMPTS, restarts: RESTARTS, flags: REGISTER });
    expectGuarded(story, ATTEMPTS, RESTARTS);
  });

  it("a client that is late in starting meets the service as often", { timeout: PATIENCE_MS }, async () => {
    const late = "data:text/javascript,await new Promise((resolve) => setTimeout(resolve, 1500))";
    const flags = ["--import", late, ...REGISTER_MODULE];
    const story = await runStory({ door: "net", ...few, attempts: ATTEMPTS, restarts: RESTARTS, flags });
    expectGuarded(story, ATTEMPTS, RESTARTS);
  });
});
