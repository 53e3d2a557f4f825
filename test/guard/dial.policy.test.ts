/** dial()'s policy: how often, how long, and which error of several is thrown. */

import dns from "node:dns/promises";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { DialOptions } from "../../lib/guard/dial.ts";
import { dial } from "../../lib/guard/dial.ts";
import type { Attempt } from "../../lib/socket/errors.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { AT_ONCE, errorOf, resolveTo, withAnswers, withSilentPeer } from "../support/dials.ts";
import { deadPeer, LOOPBACK, requires, withListener, withNative } from "../support/harness.ts";

const { EADDRNOTAVAIL, ENETUNREACH } = os.constants.errno;

afterEach(() => void vi.restoreAllMocks());

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
