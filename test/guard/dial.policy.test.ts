/** dial()'s policy: which addresses, how often, how long, and which error of several is thrown. */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import dns from "node:dns/promises";
import { readdirSync } from "node:fs";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { REJECTED_CHANNEL } from "../../lib/guard/channels.ts";
import type { DialOptions, Peer } from "../../lib/guard/dial.ts";
import { dial } from "../../lib/guard/dial.ts";
import type { Address } from "../../lib/socket/address.ts";
import { ADDRESS_BYTES } from "../../lib/socket/address.ts";
import { PROVEN_APART } from "../../lib/socket/connecting.ts";
import type { Attempt, DialError } from "../../lib/socket/errors.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, LOOPBACK, requires, withListener, withNative } from "../support/harness.ts";

const { EADDRNOTAVAIL, EHOSTUNREACH, ENETUNREACH } = os.constants.errno;

const errorOf = (dialing: Promise<unknown>): Promise<DialError> =>
  dialing.then(
    () => expect.unreachable("it must not connect"),
    (error) => error,
  );

afterEach(() => void vi.restoreAllMocks());

/** A resolver that knows one name. */
function resolveTo(...hosts: string[]) {
  const found = hosts.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return vi.spyOn(dns, "lookup").mockResolvedValue(found as never);
}

/** A kernel whose connect(2) gives these answers, one after another, and then its own. */
function withAnswers<T>(answers: number[], use: () => Promise<T>): Promise<T> {
  const native = loadNative();
  const connect: Native["connect"] = (socket, peer) => answers.shift() ?? native.connect(socket, peer);
  return withNative({ connect }, use);
}

const kernel = loadNative();
/** The kernel's connectProgress without its proof that a connection has another end. */
const connectProgress: Native["connectProgress"] = (handle) => {
  const progress = kernel.connectProgress(handle);
  return progress === PROVEN_APART ? 0 : progress;
};

const AT_ONCE = { kind: "fixed", delayMs: 0 } as const;

const countDescriptors = () => readdirSync("/proc/self/fd").length;

describe("the addresses of a name", () => {
  it("are tried in turn, and the first error is thrown", () =>
    withAnswers([-ENETUNREACH, -EHOSTUNREACH], async () => {
      const lookup = resolveTo("::1", "127.0.0.1");
      const attempts: Attempt[] = [];
      const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
      const error = await errorOf(dial("name.test:4711", { onAttempt }));
      expect(error).toMatchObject({ code: "ENETUNREACH", peer: { host: "::1", port: 4711 } });
      expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
        ["ENETUNREACH", "::1"],
        ["EHOSTUNREACH", "127.0.0.1"],
      ]);
      expect(lookup).toHaveBeenCalledWith("name.test", { all: true, family: 0 });
    }));

  it("a self-connect is thrown, whichever address it had", async () => {
    const local = deadPeer(4);
    resolveTo("127.0.0.2", "127.0.0.1");
    const error = await errorOf(dial(`name.test:${local.port}`, { local }));
    expect(error.code).toBe("ERR_SELF_CONNECT");
    expect(error.attempts.map(({ outcome }) => outcome)).toContain("self-connect");
  });

  it("are of the local address's family", async () => {
    const lookup = resolveTo("::1");
    await errorOf(dial(`name.test:${deadPeer(6, "other").port}`, { local: "[::1]:0" }));
    expect(lookup).toHaveBeenCalledWith("name.test", { all: true, family: 6 });
  });

  it("the ones after a connection are not tried", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        resolveTo("127.0.0.1", "127.0.0.2");
        const { socket, attempts, peer } = await dial(`name.test:${port}`);
        expect([attempts.length, peer.host]).toEqual([1, "127.0.0.1"]);
        socket.close();
      },
    ));

  it("the ones after the deadline or an abort are not tried", async () => {
    const { port } = deadPeer(4, "other");
    const backoff = { kind: "fixed", delayMs: 1000 } as const;
    resolveTo("127.0.0.1", "127.0.0.2");
    const late = await errorOf(
      dial(`name.test:${port}`, { deadlineMs: 100, backoff, retryOn: ["ECONNREFUSED"] }),
    );
    expect(late.code).toBe("ERR_DEADLINE");
    expect(late.attempts.map(({ peer }) => peer.host)).toEqual(["127.0.0.1", "127.0.0.2"]);
    const abort = new AbortController();
    const attempts: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => {
      attempts.push(attempt);
      abort.abort(new Error("enough"));
    };
    await errorOf(dial(`name.test:${port}`, { signal: abort.signal, onAttempt }));
    expect(attempts).toHaveLength(1);
  });
});

/** Time for a lane to begin that must not begin. */
const A_WHILE_MS = 60;

describe("happy eyeballs", () => {
  it("control: a silent address alone costs the whole deadline", () =>
    withSilentPeer(async ({ port }) => {
      const error = await errorOf(dial(`127.0.0.1:${port}`, { deadlineMs: 300 }));
      expect(error.code).toBe("ERR_DEADLINE");
    }));

  it("the next address begins while the first is silent, wins, and the first is reset and reported", () =>
    withSilentPeer(async ({ port }) => {
      using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
      resolveTo("127.0.0.1", "127.0.0.2");
      const seen: Attempt[] = [];
      const onAttempt = (attempt: Attempt) => void seen.push(attempt);
      const before = countDescriptors();
      const { socket, peer, attempts } = await dial(`name.test:${port}`, {
        ...{ deadlineMs: 20_000, nextAddressMs: 10, onAttempt },
      });
      expect(countDescriptors() - before, "the one that won").toBe(1);
      expect(peer).toEqual(served.getsockname());
      expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
        ["abandoned", "127.0.0.1"],
        ["connected", "127.0.0.2"],
      ]);
      expect(seen).toEqual(attempts);
      socket.close();
    }));

  it("waits nextAddressMs before it begins the next one", () =>
    withSilentPeer(async ({ port }) => {
      resolveTo("127.0.0.1", "127.0.0.2");
      const limits = { deadlineMs: A_WHILE_MS };
      const one = await errorOf(dial(`name.test:${port}`, limits));
      expect(one.attempts.map(({ peer }) => peer.host)).toEqual(["127.0.0.1"]);
      const two = await errorOf(dial(`name.test:${port}`, { ...limits, nextAddressMs: 10 }));
      expect(two.attempts.map(({ outcome }) => outcome).sort()).toEqual(["ECONNREFUSED", "deadline"]);
      expect(two.code).toBe("ERR_DEADLINE");
    }));

  it("begins the next one at once when an attempt has failed, also while that one waits for its next", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        resolveTo("127.0.0.2", "127.0.0.1");
        const backoff = { kind: "fixed", delayMs: 20_000 } as const;
        const waits = { backoff, retryOn: ["ECONNREFUSED"] as const, nextAddressMs: 2000, deadlineMs: 1000 };
        const { socket, attempts } = await dial(`name.test:${port}`, waits);
        expect(attempts.map(({ outcome }) => outcome)).toEqual(["ECONNREFUSED", "connected"]);
        socket.close();
      },
    ));

  it("takes the families in turn, beginning with that of the first address", () =>
    withAnswers(Array(5).fill(-ENETUNREACH), async () => {
      resolveTo("::1", "::2", "::3", "127.0.0.1", "127.0.0.2");
      const hosts: string[] = [];
      await errorOf(dial("name.test:4711", { onAttempt: ({ peer }) => void hosts.push(peer.host) }));
      expect(hosts).toEqual(["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]);
    }));

  it("a self-connect at one address is not the winner, and the other address is", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
        resolveTo("127.0.0.1", "127.0.0.2");
        const native = loadNative();
        /** Every socket that is connected to 127.0.0.1 is joined to itself. */
        const isJoined: Native["isJoined"] = (handle) => {
          const peer = new Uint8Array(ADDRESS_BYTES);
          native.getpeername(handle, peer);
          return Number(peer[11] === 1);
        };
        await withNative({ isJoined, connectProgress }, async () => {
          const { socket, peer, attempts } = await dial(`name.test:${port}`, { guard: "detect" });
          expect(peer).toEqual(served.getsockname());
          expect(attempts[0]).toMatchObject({ outcome: "self-connect", peer: { host: "127.0.0.1" } });
          socket.reset();
          const control = await dial(`name.test:${port}`, { guard: "off" });
          expect(control.peer.host).toBe("127.0.0.1");
          control.socket.reset();
        });
      },
    ));

  it("of two that connect at the same moment the first wins, and the other is reset and reported", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
        resolveTo("127.0.0.1", "127.0.0.2");
        let connected = () => {};
        const both = new Promise<void>((resolve) => (connected = resolve));
        let begun = 0;
        vi.spyOn(TcpSocket.prototype, "connected").mockImplementation(async function (this: TcpSocket) {
          if (++begun === 2) connected();
          await both;
          return this;
        });
        const reset = vi.fn(loadNative().reset);
        const rejected = vi.fn();
        subscribe(REJECTED_CHANNEL, rejected);
        const { socket, peer, attempts } = await withNative({ reset }, () =>
          dial(`name.test:${port}`, { nextAddressMs: 10 }),
        ).finally(() => unsubscribe(REJECTED_CHANNEL, rejected));
        expect(reset).toHaveBeenCalledOnce();
        expect(rejected, "it is no self-connect").not.toHaveBeenCalled();
        expect(peer).toEqual({ ...served.getsockname(), host: "127.0.0.1" });
        expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
          ["abandoned", "127.0.0.2"],
          ["connected", "127.0.0.1"],
        ]);
        socket.reset();
      },
    ));

  it("a self-connect is the verdict, not the deadline that another address reached", () =>
    withSilentPeer(async ({ port }) => {
      using _served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
      resolveTo("127.0.0.1", "127.0.0.2");
      await withNative({ isJoined: () => 1, connectProgress }, async () => {
        const options = { deadlineMs: 200, nextAddressMs: 10, attempts: 1, guard: "detect" } as const;
        const error = await errorOf(dial(`name.test:${port}`, options));
        expect(error.code).toBe("ERR_SELF_CONNECT");
        expect(error.attempts.map(({ outcome }) => outcome)).toEqual(["self-connect", "deadline"]);
      });
    }));

  it("with a fixed local port one follows the other, because two sockets cannot have it", () =>
    withSilentPeer(async ({ port }) => {
      resolveTo("127.0.0.1", "127.0.0.2");
      const local = `127.0.0.1:${deadPeer(4, "other").port}`;
      const error = await errorOf(
        dial(`name.test:${port}`, { local, nextAddressMs: 10, deadlineMs: A_WHILE_MS }),
      );
      expect(error.attempts.map(({ outcome }) => outcome)).toEqual(["deadline"]);
    }));

  it.each([9, 2001, Number.NaN, -1])("nextAddressMs %s is refused", async (nextAddressMs) => {
    expect(await errorOf(dial(deadPeer(), { nextAddressMs }))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  });
});

describe("several local addresses", () => {
  const sources = ["127.0.0.2", "127.0.0.3:0", { family: 4, host: "127.0.0.4" }] as const;

  it("are taken in turn by every dial with the same list, and by each attempt", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const hosts: string[] = [];
        for (let i = 0; i < 6; i++) {
          const { socket, local } = await dial(peer, { local: sources });
          hosts.push(local.host);
          socket.reset();
        }
        expect(hosts.slice(0, 3)).toEqual(hosts.slice(3));
        expect([...hosts.slice(0, 3)].sort()).toEqual(["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
        const retried = { retryOn: ["ECONNREFUSED"] as const, backoff: AT_ONCE, local: sources };
        const error = await errorOf(dial(deadPeer(4, "other"), retried));
        expect(new Set(error.attempts.map(({ local }) => local?.host)).size).toBe(3);
      },
    ));

  it("one without a free port is passed over, and costs no attempt", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const { attempts, socket } = await withAnswers([-EADDRNOTAVAIL, -EADDRNOTAVAIL], () =>
          dial(peer, { local: sources, attempts: 1, guard: "detect" }),
        );
        expect(attempts.map(({ outcome }) => outcome)).toEqual([
          ...["EADDRNOTAVAIL", "EADDRNOTAVAIL", "connected"],
        ]);
        socket.reset();
      },
    ));

  it("one that is refused is not passed over, and each without a free port only once", async () => {
    const once = await errorOf(dial(deadPeer(4, "other"), { local: sources, guard: "detect" }));
    expect(once).toMatchObject({ code: "ECONNREFUSED" });
    const attempts: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
    await withAnswers(Array(9).fill(-EADDRNOTAVAIL), () =>
      errorOf(dial(deadPeer(), { local: sources, attempts: 1, guard: "detect", onAttempt })),
    );
    expect(attempts).toHaveLength(sources.length);
  });

  it("are those of the peer's family", () =>
    withListener(
      6,
      (socket) => socket.resume(),
      async (peer) => {
        const { socket, local } = await dial(peer, { local: ["127.0.0.2", "::1"] });
        expect(local.host).toBe("::1");
        socket.reset();
      },
    ));

  it.each([[[]], [["nowhere"]], [[null]], [null], [7]])("%j is refused", async (local) => {
    const error = await errorOf(dial(deadPeer(), { local: local as never }));
    expect(error).toMatchObject({ code: "ERR_INVALID_ADDRESS" });
  });
});

describe("the record of the attempts", () => {
  it("has the first ten, the last ten, and their number", async () => {
    const peer = deadPeer(4, "other");
    const seen: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => void seen.push(attempt);
    const error = await errorOf(
      dial(peer, { attempts: 100, retryOn: ["ECONNREFUSED"], backoff: AT_ONCE, onAttempt }),
    );
    expect(seen).toHaveLength(100);
    expect(error.attemptCount).toBe(100);
    expect(error.attempts).toEqual([...seen.slice(0, 10), ...seen.slice(-10)]);
    expect(error.message).toContain("after 100 attempts");
  });

  it("has all of them up to twenty", async () => {
    for (const attempts of [1, 10, 11, 20]) {
      const retried = { attempts, retryOn: ["ECONNREFUSED"] as const, backoff: AT_ONCE };
      const error = await errorOf(dial(deadPeer(4, "other"), { ...retried, guard: "detect" }));
      if (attempts > 1) expect([error.attempts.length, error.attemptCount]).toEqual([attempts, attempts]);
    }
  });
});

describe("without a backoff", () => {
  it("retryOn does not flood: it waits, longer each time", async () => {
    const stop = AbortSignal.timeout(450);
    let made = 0;
    const onAttempt = () => void made++;
    const endless = { retryOn: ["ECONNREFUSED"] as const, attempts: 1e9, signal: stop, onAttempt };
    await errorOf(dial(deadPeer(4, "other"), endless));
    expect(made).toBeGreaterThan(1); // The second begins after 50 to 100 ms, the fourth after 350 to 700.
    expect(made).toBeLessThan(5);
  });

  it("a self-connect is followed by the next attempt at once", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    const error = await errorOf(dial(peer, { options, attempts: 1000, deadlineMs: 5000 }));
    expect([error.code, error.attemptCount]).toEqual(["ERR_SELF_CONNECT", 1000]);
    expect(error.message).toContain("1000 of 1000 attempts were self-connects");
  });
});

describe("the forms of a peer", () => {
  it.each([
    "localhost",
    "a.b-c.test",
    "a_b",
    "_srv.test",
    "host9",
    "a",
    "1.2.3.test",
    "trailing.dot.",
  ])("%s is a name", async (name) => {
    const lookup = resolveTo("127.0.0.1");
    await errorOf(dial(`${name}:${deadPeer(4, "other").port}`));
    expect(lookup).toHaveBeenCalledWith(name, expect.anything());
  });

  it.each([
    "256.1.1.1:80",
    "1.2.3:80",
    "-a:80",
    "a-:80",
    "a b:80",
    "a:80x",
    "xa:",
    "[::1:80",
  ])("%s is neither a name nor an address", async (peer) => {
    const lookup = resolveTo("127.0.0.1");
    expect(await errorOf(dial(peer))).toMatchObject({ code: expect.stringMatching(/^ERR_INVALID_/) });
    expect(lookup).not.toHaveBeenCalled();
  });

  it("an invalid port is refused before the name is resolved", async () => {
    const lookup = resolveTo("127.0.0.1");
    expect((await errorOf(dial("name.test:70000"))).code).toMatch(/^ERR_/);
    expect(lookup).not.toHaveBeenCalled();
  });

  it.each([
    "[fe80::7%lo]:80",
    { host: "fe80::7", scope: "lo", port: 80 },
    { host: "fe80::7%lo", port: 80 },
  ])("a numeric host is not resolved, and keeps its scope: %j", async (target) => {
    const lookup = resolveTo("127.0.0.1");
    const peers: Address[] = [];
    const onAttempt = ({ peer }: Attempt) => void peers.push(peer);
    await withAnswers([-ENETUNREACH], () => errorOf(dial(target as Peer, { onAttempt })));
    expect(peers).toMatchObject([{ host: "fe80::7", scope: "lo" }]);
    expect(lookup).not.toHaveBeenCalled();
  });
});

describe("the host of an object", () => {
  it.each(["name.test", "127.0.0.1"])("%s is a name, or else an address", async (host) => {
    const lookup = resolveTo("127.0.0.1");
    const { port } = deadPeer(4, "other");
    expect(await errorOf(dial({ host, port }))).toMatchObject({
      code: "ECONNREFUSED",
      peer: { family: 4, host: "127.0.0.1", port },
    });
    expect(lookup).toHaveBeenCalledTimes(host === "name.test" ? 1 : 0);
  });

  it.each([
    null,
    5,
    { host: 5, port: 80 },
    { family: 4, host: "name.test", port: 80 },
  ])("%j has none", async (peer) => {
    const lookup = resolveTo("127.0.0.1");
    expect(await errorOf(dial(peer as never))).toMatchObject({ code: "ERR_INVALID_ADDRESS" });
    expect(lookup).not.toHaveBeenCalled();
  });
});

describe("attempts", () => {
  it("are three for a self-connect by default", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    const error = await errorOf(dial(peer, { options }));
    expect(error.attempts).toHaveLength(3);
    for (const attempt of error.attempts) {
      expect(attempt.local).toEqual(peer);
      expect(attempt.elapsedMs).toBeLessThan(performance.now());
    }
  });

  it("is made once without retryOn for its outcome", async () => {
    const attempts: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
    const peer = deadPeer(4, "other");
    const error = await errorOf(dial(peer, { retryOn: ["ETIMEDOUT"], onAttempt }));
    expect(error.code).toBe("ECONNREFUSED");
    expect(attempts).toMatchObject([{ outcome: "ECONNREFUSED", peer, local: { host: LOOPBACK[4] } }]);
    expect(attempts[0]!.elapsedMs).toBeLessThan(performance.now());
  });

  it("have no local address before they have a port", () =>
    withAnswers([-ENETUNREACH], async () => {
      const attempts: Attempt[] = [];
      await errorOf(dial(deadPeer(), { onAttempt: (attempt) => void attempts.push(attempt) }));
      expect(attempts[0]).not.toHaveProperty("local");
    }));

  it("wait for the backoff between them, and not after the last", async () => {
    const startedAt = performance.now();
    const backoff = { kind: "fixed", delayMs: 60 } as const;
    await errorOf(dial(deadPeer(4, "other"), { attempts: 2, retryOn: ["ECONNREFUSED"], backoff }));
    expect(performance.now() - startedAt).toBeGreaterThan(55);
  });

  it("are made again for each errno of retryOn, and end with an error of onAttempt", async () => {
    const own = new Error("own");
    const onAttempt = vi.fn((_attempt: Attempt) => {
      if (onAttempt.mock.calls.length === 3) throw own;
    });
    const retryOn = ["ETIMEDOUT", "ECONNREFUSED"] as const;
    const peer = deadPeer(4, "other");
    expect(await errorOf(dial(peer, { retryOn, onAttempt, attempts: 9, backoff: AT_ONCE }))).toBe(own);
    expect(onAttempt).toHaveBeenCalledTimes(3);
  });

  it("of a mistake, such as an option that the kernel refuses, are none", () =>
    withNative({ setsockopt: () => -os.constants.errno.EPERM }, async () => {
      const error = await errorOf(dial(deadPeer(), { options: { noDelay: true }, retryOn: ["EPERM"] }));
      expect(error).toMatchObject({ code: "EPERM", syscall: "setsockopt" });
    }));

  it("a bind that is refused is the kernel's answer, and no exhaustion", async () => {
    const error = await errorOf(dial(deadPeer(), { local: "192.0.2.1:0" }));
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "bind" });
  });

  it("end where onAttempt throws: with its error, and no socket is left", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const own = new Error("own");
        const onAttempt = vi.fn(() => {
          throw own;
        });
        const retried = { retryOn: ["ECONNREFUSED"] as const, backoff: AT_ONCE, onAttempt };
        const closed = vi.fn(loadNative().reset);
        await withNative({ reset: closed }, async () => {
          expect(await errorOf(dial(peer, retried))).toBe(own);
          expect(closed).toHaveBeenCalledOnce();
          expect(await errorOf(dial(deadPeer(4, "other"), retried))).toBe(own);
          expect(closed).toHaveBeenCalledTimes(2);
        });
        expect(onAttempt).toHaveBeenCalledTimes(2);
      },
    ));

  it("with a fixed port find no other free, and do not count them", async () => {
    const local = `127.0.0.1:${deadPeer(4, "other").port}`;
    const error = await withAnswers([-EADDRNOTAVAIL], () => errorOf(dial(deadPeer(), { local })));
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "connect" });
    expect(error.message).not.toMatch(/\d+ of the \d+ ports/);
  });

  it("from the peer's port go to another host", async () => {
    const { port } = deadPeer();
    const far = `198.18.0.1:${port}`;
    const error = await withAnswers([-ENETUNREACH], () => errorOf(dial(far, { local: `0.0.0.0:${port}` })));
    expect(error.code).toBe("ENETUNREACH");
  });

  it("go on in the next range for EADDRNOTAVAIL only", async (context) => {
    requires(context, "6.3", "localPortRange");
    let connects = 0;
    const connect = () => {
      connects++;
      return -(connects === 1 ? EADDRNOTAVAIL : ENETUNREACH);
    };
    await withNative({ connect }, async () => {
      expect((await errorOf(dial(deadPeer()))).code).toBe("ENETUNREACH");
      expect(connects).toBe(2);
      expect((await errorOf(dial(deadPeer()))).code).toBe("ENETUNREACH");
      expect(connects).toBe(3);
    });
  });
});

describe("limits", () => {
  it.each([
    [{ attempts: 0 }, "ERR_OUT_OF_RANGE"],
    [{ attempts: 1.5 }, "ERR_OUT_OF_RANGE"],
    [{ deadlineMs: -1 }, "ERR_INVALID_DEADLINE"],
    [{ deadlineMs: 2 ** 31 }, "ERR_INVALID_DEADLINE"],
    [{ deadlineMs: Number.NaN }, "ERR_INVALID_DEADLINE"],
    [{ guard: "of" as never }, "ERR_UNKNOWN_GUARD"],
    [{ local: "nowhere" }, "ERR_INVALID_ADDRESS"],
  ] as [DialOptions, string][])("%o is %s", async (options, code) => {
    expect((await errorOf(dial(deadPeer(), options))).code).toBe(code);
  });

  it.each([
    [{ retry: [] } as never, "ERR_UNKNOWN_OPTION", "dial()"],
    [{ onAttempt: 5 as never }, "ERR_OPTION_VALUE", "onAttempt"],
    [{ retryOn: ["ECONREFUSED" as never] }, "ERR_UNKNOWN_ERRNO", "ECONNREFUSED"],
  ] as [DialOptions, string, string][])("%o is refused, with what is meant", async (options, _code, text) => {
    expect((await errorOf(dial(deadPeer(), options))).message).toContain(text);
  });

  it("a deadline of 0 is one, and the longest too", async () => {
    const peer = deadPeer(4, "other");
    const retryOn = ["ECONNREFUSED"] as const;
    expect((await errorOf(dial(peer, { deadlineMs: 0, retryOn }))).code).toBe("ERR_DEADLINE");
    expect((await errorOf(dial(peer, { deadlineMs: 2 ** 31 - 1 }))).code).toBe("ECONNREFUSED");
  });

  it("an attempt that would begin after the deadline is none", async () => {
    resolveTo("127.0.0.1", "127.0.0.2");
    const deadlineMs = 20_000;
    const onAttempt = () => void vi.spyOn(performance, "now").mockReturnValue(performance.now() + deadlineMs);
    const error = await errorOf(
      dial(`name.test:${deadPeer(4, "other").port}`, { deadlineMs, onAttempt, nextAddressMs: 2000 }),
    );
    expect(error).toMatchObject({ code: "ERR_DEADLINE", attempts: [{ outcome: "ECONNREFUSED" }] });
    expect(error.message).toContain("(1 attempt; the last ended in ECONNREFUSED)");
  });

  /** Longer than a test may take. */
  const LONG = { kind: "fixed", delayMs: 600_000 } as const;

  it.each([
    null,
    "enough",
  ])("an abort, whose reason is %j, ends the wait for the next attempt", async (reason) => {
    const abort = new AbortController();
    const onAttempt = vi.fn(() => void setTimeout(() => abort.abort(reason), 5));
    const options = { retryOn: ["ECONNREFUSED"], backoff: LONG, onAttempt } as const;
    expect(await errorOf(dial(deadPeer(4, "other"), { ...options, signal: abort.signal }))).toBe(reason);
    expect(onAttempt).toHaveBeenCalledOnce();
  });

  it("the deadline ends the wait for the next lookup of a name", async () => {
    const failed = Object.assign(new Error("again"), { code: "EAI_AGAIN" });
    const lookup = vi.spyOn(dns, "lookup").mockRejectedValue(failed);
    const options = { retryOn: ["EAI_AGAIN"], backoff: LONG, deadlineMs: 20 } as const;
    expect(await errorOf(dial("name.test:80", options as DialOptions))).toMatchObject({
      code: "ERR_DEADLINE",
    });
    expect(lookup).toHaveBeenCalledOnce();
  });

  it("an abort after the connection changes nothing", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const abort = new AbortController();
        const { socket } = await dial(peer, { signal: abort.signal });
        abort.abort();
        expect(socket.state).toBe("connected");
        socket.close();
      },
    ));
});

/** A listener whose kernel drops every packet that arrives: connect(2) to it waits, as to a host that is switched off. */
async function withSilentPeer(use: (peer: Address) => Promise<void>): Promise<void> {
  using listener = TcpSocket.open(4, { filter: [[0x06, 0, 0, 0]] })
    .bind("127.0.0.1:0")
    .listen();
  await use(listener.getsockname());
}

describe("a peer that does not answer", () => {
  it("costs one attempt, which lasts until the deadline, also when it is to be tried again", () =>
    withSilentPeer(async (peer) => {
      const startedAt = performance.now();
      const error = await errorOf(dial(peer, { deadlineMs: 100, retryOn: ["ETIMEDOUT"] }));
      const elapsedMs = performance.now() - startedAt;
      expect(error).toMatchObject({ code: "ERR_DEADLINE", attempts: [{ outcome: "deadline", peer }] });
      expect(error.message).toContain(`${peer.host}:${peer.port} within 100 ms (1 attempt)`);
      expect(elapsedMs).toBeGreaterThanOrEqual(99);
      expect(elapsedMs).toBeLessThan(900); // The SYN is sent again after a second.
    }));

  it.each([null, "enough"])("is given up by an abort whose reason is %j", (reason) =>
    withSilentPeer(async (peer) => {
      const abort = new AbortController();
      setTimeout(() => abort.abort(reason), 10);
      expect(await errorOf(dial(peer, { signal: abort.signal, retryOn: ["ETIMEDOUT"] }))).toBe(reason);
    }));

  it("is given up when the signal aborts, with its reason and without an attempt", () =>
    withSilentPeer(async (peer) => {
      const attempts: Attempt[] = [];
      const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
      const reason = new Error("the user left");
      const abort = new AbortController();
      setTimeout(() => abort.abort(reason), 50);
      expect(await errorOf(dial(peer, { signal: abort.signal, onAttempt }))).toBe(reason);
      expect(attempts).toEqual([]);
    }));
});

describe.each(FAMILIES)("a local address over IPv%i", (family) => {
  it("is bound, late where its port is left to the kernel", () =>
    withListener(
      family,
      (socket) => socket.resume(),
      async (peer) => {
        const native = loadNative();
        const set: string[] = [];
        const setsockopt: Native["setsockopt"] = (socket, row, value) => {
          set.push(`${native.options[row]!.name} ${value[0]}`);
          return native.setsockopt(socket, row, value);
        };
        await withNative({ setsockopt }, async () => {
          const host = LOOPBACK[family];
          const late = await dial(peer, { local: { family, host, port: 0 }, guard: "detect" });
          expect(set).toEqual(["bindAddressNoPort 1"]);
          late.socket.reset();
          set.length = 0;
          const local = deadPeer(family);
          const fixed = await dial(peer, { local });
          expect(set).toEqual([]);
          expect(fixed.local).toEqual(local);
          fixed.socket.reset();
        });
      },
    ));
});
