/** punch() and answers of the kernel that the test makes up. */
import os from "node:os";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RejectedMessage } from "../../lib/guard/channels.ts";
import { REJECTED_CHANNEL } from "../../lib/guard/channels.ts";
import type { PunchOptions } from "../../lib/guard/punch.ts";
import { punch } from "../../lib/guard/punch.ts";
import { encodeAddress } from "../../lib/socket/address.ts";
import { PROVEN_APART } from "../../lib/socket/connecting.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { listenSilently } from "../support/dials.ts";
import { deadPeer, FAMILIES, withNative } from "../support/harness.ts";
import { collectMessages } from "../support/messages.ts";

const native = loadNative();
const { EACCES, EAGAIN, ECONNREFUSED, ENETUNREACH } = os.constants.errno;

/** Each attempt is as short as it can be. */
beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
afterEach(() => void vi.restoreAllMocks());

/** Sockets that may have one address. */
const SHARED = { reuseAddress: true, reusePort: true };

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

  it("a socket that cannot be asked is reset", async () => {
    const { local, end } = await punchListener(family, { ...JOINED, isJoined: () => -EACCES });
    expect(end).toMatchObject({ code: "EACCES", syscall: "getpeername" });
    expect(listenRefusal(local)).toBe(null);
  });

  it("refuses both addresses being the same before it binds, and a port that the kernel picks so after", async () => {
    const peer = deadPeer(family);
    using holder = TcpSocket.open(family).bind(peer);
    const rejected = await collectMessages<RejectedMessage>(REJECTED_CHANNEL, async () => {
      const end = await endOf(punch(holder.getsockname(), peer));
      expect(end).toMatchObject({ code: "ERR_SELF_CONNECT", attempts: [{ local: peer, peer }] });
      expect(end.message).toContain("the local port is the peer's own");
    });
    expect(rejected).toMatchObject([{ wasConnected: false, attempt: { outcome: "self-connect" } }]);
    const other = deadPeer(family, "other");
    const connect = vi.fn(native.connect);
    const bind: Native["bind"] = (handle) => native.bind(handle, encodeAddress(other));
    const picked = await withNative({ bind, connect }, () => endOf(punch({ ...other, port: 0 }, other)));
    expect(picked).toMatchObject({ code: "ERR_SELF_CONNECT", attempts: [{ local: other, peer: other }] });
    expect(connect).not.toHaveBeenCalled();
  });

  it.each([
    { reuseAddress: true },
    { reusePort: true },
  ])("shares its port with a socket that has %o", async (share) => {
    using listener = TcpSocket.open(family).bind(deadPeer(family)).listen();
    using holder = TcpSocket.open(family, share).bind(deadPeer(family, "other"));
    const local = holder.getsockname();
    const peer = listener.getsockname();
    expect(await endOf(punch(local, peer, { listen: false }))).toMatchObject({ local, peer });
  });

  it("a peer that does not answer lasts until the deadline or an abort, and the port is free then", async () => {
    const local = deadPeer(family, "other");
    using silent = await listenSilently(deadPeer(family));
    const peer = silent.getsockname();
    const late = await endOf(punch(local, peer, { deadlineMs: 30 }));
    expect(late).toMatchObject({ code: "ERR_DEADLINE", attempts: [] });
    expect(listenRefusal(local)).toBe(null);
    const signal = AbortSignal.timeout(20);
    expect(await endOf(punch(local, peer, { signal, deadlineMs: 5000 }))).toBe(signal.reason);
    expect(listenRefusal(local)).toBe(null);
  });

  it("receives from a peer whose SYN arrives just before it looks whether there was one", async () => {
    const [local, peer] = [deadPeer(family, "other"), deadPeer(family)];
    using silent = await listenSilently(peer, SHARED);
    using crossing = TcpSocket.open(family, SHARED).bind(peer);
    const set = TcpSocket.prototype.setsockopt;
    vi.spyOn(TcpSocket.prototype, "setsockopt").mockImplementation(function (this: TcpSocket, name, value) {
      if (crossing.state === "unconnected") crossing.connect(local);
      return set.call(this, name, value);
    });
    const { socket } = await punch(local, peer);
    await crossing.connected();
    crossing.send(Buffer.from("hello"));
    expect(await socket.receiveExactly(5, { deadlineMs: 2000 })).toEqual(
      Uint8Array.from(Buffer.from("hello")),
    );
    socket.reset();
    silent.accept()!.close(); // What filled its queue.
    expect(silent.accept()).toBe(null);
  });
});

it("each attempt is a random part longer than its least time, which grows up to 3 seconds", async () => {
  const STEP_MS = 3000;
  let nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const begun: number[] = [];
  const calls: Partial<Native> = {
    connect: () => {
      begun.push(nowMs);
      return -ECONNREFUSED;
    },
    accept: () => {
      nowMs += STEP_MS;
      return -EAGAIN;
    },
  };
  await withNative(calls, () => endOf(punch(deadPeer(4, "other"), deadPeer(), { deadlineMs: 45_000 })));
  const lasted = begun.slice(1).map((ms, i) => (ms - begun[i]!) / STEP_MS);
  expect(lasted).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
});

it.each([
  true,
  false,
])("an attempt without a reply ends, and another begins (TCP_INFO: %s)", async (inBuild) => {
  const options = native.options.map((row) => (row.name === "information" ? { ...row, inBuild } : row));
  const abort = new AbortController();
  let begun = 0;
  const connect: Native["connect"] = (handle, peer) => {
    if (++begun === 2) abort.abort();
    return native.connect(handle, peer);
  };
  using silent = await listenSilently(deadPeer());
  const limits = { signal: abort.signal, deadlineMs: 5000 };
  const end = await withNative({ options, connect }, () =>
    endOf(punch(deadPeer(4, "other"), silent.getsockname(), limits)),
  );
  expect(end).toBe(abort.signal.reason);
});

it("a port that is the peer's too is no self-connect when the peer is another host", async () => {
  const { port } = deadPeer();
  const far = { family: 4, host: "198.18.0.1", port } as const;
  const end = await withNative({ connect: () => -ENETUNREACH }, () => endOf(punch(`0.0.0.0:${port}`, far)));
  expect(end).toMatchObject({ code: "ENETUNREACH" });
});

it("what is wrong with the call is refused before the first system call", async () => {
  const socket = vi.fn(native.socket);
  const enough = new Error("enough");
  await withNative({ socket }, async () => {
    const [local, peer] = [deadPeer(4, "other"), deadPeer()];
    socket.mockClear();
    expect(await endOf(punch(local, peer, { listen: 1 as never }))).toMatchObject({
      code: "ERR_OPTION_VALUE",
    });
    expect(await endOf(punch(local, { ...peer, family: 6, host: "::1" }))).toMatchObject({
      code: "ERR_INVALID_ADDRESS",
    });
    expect(await endOf(punch(local, peer, { signal: AbortSignal.abort(enough) }))).toBe(enough);
    expect(socket).not.toHaveBeenCalled();
  });
});

it("leaves no descriptor where its port is taken", async () => {
  using holder = TcpSocket.open(4).bind(deadPeer());
  const before = openDescriptors();
  expect(await endOf(punch(holder.getsockname(), deadPeer(4, "other")))).toMatchObject({
    code: "EADDRINUSE",
  });
  expect([...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what)).toEqual([]);
});
