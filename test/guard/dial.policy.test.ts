/** dial()'s policy: which addresses, how often, how long, and which error of several is thrown. */
import dns from "node:dns/promises";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { DialOptions } from "../../lib/guard/dial.ts";
import { dial } from "../../lib/guard/dial.ts";
import type { Address } from "../../lib/socket/address.ts";
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
    expect(late.attempts.map(({ peer }) => peer.host)).toEqual(["127.0.0.1"]);
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
    ":80",
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

  it("a numeric host is not resolved, and keeps its scope", async () => {
    const lookup = resolveTo("127.0.0.1");
    const peers: Address[] = [];
    const onAttempt = ({ peer }: Attempt) => void peers.push(peer);
    await withAnswers([-ENETUNREACH], () => errorOf(dial("[fe80::7%lo]:80", { onAttempt })));
    expect(peers).toMatchObject([{ host: "fe80::7", scope: "lo" }]);
    expect(lookup).not.toHaveBeenCalled();
  });
});

describe("attempts", () => {
  it("are three for a self-connect unless told otherwise", async (context) => {
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

  it("of a mistake, such as an option that the kernel refuses, are none", () =>
    withNative({ setsockopt: () => -os.constants.errno.EPERM }, async () => {
      const error = await errorOf(dial(deadPeer(), { options: { noDelay: true }, retryOn: ["EPERM"] }));
      expect(error).toMatchObject({ code: "EPERM", syscall: "setsockopt" });
    }));

  it("a bind that is refused is the kernel's answer, and no exhaustion", async () => {
    const error = await errorOf(dial(deadPeer(), { local: "192.0.2.1:0" }));
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "bind" });
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

  it("a deadline of 0 is one, and the longest too", async () => {
    const peer = deadPeer(4, "other");
    const retryOn = ["ECONNREFUSED"];
    expect((await errorOf(dial(peer, { deadlineMs: 0, retryOn }))).code).toBe("ERR_DEADLINE");
    expect((await errorOf(dial(peer, { deadlineMs: 2 ** 31 - 1 }))).code).toBe("ECONNREFUSED");
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
          set.push(native.options[row]!.name);
          return native.setsockopt(socket, row, value);
        };
        await withNative({ setsockopt }, async () => {
          const host = LOOPBACK[family];
          const late = await dial(peer, { local: { family, host, port: 0 }, guard: "detect" });
          expect(set).toEqual(["bindAddressNoPort"]);
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
