/** The article's story in full: 300,000 guarded reconnects by each door, on the host's own ephemeral range. */
import { describe, expect, it } from "vitest";
import { deadPort } from "../support/harness.ts";
import { expectGuarded, GUARDED_DOORS, PLAIN_DOORS, REGISTER, runStory } from "../support/story.ts";

const ATTEMPTS = 300_000;
const RESTARTS = 20;
const timeout = 30 * 60_000;

describe("300,000 reconnects, 20 restarts", () => {
  it.each(GUARDED_DOORS)("%s", { timeout }, async (door) => {
    expectGuarded(
      await runStory({ door, port: deadPort(), attempts: ATTEMPTS, restarts: RESTARTS }),
      ATTEMPTS,
      RESTARTS,
    );
  });

  it.each(PLAIN_DOORS)("%s under selfconnect/register", { timeout }, async (door) => {
    const plot = { door, port: deadPort(), attempts: ATTEMPTS, restarts: RESTARTS, flags: REGISTER };
    expectGuarded(await runStory(plot), ATTEMPTS, RESTARTS);
  });

  it("control: the same client without the guard is joined to itself", { timeout }, async () => {
    const story = await runStory({ door: "net", port: deadPort(), attempts: ATTEMPTS, restarts: 0 });
    expect(story.client.selfConnects).toBeGreaterThan(0);
  });
});
