/** Cold starts: each trial has a port of its own, and the attempts of such trials follow the exact distribution. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../lib/loop/statistics.ts";
import { PORT_ALGORITHMS } from "../../lib/ports/algorithms.ts";
import { testWaits } from "../../lib/ports/check.ts";
import { planColdStarts } from "../../lib/ports/cold.ts";
import { simulateWait } from "../../lib/ports/model.ts";
import { predict } from "../../lib/ports/predict.ts";

const RANGE = { low: 40_000, high: 40_199 };
const SITUATION = { ephemeralRange: RANGE, reservedPorts: [] };
const PEER = { family: 4, host: "127.0.0.1", port: 40_100 } as const;
const ALGORITHM = PORT_ALGORITHMS.find(({ name }) => name === "linux-5.18")!;

describe("planColdStarts()", () => {
  it("begins with the peer, and has each other port that can be hit once", async () => {
    const { peers, prediction } = await planColdStarts(PEER, "fresh", SITUATION, 20, seededRandom(1));
    expect(peers[0]).toEqual(PEER);
    const ports = peers.map(({ port }) => port);
    expect(new Set(ports).size).toBe(ports.length);
    const { stride } = prediction.algorithm;
    expect(ports.length).toBe(200 / stride);
    expect(
      ports.filter((port) => port < RANGE.low || port > RANGE.high || (port - PEER.port) % stride !== 0),
    ).toEqual([]);
    expect(ports.slice(1)).not.toEqual(ports.slice(1).toSorted((a, b) => a - b));
  });

  it("refuses more trials than there are ports, and tries a peer that is never hit all the same", async () => {
    await expect(planColdStarts(PEER, "fresh", SITUATION, 201)).rejects.toMatchObject({
      code: "ERR_TOO_FEW_PORTS",
    });
    const outside = { ...PEER, port: 1 };
    expect((await planColdStarts(outside, "fresh", SITUATION, 201)).peers).toEqual([outside]);
  });
});

describe("testWaits()", async () => {
  const prediction = await predict({ peer: PEER, algorithm: ALGORITHM, facts: SITUATION });
  const random = seededRandom(5);
  const cold = Array.from({ length: 60 }, (_, at) => ({
    port: RANGE.low + 2 * at,
    attempts: simulateWait(ALGORITHM, { ...SITUATION, unusable: [] }, RANGE.low + 2 * at, 50_000, random)!,
    elapsedMs: 4,
  }));

  it("agrees with waits that begin at random places", () => {
    const { test, wait } = testWaits(prediction, cold, seededRandom(1));
    expect(test.p).toBeGreaterThan(0.01);
    expect(wait.mean).toBeGreaterThan(50);
  });

  it("does not agree with waits that begin where the last one ended: a lap or more each", () => {
    const chained = cold.map((one) => ({ ...one, attempts: one.attempts + 60 }));
    expect(testWaits(prediction, chained, seededRandom(1)).test.p).toBeLessThan(0.001);
  });
});
