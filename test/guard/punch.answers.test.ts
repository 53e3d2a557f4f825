/** punch() and answers of the kernel that the test makes up. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { RejectedMessage } from "../../lib/guard/channels.ts";
import { REJECTED_CHANNEL } from "../../lib/guard/channels.ts";
import type { PunchOptions } from "../../lib/guard/punch.ts";
import { punch } from "../../lib/guard/punch.ts";
import { PROVEN_APART } from "../../lib/socket/connecting.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, withNative } from "../support/harness.ts";
import { collectMessages } from "../support/messages.ts";

const native = loadNative();

/** Runs punch() to a listener, from a port that nothing else uses. */
async function punchListener(family: 4 | 6, calls: Partial<Native>, options: PunchOptions = {}) {
  const local = deadPeer(family, "other");
  using listener = TcpSocket.open(family)
    .bind({ ...local, port: 0 })
    .listen();
  const peer = listener.getsockname();
  return { local, peer, end: await withNative(calls, () => endOf(punch(local, peer, options))) };
}

/** What punch() resolves or rejects with; a socket is reset. */
async function endOf(punching: ReturnType<typeof punch>) {
  const end = await punching.catch((error) => error);
  end.socket?.reset();
  return end;
}

/** A kernel that does not prove which socket is at the other end, and then reports this one. */
const JOINED: Partial<Native> = {
  isJoined: () => 1,
  connectProgress: (handle) => {
    const progress = native.connectProgress(handle);
    return progress === PROVEN_APART ? 0 : progress;
  },
};

/** connect(2) that ends with this errno the first time. */
function refuseOnce(code: keyof typeof os.constants.errno): Partial<Native> {
  let isFirst = true;
  const connect: Native["connect"] = (handle, peer) => {
    if (!isFirst) return native.connect(handle, peer);
    isFirst = false;
    return -os.constants.errno[code];
  };
  return { connect };
}

describe.each(FAMILIES)("over IPv%i", (family) => {
  it("a socket that is joined to itself is reset, reported and never returned", async () => {
    const rejected = await collectMessages<RejectedMessage>(REJECTED_CHANNEL, async () => {
      const { local, peer, end } = await punchListener(family, JOINED, { listen: false });
      expect(end).toMatchObject({
        code: "ERR_SELF_CONNECT",
        message: expect.stringContaining("1 of 1 attempt was a self-connect and was reset"),
        attempts: [{ outcome: "self-connect", local, peer }],
      });
      expect(listenRefusal(local)).toBe(null);
    });
    expect(rejected).toMatchObject([{ wasConnected: true, attempt: { outcome: "self-connect" } }]);
  });

  it.each(["ECONNREFUSED", "EADDRNOTAVAIL"] as const)("after %s it tries again", async (code) => {
    const { local, peer, end } = await punchListener(family, refuseOnce(code));
    expect(end).toMatchObject({ local, peer, attemptCount: 2 });
    expect(end.attempts).toMatchObject([
      { outcome: code, local, peer },
      { outcome: "connected", local, peer },
    ]);
  });

  it("what waiting does not change ends it at once", async () => {
    const { local, peer, end } = await punchListener(family, refuseOnce("ENETUNREACH"));
    expect(end).toBeInstanceOf(SocketError);
    expect(end).toMatchObject({ code: "ENETUNREACH", syscall: "connect", peer });
    expect(listenRefusal(local)).toBe(null);
  });

  it("listens on its port, unless it is told not to", async () => {
    const backlogs: number[] = [];
    const calls = { listen: (_handle: unknown, backlog: number) => backlogs.push(backlog) - 1 };
    await punchListener(family, calls as Partial<Native>, { listen: false });
    expect(backlogs).toEqual([]);
    await punchListener(family, calls as Partial<Native>);
    expect(backlogs).toHaveLength(1);
  });
});
