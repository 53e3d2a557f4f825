/** connected(): many sockets, and every way in which the wait ends; no descriptor leaks. */
import { once } from "node:events";
import { closeSync, readFileSync } from "node:fs";
import net from "node:net";
import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { catchError, deadPeer, LOOPBACK, needsFiles, withListener, withNative } from "../support/harness.ts";

const MANY = 10_000;

/** A listener whose queue is full: further connects to it stay in SYN-SENT until it accepts. */
async function withFullListener(use: (peer: { family: 4; host: string; port: number }) => Promise<void>) {
  using listener = TcpSocket.open(4).bind(`${LOOPBACK[4]}:0`).listen(0);
  const peer = { family: 4, host: LOOPBACK[4], port: listener.getsockname().port } as const;
  const fillers: TcpSocket[] = [];
  try {
    // A queue of length 0 accepts one connection; a connect that reaches its deadline shows that the queue is full.
    for (let i = 0; i < 4; i++) {
      const filler = TcpSocket.open(4);
      fillers.push(filler);
      filler.connect(peer);
      if ((await outcome(filler.connected({ deadlineMs: 50 }))) === "ERR_DEADLINE") break;
    }
    await use(peer);
  } finally {
    for (const filler of fillers) filler.reset();
  }
}

async function outcome(connected: Promise<unknown>): Promise<string> {
  return connected.then(
    () => "connected",
    (error) => error.code ?? error.name,
  );
}

function tally(outcomes: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of outcomes) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe("connected()", () => {
  it("ends the waits of 10,000 sockets in progress at once, each in the right way", {
    timeout: 120_000,
  }, async (context) => {
    needsFiles(context, MANY + 100);
    await withFullListener(async (full) => {
      // The parity that connect(2) does not pick: otherwise one socket in thousands would connect to itself.
      const refused = deadPeer(4, "other");
      const abort = new AbortController();
      const sockets = Array.from({ length: MANY }, () => TcpSocket.open(4, { lingerSeconds: 0 }));
      try {
        const waits = sockets.map((socket, i) => {
          socket.connect(i % 4 === 0 ? refused : full);
          if (i % 4 === 1) return socket.connected({ deadlineMs: 300 });
          if (i % 4 === 2) return socket.connected({ signal: abort.signal });
          return socket.connected();
        });
        const ended = Promise.all(waits.map(outcome));
        await outcome(waits[1]!);
        abort.abort();
        // The last quarter waits until reset() ends its wait.
        for (let i = 3; i < MANY; i += 4) sockets[i]!.reset();
        expect(tally(await ended)).toEqual({
          ECONNREFUSED: MANY / 4,
          ERR_DEADLINE: MANY / 4,
          20: MANY / 4, // DOMException's code of an AbortError.
          ERR_SOCKET_CLOSED: MANY / 4,
        });
      } finally {
        for (const socket of sockets) socket.reset();
      }
    });
  });

  it("resolves for thousands of sockets that connect", { timeout: 60_000 }, async (context) => {
    needsFiles(context, 4200);
    await withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const sockets = Array.from({ length: 2000 }, () => TcpSocket.open(4));
        const waits = sockets.map((socket) => {
          socket.connect(peer);
          return outcome(socket.connected());
        });
        expect(tally(await Promise.all(waits))).toEqual({ connected: 2000 });
        for (const socket of sockets) socket.reset();
      },
    );
  });

  it("yields to the event loop even when every connect ends at once", async () => {
    const peer = deadPeer(4, "other");
    let isDue = false;
    const timer = setTimeout(() => {
      isDue = true;
    }, 10);
    // These attempts take many times the timer's delay: without yielding, the timer would fire after all of them.
    let attempts = 0;
    for (; attempts < 50_000 && !isDue; attempts++) {
      using socket = TcpSocket.open(4);
      socket.connect(peer);
      await outcome(socket.connected());
    }
    clearTimeout(timer);
    expect(attempts).toBeLessThan(50_000);
  });

  it("can be called again after its deadline", async () => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      socket.connect(full);
      await expect(socket.connected({ deadlineMs: 20 })).rejects.toMatchObject({
        name: "DialError",
        code: "ERR_DEADLINE",
        attempts: [{ outcome: "deadline", peer: full }],
      });
      expect(socket.getsockopt("information").state).toBe("SYN-SENT");
      await expect(socket.connected({ deadlineMs: 0 })).rejects.toMatchObject({ code: "ERR_DEADLINE" });
      socket.reset();
    });
  });

  it("rejects with the signal's reason, also when the signal had aborted before", async () => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      socket.connect(full);
      const reason = new Error("enough");
      await expect(socket.connected({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      await expect(socket.connected({ signal: AbortSignal.timeout(10) })).rejects.toMatchObject({
        name: "TimeoutError",
      });
      socket.reset();
    });
  });

  it("is a programmer error before connect(), or with an invalid deadline", async () => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      await expect(socket.connected()).rejects.toMatchObject({ code: "ERR_NOT_CONNECTING" });
      socket.connect(full);
      await expect(socket.connected({ deadlineMs: -1 })).rejects.toMatchObject({
        code: "ERR_INVALID_DEADLINE",
      });
      await expect(socket.connected({ deadlineMs: Number.NaN })).rejects.toMatchObject({
        code: "ERR_INVALID_DEADLINE",
      });
    });
  });

  it("rejects with the same refusal at each call, and for all callers that wait", async () => {
    using socket = TcpSocket.open(4);
    socket.connect(deadPeer(4, "other"));
    const waits = [socket.connected(), socket.connected(), socket.connected({ deadlineMs: 1000 })];
    expect(await Promise.all(waits.map(outcome))).toEqual(["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"]);
    expect(await outcome(socket.connected())).toBe("ECONNREFUSED");
    expect(socket.state).toBe("failed");
    expect(() => socket.getpeername()).toThrow("ENOTCONN");
  });

  it("rejects after a connect() that threw", async () => {
    using socket = TcpSocket.open(4);
    expect(() => socket.connect("255.255.255.255:9")).toThrow(
      expect.objectContaining({ syscall: "connect" }),
    );
    expect(await outcome(socket.connected())).toMatch(/^E[A-Z]+$/);
    expect(socket.state).toBe("failed");
  });

  it("resolves at each call once connected, and for all callers that wait", async () => {
    await withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        using socket = TcpSocket.open(4);
        socket.connect(peer);
        expect(await Promise.all([socket.connected(), socket.connected()].map(outcome))).toEqual([
          "connected",
          "connected",
        ]);
        expect(await outcome(socket.connected())).toBe("connected");
        // Linux returns 0 once more: the result of the connect in progress, which no call had returned yet.
        expect(socket.connect(peer)).toBe("connected");
        expect(() => socket.connect(peer)).toThrow("EISCONN");
        expect(await outcome(socket.connected()), "EISCONN leaves the connection unchanged").toBe(
          "connected",
        );
        socket.reset();
      },
    );
  });

  it.each([
    ["takeError()", (socket: TcpSocket) => socket.takeError()],
    ["recv()", (socket: TcpSocket) => socket.recv(new Uint8Array(1))],
    ["send()", (socket: TcpSocket) => socket.send(new Uint8Array(1))],
    ["shutdown()", (socket: TcpSocket) => socket.shutdown("both")],
  ])("rejects at once after %s has cleared the error, and does not spin", async (_, take) => {
    using socket = TcpSocket.open(4);
    socket.connect(deadPeer(4, "other"));
    try {
      take(socket);
    } catch {
      // Either the refusal or ENOTCONN; this test does not check which.
    }
    const { user, system } = process.cpuUsage();
    expect(await outcome(socket.connected({ deadlineMs: 5000 }))).toMatch(
      /^E(CONNREFUSED|CONNABORTED|INVAL)$/,
    );
    expect(socket.state).toBe("failed");
    const spent = process.cpuUsage();
    expect(spent.user + spent.system - user - system).toBeLessThan(1_000_000);
  });

  it("rejects after other code has read SO_ERROR through the descriptor", async () => {
    // SO_ERROR is 0 then, and the poller reports the hang-up again and again.
    await withNative({ connectProgress: () => 1 }, async () => {
      using socket = TcpSocket.open(4);
      socket.connect(deadPeer(4, "other"));
      expect(await outcome(socket.connected({ deadlineMs: 5000 }))).toBe("ECONNREFUSED");
    });
  });

  it("to one peer is not success to another: EALREADY or EISCONN, which names the first", () =>
    withListener(
      4,
      () => {},
      async (peer) => {
        using socket = TcpSocket.open(4);
        socket.connect(peer);
        const other = deadPeer(4, "other");
        for (let i = 0; i < 3; i++) {
          expect(catchError(() => socket.connect(other))).toMatchObject({
            code: expect.stringMatching(/^(EALREADY|EISCONN)$/),
            peer,
          });
        }
        await socket.connected();
        expect(socket.getpeername()).toEqual(peer);
        expect(catchError(() => socket.connect(other))).toMatchObject({ code: "EISCONN" });
        socket.reset();
      },
    ));

  it("lets a server of the same thread accept: its queue does not overflow", async () => {
    const server = net.createServer((socket) => socket.on("error", () => {}).destroy());
    server.listen({ host: LOOPBACK[4], port: 0, backlog: 16 });
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    try {
      for (let i = 0; i < 500; i++) {
        const socket = TcpSocket.open(4);
        socket.connect({ family: 4, host: LOOPBACK[4], port });
        // Of a full queue the SYN is dropped, and sent again after a second.
        expect(await outcome(socket.connected({ deadlineMs: 900 })), `connect ${i}`).toBe("connected");
        socket.reset();
      }
    } finally {
      server.close();
    }
  });

  it("goes on waiting when connect() is called again meanwhile", async () => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      socket.connect(full);
      const wait = outcome(socket.connected({ deadlineMs: 50 }));
      expect(socket.connect(full), "the result of the first connect").toBe("in-progress");
      const other = deadPeer(4, "other");
      expect(catchError(() => socket.connect(other))).toMatchObject({ code: "EALREADY", peer: full });
      expect(socket.toJSON()).toMatchObject({ state: "connecting" });
      expect(await wait).toBe("ERR_DEADLINE");
      socket.reset();
    });
  });

  it.each([
    "close",
    "reset",
    "release",
  ] as const)("rejects for all callers that wait after %s()", async (how) => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      socket.connect(full);
      const waits = [socket.connected(), socket.connected()].map(outcome);
      const fd = socket[how]();
      if (fd !== undefined) closeSync(fd);
      expect(await Promise.all(waits)).toEqual(["ERR_SOCKET_CLOSED", "ERR_SOCKET_CLOSED"]);
      expect(socket.state).toBe("closed");
    });
  });

  it("applies a deadline and a signal to the caller that passed them, and to no other", async () => {
    await withFullListener(async (full) => {
      using socket = TcpSocket.open(4);
      socket.connect(full);
      const abort = new AbortController();
      const [short, aborted, patient] = [
        outcome(socket.connected({ deadlineMs: 5 })),
        outcome(socket.connected({ signal: abort.signal })),
        outcome(socket.connected()),
      ];
      expect(await short).toBe("ERR_DEADLINE");
      abort.abort(Object.assign(new Error("enough"), { code: "ENOUGH" }));
      expect(await aborted).toBe("ENOUGH");
      expect(socket.state).toBe("connecting");
      socket.reset();
      expect(await patient).toBe("ERR_SOCKET_CLOSED");
    });
  });

  it("open() at the limit of open files throws EMFILE with a fix, and leaks nothing", {
    timeout: 60_000,
  }, () => {
    const soft = Number(/Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))![1]);
    const all: TcpSocket[] = [];
    try {
      for (let i = 0; i <= soft; i++) all.push(TcpSocket.open(4));
      expect.unreachable("the limit was never reached");
    } catch (error) {
      expect(error).toMatchObject({ name: "SocketError", code: "EMFILE", syscall: "socket" });
      expect((error as Error).message).toContain("ulimit -n");
    } finally {
      for (const socket of all) socket.close();
    }
  });
});
