/** TcpSocket and each answer of the kernel, which the test makes up: what is thrown, returned and kept. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { DialError } from "../../lib/socket/errors.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { withAnswers } from "../support/answers.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { LOOPBACK, withNative } from "../support/harness.ts";

const { errno } = os.constants;
const native = loadNative();
const PEER = { family: 4, host: LOOPBACK[4], port: 9 } as const;

function errorOf(use: () => unknown): DialError & { syscall?: string; peer?: unknown; local?: unknown } {
  try {
    use();
  } catch (error) {
    return error as DialError;
  }
  return expect.unreachable("it must throw");
}

describe("open()", () => {
  it.each([5, 0, Number.NaN, undefined])("of family %s is a mistake", (family) => {
    expect(errorOf(() => TcpSocket.open(family as never)).code).toBe("ERR_INVALID_FAMILY");
  });

  it("that the kernel refuses is its answer", () =>
    withNative({ socket: () => -errno.EAFNOSUPPORT }, () => {
      expect(errorOf(() => TcpSocket.open(6))).toMatchObject({ code: "EAFNOSUPPORT", syscall: "socket" });
    }));

  it("sets the options in order, passes over those without a value, and closes where one is refused", () => {
    const set: string[] = [];
    const setsockopt: Native["setsockopt"] = (socket, row, value) => {
      const { name } = native.options[row]!;
      set.push(name);
      return name === "mark" ? -errno.EPERM : native.setsockopt(socket, row, value);
    };
    return withNative({ setsockopt }, () => {
      const before = openDescriptors();
      const options = { noDelay: true, keepAlive: undefined as never, mark: 1, reuseAddress: true };
      expect(errorOf(() => TcpSocket.open(4, options))).toMatchObject({
        code: "EPERM",
        syscall: "setsockopt",
      });
      expect(set).toEqual(["noDelay", "mark"]);
      expect([...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what)).toEqual([]);
    });
  });
});

describe("a call that the kernel refuses", () => {
  it.each([
    ["bind", (socket: TcpSocket) => socket.bind(PEER), { local: PEER }],
    ["listen", (socket: TcpSocket) => socket.listen(), {}],
    ["accept", (socket: TcpSocket) => socket.accept(), {}],
    ["getsockname", (socket: TcpSocket) => socket.getsockname(), {}],
    ["getpeername", (socket: TcpSocket) => socket.getpeername(), {}],
    ["send", (socket: TcpSocket) => socket.send(new Uint8Array(1)), {}],
    ["recv", (socket: TcpSocket) => socket.recv(new Uint8Array(1)), {}],
    ["shutdown", (socket: TcpSocket) => socket.shutdown("both"), {}],
    ["connect", (socket: TcpSocket) => socket.connect(PEER), { peer: PEER }],
    ["setsockopt", (socket: TcpSocket) => socket.setsockopt("noDelay", true), {}],
    ["getsockopt", (socket: TcpSocket) => socket.getsockopt("noDelay"), {}],
  ] as const)("%s names itself", (syscall, call, names) =>
    withAnswers({ [syscall]: () => -errno.EACCES }, (socket) => {
      expect(errorOf(() => call(socket))).toMatchObject({
        name: "SocketError",
        code: "EACCES",
        syscall,
        ...names,
      });
    }));

  it("takeError() is getsockopt(2)", () =>
    withAnswers({ takeError: () => -errno.EBADF }, (socket) => {
      expect(errorOf(() => socket.takeError())).toMatchObject({ code: "EBADF", syscall: "getsockopt" });
    }));

  it.each([
    ["bind", (socket: TcpSocket) => socket.bind(PEER)],
    ["connect", (socket: TcpSocket) => socket.connect(PEER)],
    ["listen", (socket: TcpSocket) => socket.listen()],
    ["accept", (socket: TcpSocket) => socket.accept()],
    ["getsockname", (socket: TcpSocket) => socket.getsockname()],
    ["isSelfConnected", (socket: TcpSocket) => socket.isSelfConnected()],
    ["takeError", (socket: TcpSocket) => socket.takeError()],
    ["shutdown", (socket: TcpSocket) => socket.shutdown("both")],
    ["release", (socket: TcpSocket) => socket.release()],
    ["toStream", (socket: TcpSocket) => socket.toStream()],
  ] as const)("%s of a closed socket is a mistake", (_name, call) => {
    const socket = TcpSocket.open(4);
    socket.close();
    expect(socket.fd).toBe(-1);
    expect(errorOf(() => call(socket)).code).toBe("ERR_SOCKET_CLOSED");
  });
});

describe("listen()", () => {
  it("takes a backlog that is a count, and 511 without one", () => {
    const backlogs: number[] = [];
    return withAnswers({ listen: (_socket, backlog) => backlogs.push(backlog) }, (socket) => {
      socket
        .listen()
        .listen(0)
        .listen(2 ** 31 - 1);
      expect(backlogs).toEqual([511, 0, 2 ** 31 - 1]);
      expect(socket.state).toBe("listening");
      for (const backlog of [-1, 1.5, 2 ** 31, Number.NaN])
        expect(errorOf(() => socket.listen(backlog)).code).toBe("ERR_INVALID_BACKLOG");
    });
  });
});

describe("close() and reset()", () => {
  it.each(["close", "reset"] as const)("%s is one call of the kernel's, however often it is asked", (how) => {
    const calls: string[] = [];
    const recorded = {
      close: (handle: never) => calls.push("close") && native.close(handle),
      reset: (handle: never) => calls.push("reset") && native.reset(handle),
    };
    return withNative(recorded as Partial<Native>, () => {
      const socket = TcpSocket.open(4);
      socket[how]();
      socket[how]();
      socket.reset();
      socket[Symbol.dispose]();
      expect(calls).toEqual([how]);
    });
  });
});

describe("an option", () => {
  it.each(["ENOPROTOOPT", "ENOTSUP"] as const)("that is answered %s is not supported", (code) =>
    withAnswers({ setsockopt: () => -errno[code], getsockopt: () => -errno[code] }, (socket) => {
      expect(errorOf(() => socket.setsockopt("noDelay", true)).code).toBe("ERR_OPTION_UNSUPPORTED");
      expect(errorOf(() => socket.getsockopt("noDelay")).code).toBe("ERR_OPTION_UNSUPPORTED");
    }));

  it("that the build does not know is not supported, whatever the answer", () => {
    const options = native.options.map((row) => ({ ...row, inBuild: false }));
    return withAnswers({ options, setsockopt: () => -errno.EINVAL }, (socket) => {
      expect(errorOf(() => socket.setsockopt("noDelay", true)).code).toBe("ERR_OPTION_UNSUPPORTED");
    });
  });

  it("that needs a capability names it, for EPERM", () => {
    const { capability } = native.options.find(({ name }) => name === "mark")!;
    expect(capability).not.toBe("");
    return withAnswers({ setsockopt: () => -errno.EPERM }, (socket) => {
      expect(errorOf(() => socket.setsockopt("mark", 1)).message).toContain(capability);
      expect(errorOf(() => socket.setsockopt("noDelay", true)).message).not.toContain(capability);
    });
  });
});

describe("connect()", () => {
  it.each([
    ["EALREADY", 1],
    ["EISCONN", -errno.EISCONN],
  ])("%s is about the connect before, and leaves it", (code, second) => {
    const answers = [1, second];
    return withAnswers({ connect: () => answers.shift()! }, (socket) => {
      expect(socket.connect(PEER)).toBe("in-progress");
      expect(errorOf(() => socket.connect({ ...PEER, port: 10 }))).toMatchObject({ code, peer: PEER });
      expect(socket.state).toBe("connecting");
    });
  });

  it("a refusal ends the connect before, and its peer is known", () => {
    const answers = [1, -errno.ECONNREFUSED, 0];
    return withAnswers({ connect: () => answers.shift()!, getpeername: () => 0 }, (socket) => {
      socket.connect(PEER);
      expect(errorOf(() => socket.connect({ ...PEER, port: 10 }))).toMatchObject({ peer: PEER });
      expect(socket.state).toBe("failed");
      expect(socket.connect(PEER)).toBe("connected");
      expect(socket.state).toBe("connected");
    });
  });

  it("after a failure ECONNABORTED is the end of the old connect, and asked past once", () => {
    const answers = [-errno.ENETUNREACH, -errno.ECONNABORTED, 1];
    return withAnswers({ connect: () => answers.shift()! }, (socket) => {
      expect(errorOf(() => socket.connect(PEER)).code).toBe("ENETUNREACH");
      expect(socket.connect(PEER)).toBe("in-progress");
      expect(answers).toEqual([]);
    });
  });

  it.each([
    ["ECONNABORTED of the connect in progress", [1, -errno.ECONNABORTED, 1]],
    ["another errno", [-errno.ENETUNREACH, -errno.ETIMEDOUT, 1]],
  ])("does not ask past %s", (_name, given) => {
    const answers = [...given];
    return withAnswers({ connect: () => answers.shift()! }, (socket) => {
      if (answers[0] === 1) socket.connect(PEER);
      while (answers.length > 1) expect(() => socket.connect(PEER)).toThrow();
      expect(socket.state).toBe("failed");
      expect(answers).toEqual([1]);
    });
  });
});

describe("the results of a connect in progress", () => {
  /** In progress with a kernel that gives these answers. */
  const whileConnecting = <T>(calls: Partial<Native>, use: (socket: TcpSocket) => Promise<T> | T) =>
    withAnswers({ connect: () => 1, ...calls }, (socket) => {
      socket.connect(PEER);
      return use(socket);
    });

  it("by takeError(): it has failed, with its peer; null is no answer", () => {
    const answers = [0, errno.ETIMEDOUT];
    return whileConnecting({ takeError: () => answers.shift()! }, async (socket) => {
      expect(socket.takeError()).toBe(null);
      expect(socket.state).toBe("connecting");
      const error = socket.takeError()!;
      expect(error).toMatchObject({ code: "ETIMEDOUT", syscall: "connect", peer: PEER });
      await expect(socket.connected()).rejects.toBe(error);
    });
  });

  it.each(["send", "recv"] as const)("by %s(): ENOTCONN and EAGAIN are no answer, others are", (call) => {
    const answers = [-errno.EAGAIN, -errno.ENOTCONN, -errno.ECONNRESET];
    return whileConnecting({ [call]: () => answers.shift()! }, async (socket) => {
      expect(socket[call](new Uint8Array(1))).toBe(call === "send" ? 0 : null);
      expect(errorOf(() => socket[call](new Uint8Array(1))).code).toBe("ENOTCONN");
      expect(socket.state).toBe("connecting");
      expect(errorOf(() => socket[call](new Uint8Array(1)))).toMatchObject({
        code: "ECONNRESET",
        syscall: call,
        peer: PEER,
      });
      expect(socket.state).toBe("failed");
      await expect(socket.connected()).rejects.toMatchObject({ code: "ECONNRESET", syscall: "connect" });
    });
  });

  it("by the poller, while there is neither error nor peer: connect(2) has the last word", async () => {
    for (const [answer, code] of [
      [0, null],
      [-errno.EISCONN, null],
      [-errno.ECONNREFUSED, "ECONNREFUSED"],
    ] as const) {
      const answers = [1, 1, 1, answer];
      let wake = (_count: number) => {};
      let tokens: Float64Array = new Float64Array(0);
      const watched: number[] = [];
      const calls: Partial<Native> = {
        connect: () => answers.shift()!,
        connectProgress: () => 1,
        getpeername: () => (answers.length > 0 ? -errno.ENOTCONN : 0),
        reactorStart: (ready, into) => {
          wake = ready;
          tokens = into;
          return 0;
        },
        watch: (_socket, token) => watched.push(token),
        unwatch: () => 0,
      };
      await withAnswers(calls, async (socket) => {
        socket.connect(PEER);
        const wait = socket.connected().then(
          () => null,
          (error) => error.code,
        );
        for (let i = 0; i < 3; i++) {
          expect(socket.state).toBe("connecting");
          tokens[0] = watched.at(-1)!;
          wake(1);
        }
        expect(await wait).toBe(code);
        expect(watched, "one watch, which goes on until the connect has ended").toHaveLength(1);
      });
    }
  });

  it("without a watch: the errno, for this caller", () =>
    whileConnecting({ watch: () => -errno.EBADF }, async (socket) => {
      await expect(socket.connected()).rejects.toMatchObject({ code: "EBADF" });
    }));
});

describe("isSelfConnected()", () => {
  it.each([
    ["has been proven apart by connected(): the kernel is not asked again", 2, false, 0],
    ["is connected only: the kernel decides", 0, true, 1],
  ] as const)("of a socket that %s", (_name, progress, isJoined, asked) => {
    let count = 0;
    const calls = { connect: () => 1, connectProgress: () => progress, isJoined: () => ++count };
    return withAnswers(calls, async (socket) => {
      socket.connect(PEER);
      await socket.connected();
      expect(socket.isSelfConnected()).toBe(isJoined);
      expect(count).toBe(asked);
    });
  });
});

describe("isSelfConnected(), where the kernel does not say", () => {
  it("is false while there is no peer", () =>
    withAnswers({ isJoined: () => -errno.ENOTCONN }, (socket) => {
      expect(socket.isSelfConnected()).toBe(false);
    }));

  it.each([
    ["of a connected socket", "ENOTCONN", 0],
    ["of any socket", "EPERM", 1],
  ] as const)("throws %s: %s", (_name, code, connect) =>
    withAnswers(
      { connect: () => connect, getpeername: () => 0, isJoined: () => -errno[code] },
      async (socket) => {
        socket.connect(PEER);
        expect(errorOf(() => socket.isSelfConnected())).toMatchObject({ code, syscall: "getpeername" });
      },
    ));
});

describe("an error that takeError() returns", () => {
  it("of a socket that is not connecting names no connect", () =>
    withAnswers({ takeError: () => errno.ECONNRESET }, (socket) => {
      const error = socket.takeError()!;
      expect(error).toMatchObject({ code: "ECONNRESET", syscall: "getsockopt" });
      expect(error).not.toHaveProperty("local.port", 0);
      expect(socket.state).toBe("unconnected");
    }));
});

describe("connected()", () => {
  it("a deadline is a time from 0 to the longest timer", () =>
    withAnswers({ connect: () => 0, getpeername: () => 0 }, async (socket) => {
      socket.connect(PEER);
      for (const deadlineMs of [0, 2 ** 31 - 1]) await socket.connected({ deadlineMs });
      for (const deadlineMs of [-1, 2 ** 31, Number.NaN])
        await expect(socket.connected({ deadlineMs })).rejects.toMatchObject({
          code: "ERR_INVALID_DEADLINE",
        });
    }));

  it("closed in the same turn is ERR_SOCKET_CLOSED, although it had connected", () =>
    withAnswers({ connect: () => 0, getpeername: () => 0 }, async (socket) => {
      socket.connect(PEER);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const wait = socket.connected();
      socket.close();
      await expect(wait).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
      await expect(socket.connected()).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    }));

  it("of a socket that listens is a mistake", () =>
    withAnswers({}, async (socket) => {
      socket.bind("127.0.0.1:0").listen();
      await expect(socket.connected()).rejects.toMatchObject({ code: "ERR_NOT_CONNECTING" });
    }));
});

describe("meet()", () => {
  const local = { family: 4, host: LOOPBACK[4], port: 0 } as const;

  it("gives each its own answer", () => {
    const meet: Native["meet"] = (_one, _peer, _other, _peerOfOther, answers) => {
      answers.set([0, 1]);
      return 0;
    };
    return withNative({ meet, getpeername: () => 0 }, () => {
      using one = TcpSocket.open(4).bind(local);
      using other = TcpSocket.open(4).bind(local);
      TcpSocket.meet(one, other);
      expect([one.state, other.state]).toEqual(["connected", "connecting"]);
      expect(other.toJSON().local).toEqual(other.getsockname());
    });
  });

  it("without a thread is EAGAIN", () =>
    withNative({ meet: () => -errno.EAGAIN }, () => {
      using one = TcpSocket.open(4).bind(local);
      using other = TcpSocket.open(4).bind(local);
      expect(errorOf(() => TcpSocket.meet(one, other))).toMatchObject({ code: "EAGAIN", syscall: "clone" });
    }));
});
