/** The story of one run: every part of it comes from the same socket. */
import { describe, expect, it } from "vitest";
import type { JoinedMoment, Story } from "../../lib/audit/index.ts";
import { examineJoined, recordStory } from "../../lib/audit/index.ts";
import { storyHtml } from "../../lib/report/index.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES } from "../support/harness.ts";

describe.each(FAMILIES)("a self-connect, IPv%i", (family) => {
  it("has its moment, its packets, its harm and its end", async () => {
    const peer = deadPeer(family);
    let seen: JoinedMoment | null = null;
    const story: Story = await recordStory({
      peer,
      strategy: "bind",
      attempts: 1,
      whileOpen: (moment) => {
        seen = moment;
        expect(listenRefusal(peer)).toBe("EADDRINUSE");
      },
    });
    expect(story.moment).toBe(seen);
    expect(story.moment).toMatchObject({ local: peer, peer, refusal: "EADDRINUSE" });
    expect(story.moment!.received).toBe(story.moment!.sent);
    expect(story.moment!.rows).toMatchObject([[{ state: "ESTABLISHED" }, { pid: process.pid }]]);
    expect(story).toMatchObject({ refusalAfter: null, result: { verdict: "self-connect", attempts: 1 } });
    expect(Array.from(story.ports!)).toEqual([peer.port]);
    expect(story.port.ports).toMatchObject([{ port: peer.port }]);
    expect(storyHtml(story)).toContain("Certain: strategy bind takes the port at the first attempt.");
    if (story.trace.whyNoCapture) return; // Without CAP_NET_RAW there are no packets.
    expect(story.trace.agrees).toBe(true);
    expect(story.trace.ladder.rows.map(({ text }) => text)).toContain(story.moment!.sent);
  });
});

it("a run without a self-connect has no moment, and records its ports", async () => {
  const passed: number[] = [];
  const onPorts = (ports: Uint16Array) => void passed.push(...ports);
  const story = await recordStory({ peer: deadPeer(4), strategy: "autobind", attempts: 3, onPorts });
  expect(story).toMatchObject({ moment: null, result: { verdict: "attempts-spent", attempts: 3 } });
  expect(Array.from(story.ports!)).toEqual(passed);
  expect(passed).toHaveLength(3);
});

it("a socket that is not joined to itself is refused, and stays open", async () => {
  using socket = TcpSocket.open(4);
  await expect(examineJoined(socket)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  expect(socket.closed).toBe(false);
});
