/** One handle under guard: with a libuv that the test makes up, and with the kernel itself through every door. */
import { closeSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import undici from "undici";
import { describe, expect, it } from "vitest";
import { dial } from "../../lib/guard/dial.ts";
import type { GuardOptions } from "../../lib/guard/guard.ts";
import type { HandleOwner } from "../../lib/guard/handle.ts";
import { guardHandle } from "../../lib/guard/handle.ts";
import { guardAgent } from "../../lib/guard/http.ts";
import { connect } from "../../lib/guard/net.ts";
import { guardStream, streamFactory } from "../../lib/guard/streams.ts";
import { connectTls } from "../../lib/guard/tls.ts";
import { undiciConnect } from "../../lib/guard/undici.ts";
import { portFacts } from "../../lib/kernel/index.ts";
import type { Attempt } from "../../lib/socket/errors.ts";
import { findFreePort } from "../../lib/socket/free-port.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { deadPeer, FAMILIES, LOOPBACK, requires, withNative } from "../support/harness.ts";

const { EADDRNOTAVAIL, ECONNREFUSED, EBADF, EMFILE, EPERM } = os.constants.errno;

interface Name {
  address?: string;
  port?: number;
}

/** A libuv that the test makes up: it records its calls, and returns from connect what the test sets. */
class FakeTcp {
  fd = -1;
  readonly calls: string[] = [];
  readonly answers: number[] = [];
  openAnswer = 0;
  local: Name | null = null;
  peer: Name | null = null;
  request: { oncomplete: (...values: unknown[]) => void } | null = null;
  resetDone: (() => void) | null = null;

  open(fd: number): number {
    this.calls.push("open");
    if (this.openAnswer === 0) this.fd = fd;
    return this.openAnswer;
  }
  bind(host: string, port: number | undefined): number {
    this.calls.push(`bind ${host} ${port}`);
    return 0;
  }
  bind6(host: string, port: number | undefined): number {
    this.calls.push(`bind6 ${host} ${port}`);
    return 0;
  }
  connect(request: FakeTcp["request"], host: string, port: number): number {
    this.calls.push(`connect ${host} ${port}`);
    this.request = request;
    return this.answers.shift() ?? 0;
  }
  connect6(request: FakeTcp["request"], host: string, port: number): number {
    this.calls.push(`connect6 ${host} ${port}`);
    this.request = request;
    return this.answers.shift() ?? 0;
  }
  getsockname(into: Name): number {
    this.calls.push("getsockname");
    if (!this.local) return -EBADF;
    Object.assign(into, this.local);
    return 0;
  }
  getpeername(into: Name): number {
    if (!this.peer) return -EBADF;
    Object.assign(into, this.peer);
    return 0;
  }
  shutdown(): number {
    this.calls.push("shutdown");
    return 0;
  }
  close(done?: () => void): void {
    this.calls.push("close");
    done?.();
  }
  reset(done: () => void): number {
    this.calls.push("reset");
    this.resetDone = done;
    return 0;
  }
  [Symbol.dispose](): void {
    if (this.fd >= 0) closeSync(this.fd);
  }
}

/** The stream's side, which records what the handle reports. */
class Owner implements HandleOwner {
  readonly reports: unknown[][] = [];
  readonly options: GuardOptions;
  constructor(options: GuardOptions) {
    this.options = options;
  }
  reportConnect(attempt: Attempt | null): void {
    this.reports.push(["connected", attempt]);
  }
  reportAttempt(attempt: Attempt): void {
    this.reports.push(["attempted", attempt]);
  }
  reportRejection(attempt: Attempt, wasConnected: boolean): void {
    this.reports.push(["rejected", attempt, wasConnected]);
  }
  reportFailure(error: unknown): void {
    this.reports.push(["failed", error]);
  }
}

function guardFake(options: GuardOptions): { tcp: FakeTcp; owner: Owner } {
  const tcp = new FakeTcp();
  const owner = new Owner(options);
  guardHandle(tcp, owner);
  return { tcp, owner };
}

/** Node's own end of a connect: the values that it was completed with. */
function newRequest() {
  const completed: unknown[][] = [];
  return { completed, oncomplete: (...values: unknown[]) => void completed.push(values) };
}

/** Whether a descriptor has IP_BIND_ADDRESS_NO_PORT, by what native code was asked to set. */
async function withRecordedOptions<T>(use: (set: string[]) => Promise<T> | T): Promise<T> {
  const native = loadNative();
  const set: string[] = [];
  const setsockopt: typeof native.setsockopt = (socket, row, value) => {
    set.push(`${native.options[row]!.name} ${value[0]}`);
    return native.setsockopt(socket, row, value);
  };
  return withNative({ setsockopt }, () => use(set));
}

describe.each([
  ["bind", 4],
  ["bind6", 6],
] as const)("%s of a guarded handle", (bind, family) => {
  const host = LOOPBACK[family];

  it.for([undefined, 0])("is late where the port is %s, and only with prevention", (port, context) => {
    requires(context, "4.2", "bindAddressNoPort");
    return withRecordedOptions((set) => {
      using late = guardFake({ guard: "prevent" }).tcp;
      expect(late[bind](host, port)).toBe(0);
      expect(late.calls).toEqual(["open", `${bind} ${host} ${port}`]);
      expect(set).toEqual(["bindAddressNoPort 1"]);
      for (const guard of ["detect", "off"] as const) {
        using plain = guardFake({ guard }).tcp;
        plain[bind](host, port);
        expect(plain.calls).toEqual([`${bind} ${host} ${port}`]);
      }
    });
  });

  it("is not late with a port of the caller's, and sets the caller's options before", () =>
    withRecordedOptions((set) => {
      using plain = guardFake({ guard: "prevent" }).tcp;
      plain[bind](host, 4711);
      expect(plain.calls).toEqual([`${bind} ${host} 4711`]);
      using asked = guardFake({ guard: "prevent", options: { noDelay: true } }).tcp;
      asked[bind](host, 4711);
      expect(asked.calls).toEqual(["open", `${bind} ${host} 4711`]);
      expect(set).toEqual(["noDelay 1"]);
    }));

  it("opens a socket of its own family", () => {
    const families: number[] = [];
    const native = loadNative();
    const socket: typeof native.socket = (handle, each) => {
      families.push(each);
      return native.socket(handle, each, 0);
    };
    return withNative({ socket }, () => {
      using tcp = guardFake({ guard: "prevent" }).tcp;
      tcp[bind](host, 0);
      // The first may be that of the question whether this kernel can bind late at all.
      expect(families.at(-1)).toBe(family);
    });
  });

  it("that cannot have its options is a failure of the stream, and no bind", () =>
    withNative({ setsockopt: () => -EPERM }, () => {
      const { tcp, owner } = guardFake({ guard: "detect", options: { noDelay: true } });
      expect(tcp[bind](host, 0)).toBe(-ECONNREFUSED);
      expect(tcp.calls).toEqual([]);
      expect(owner.reports).toMatchObject([["failed", { code: "EPERM", syscall: "setsockopt" }]]);
    }));
});

describe.each([
  ["connect", 4],
  ["connect6", 6],
] as const)("%s of a guarded handle", (name, family) => {
  const host = LOOPBACK[family];
  /** A libuv that the kernel has left no port in the first range, in the second either, or in neither. */
  const exhausted = (answers: number[], options: GuardOptions = { guard: "prevent" }) => {
    const made = guardFake(options);
    made.tcp.answers.push(...answers);
    return made;
  };

  it("after EADDRNOTAVAIL goes on in the next range, the last without the peer's port only", async (context) => {
    requires(context, "6.3", "localPortRange");
    const { port } = deadPeer(family);
    const { low, high } = portFacts().ephemeralRange!;
    const native = loadNative();
    const ranges: string[] = [];
    const recorded = {
      socketInRange: (...[family, low, high]: Parameters<typeof native.socketInRange>) => {
        ranges.push(`${low}-${high}`);
        return native.socketInRange(family, low, high);
      },
      setLocalPortRange: (...[fd, low, high]: Parameters<typeof native.setLocalPortRange>) => {
        ranges.push(`${low}-${high}`);
        return native.setLocalPortRange(fd, low, high);
      },
    };
    await withNative(recorded, () => {
      const { tcp: second, owner } = exhausted([-EADDRNOTAVAIL, 0]);
      using _second = second;
      expect(second[name](newRequest(), host, port)).toBe(0);
      expect(second.calls.filter((call) => call.startsWith("connect"))).toHaveLength(2);
      expect(owner.reports).toEqual([]);
      for (const [drawn, alike] of ranges.splice(0).map((range) => range.split("-").map(Number))) {
        expect(drawn, "one port each").toBe(alike);
        expect((drawn! - low) % 2, "of the parity that connect(2) picks").toBe(0);
        expect(drawn).not.toBe(port);
      }

      const { tcp: none, owner: ofNone } = exhausted(Array(20).fill(-EADDRNOTAVAIL));
      using _none = none;
      expect(none[name](newRequest(), host, port)).toBe(-EADDRNOTAVAIL);
      expect(ofNone.reports).toMatchObject([["attempted", { outcome: "EADDRNOTAVAIL", peer: { port } }]]);
      expect(ranges.slice(-2).sort()).toEqual([`${low}-${port - 1}`, `${port + 1}-${high}`].sort());

      ranges.length = 0;
      const { tcp: other } = exhausted([-EPERM, 0]);
      using _other = other;
      expect(other[name](newRequest(), host, port)).toBe(-EPERM);
      expect(ranges, "no other errno asks for the next range").toHaveLength(1);
    });
  });

  it("without a second range is EADDRNOTAVAIL at once", () => {
    const { port } = deadPeer(family);
    const { tcp } = exhausted([-EADDRNOTAVAIL, 0], { guard: "detect" });
    expect(tcp[name](newRequest(), host, port)).toBe(-EADDRNOTAVAIL);
    expect(tcp.calls).toEqual([`${name} ${host} ${port}`]);
  });

  it.for([
    ["the range", { guard: "prevent" }],
    ["options", { guard: "prevent", options: { noDelay: true } }],
  ] as const)("closes the descriptor with %s that libuv does not take", ([, options], context) => {
    requires(context, "6.3", "localPortRange");
    const { port } = deadPeer(family);
    const { tcp } = guardFake(options);
    tcp.openAnswer = -EBADF;
    const before = openDescriptors();
    tcp[name](newRequest(), host, port);
    expect(tcp.calls).toContain("open");
    expect([...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what)).toEqual([]);
  });

  it("leaves a limit of open files to libuv, whose own socket(2) reports it", () =>
    withNative({ socketInRange: () => -EMFILE }, () => {
      const { port } = deadPeer(family);
      const { tcp, owner } = exhausted([-EMFILE]);
      expect(tcp[name](newRequest(), host, port)).toBe(-EMFILE);
      expect(tcp.calls).toEqual([`${name} ${host} ${port}`]);
      expect(owner.reports).toMatchObject([["attempted", { outcome: "EMFILE" }]]);
    }));

  it("does nothing with the guard off, and only sets options where there are any", () =>
    withRecordedOptions((set) => {
      const { port } = deadPeer(family);
      const request = newRequest();
      const { oncomplete } = request;
      const { tcp } = guardFake({ guard: "off" });
      expect(tcp[name](request, host, port)).toBe(0);
      expect(tcp.calls).toEqual([`${name} ${host} ${port}`]);
      expect(request.oncomplete).toBe(oncomplete);
      using optioned = guardFake({ guard: "off", options: { noDelay: true } }).tcp;
      optioned[name](request, host, port);
      expect(optioned.calls).toEqual(["open", `${name} ${host} ${port}`]);
      expect(set).toEqual(["noDelay 1"]);
      expect(request.oncomplete).toBe(oncomplete);
    }));

  it("opens nothing with detection alone, nor for a port that the kernel never picks", () => {
    const { port } = deadPeer(family);
    const detecting = guardFake({ guard: "detect" }).tcp;
    detecting[name](newRequest(), host, port);
    expect(detecting.calls).toEqual([`${name} ${host} ${port}`]);
    const low = guardFake({ guard: "prevent" }).tcp;
    low[name](newRequest(), host, 1);
    expect(low.calls).toEqual([`${name} ${host} 1`]);
  });

  it("leaves a descriptor alone that somebody else has opened", () => {
    const { port } = deadPeer(family);
    const { tcp } = guardFake({ guard: "prevent" });
    tcp.fd = Number.MAX_SAFE_INTEGER;
    tcp.local = { address: host, port: 0 };
    expect(tcp[name](newRequest(), host, port)).toBe(0);
    expect(tcp.calls).toEqual(["getsockname", `${name} ${host} ${port}`]);
    tcp.fd = -1;
  });

  it("sets the range on a descriptor that a late bind has opened, and its failure is the stream's", async (context) => {
    requires(context, "6.3", "localPortRange");
    const { port } = deadPeer(family);
    const bind = name === "connect" ? "bind" : "bind6";
    const fds: number[] = [];
    const setLocalPortRange = (fd: number) => {
      fds.push(fd);
      return fds.length === 1 ? 0 : -EPERM;
    };
    await withNative({ setLocalPortRange }, () => {
      for (const answer of [0, -ECONNREFUSED]) {
        const { tcp, owner } = guardFake({ guard: "prevent" });
        using _tcp = tcp;
        tcp[bind](host, 0);
        tcp.local = { address: host, port: 0 };
        expect(tcp[name](newRequest(), host, port)).toBe(answer);
        expect(fds.at(-1)).toBe(tcp.fd);
        if (answer !== 0)
          expect(owner.reports).toMatchObject([["failed", { code: "EPERM", syscall: "setsockopt" }]]);
      }
    });
  });

  it("is refused without an attempt where the local port is the peer's own", () => {
    const peer = deadPeer(family);
    const { tcp, owner } = guardFake({ guard: "detect" });
    tcp.fd = Number.MAX_SAFE_INTEGER;
    tcp.local = { address: host, port: peer.port };
    expect(tcp[name](newRequest(), host, peer.port)).toBe(-ECONNREFUSED);
    expect(tcp.calls).toEqual(["getsockname"]);
    const attempt = { outcome: "self-connect", peer, local: peer, elapsedMs: 0 };
    expect(owner.reports).toEqual([["rejected", attempt, false]]);
    // The same port of another address of this host is no self-connect.
    tcp.local = { address: family === 4 ? "127.0.0.9" : "fe80::1", port: peer.port };
    expect(tcp[name](newRequest(), host, peer.port)).toBe(0);
    tcp.fd = -1;
  });

  describe("when it has ended", () => {
    /** A connect that has succeeded, with the names that libuv gives. */
    async function connectAs(local: Name | null, peer: Name | null) {
      const { tcp, owner } = guardFake({ guard: "detect" });
      const request = newRequest();
      const { port } = ADDRESS;
      tcp[name](request, host, port);
      tcp.local = local;
      tcp.peer = peer;
      (request.oncomplete as (...values: unknown[]) => void)(0, tcp, request, true, true);
      return { tcp, owner, completed: request.completed };
    }
    const ADDRESS = deadPeer(family);
    const self = { address: host, port: ADDRESS.port };

    it("joined to itself: resets, and Node learns of a refusal", async () => {
      const { tcp, owner, completed } = await connectAs(self, self);
      expect(completed).toEqual([[-ECONNREFUSED, tcp, expect.anything(), false, false]]);
      expect((owner.reports[0]![1] as Attempt).elapsedMs).toBeLessThan(performance.now());
      expect(owner.reports).toMatchObject([
        ["rejected", { outcome: "self-connect", peer: ADDRESS, local: ADDRESS }, true],
      ]);
      expect(tcp.calls).toContain("reset");
    });

    it("and Node's close waits for the reset", async () => {
      const { tcp } = await connectAs(self, self);
      const order: string[] = [];
      tcp.close();
      tcp.close(() => order.push("closed"));
      order.push("reset");
      tcp.resetDone!();
      expect(order).toEqual(["reset", "closed"]);
      tcp.close(() => order.push("closed again"));
      expect(order, "a callback never comes before close() returns").toHaveLength(2);
      await Promise.resolve();
      expect(order.at(-1)).toBe("closed again");
      expect(tcp.calls).not.toContain("close");
    });

    it("to another: the names differ by the port or by the host", async () => {
      for (const local of [
        { ...self, port: self.port + 1 },
        { ...self, address: family === 4 ? "127.0.0.9" : "fe80::1" },
      ]) {
        const { tcp, owner, completed } = await connectAs(local, self);
        expect(completed).toEqual([[0, tcp, expect.anything(), true, true]]);
        expect(owner.reports).toEqual([["connected", null]]);
        expect(tcp.calls).not.toContain("reset");
      }
    });

    it.each([
      ["no local name", null, self],
      ["no peer", self, null],
      ["a peer without a port", self, { address: host }],
      ["a peer without an address", self, { port: self.port }],
    ])("to somebody unknown (%s): resets, and the error is the kernel's", async (_what, local, peer) => {
      const { tcp, owner, completed } = await connectAs(local, peer);
      expect(completed).toEqual([[-ECONNREFUSED, tcp, expect.anything(), false, false]]);
      expect(tcp.calls).toContain("reset");
      expect(owner.reports).toMatchObject([
        ["attempted", { outcome: "ENOTCONN" }],
        ["failed", { name: "SocketError", code: "ENOTCONN", syscall: "getpeername" }],
      ]);
    });

    it("to somebody unknown, by what native code returns of the descriptor", async () => {
      const { tcp, owner } = guardFake({ guard: "detect" });
      const request = newRequest();
      tcp[name](request, host, ADDRESS.port);
      tcp.fd = Number.MAX_SAFE_INTEGER;
      await withNative({ isJoinedOf: () => -EPERM, setsockoptOf: () => -EPERM }, () => {
        (request.oncomplete as (...values: unknown[]) => void)(0, tcp, request, true, true);
      });
      tcp.fd = -1;
      expect(owner.reports).toMatchObject([
        ["attempted", {}],
        ["failed", { code: "EPERM" }],
      ]);
      expect(tcp.calls, "SO_LINGER is refused too: it is closed").toContain("close");
    });

    it("in an errno: reports the attempt, and leaves the rest to Node", () => {
      const { tcp, owner } = guardFake({ guard: "detect" });
      const request = newRequest();
      tcp[name](request, host, ADDRESS.port);
      (request.oncomplete as (...values: unknown[]) => void)(-ECONNREFUSED, tcp, request, true, false);
      expect(request.completed).toEqual([[-ECONNREFUSED, tcp, request, true, false]]);
      expect(owner.reports).toMatchObject([["attempted", { outcome: "ECONNREFUSED", peer: ADDRESS }]]);
      expect((owner.reports[0]![1] as Attempt).elapsedMs).toBeLessThan(performance.now());
    });
  });
});

describe("a handle that has a descriptor already", () => {
  const { port, host } = deadPeer();
  const withDescriptor = (options: GuardOptions, localPort: number) => {
    const made = guardFake(options);
    made.tcp.fd = Number.MAX_SAFE_INTEGER;
    made.tcp.local = { address: host, port: localPort };
    return made;
  };

  it("is not looked at with the guard off, and may then be joined to itself", () => {
    for (const options of [undefined, { noDelay: true }]) {
      const { tcp, owner } = withDescriptor({ guard: "off", ...(options && { options }) }, port);
      expect(tcp.connect(newRequest(), host, port)).toBe(0);
      expect(tcp.calls).toEqual([...(options ? ["getsockname"] : []), `connect ${host} ${port}`]);
      expect(owner.reports).toEqual([]);
    }
  });

  it("gets no other by a bind", () => {
    const { tcp } = withDescriptor({ guard: "prevent", options: { noDelay: true } }, 0);
    expect(tcp.bind(host, 0)).toBe(0);
    expect(tcp.calls).toEqual([`bind ${host} 0`]);
  });

  it("and a port of its own gets no range", () => {
    const ranges: number[] = [];
    const setLocalPortRange = (fd: number) => ranges.push(fd);
    return withNative({ setLocalPortRange }, () => {
      using tcp = guardFake({ guard: "prevent", options: { noDelay: true } }).tcp;
      tcp.bind(host, port + 1);
      tcp.local = { address: host, port: port + 1 };
      expect(tcp.connect(newRequest(), host, port)).toBe(0);
      expect(ranges).toEqual([]);
    });
  });
});

describe("guardHandle", () => {
  it("takes the TCP handle below a TLS handle, once, and leaves others alone", () => {
    const tcp = new FakeTcp();
    const owner = new Owner({ guard: "detect" });
    guardHandle({ _parent: tcp }, owner);
    guardHandle(tcp, new Owner({ guard: "off" }));
    const { port } = deadPeer();
    tcp.connect(newRequest(), LOOPBACK[4], port);
    (tcp.request!.oncomplete as (...values: unknown[]) => void)(-EPERM);
    expect(owner.reports).toMatchObject([["attempted", { outcome: "EPERM" }]]);
    const pipe = { connect: () => 0 };
    const { connect } = pipe;
    guardHandle(pipe, owner);
    expect(pipe.connect).toBe(connect);
  });
});

/** The local port that each door connects from; or the error. */
type Door = (peer: { host: string; port: number }, options: GuardOptions) => Promise<number>;

function portOf(stream: net.Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    stream.once("connect", () => {
      resolve(stream.localPort!);
      stream.destroy();
    });
    stream.on("error", reject);
  });
}

function portOfAgent(agent: http.Agent, options: GuardOptions, peer: object): Promise<number> {
  const made = guardAgent(agent, options) as unknown as { createConnection(peer: object): net.Socket };
  return portOf(made.createConnection(peer));
}

const DOORS: Record<string, Door> = {
  dial: async ({ host, port }, options) => {
    using socket = (await dial(`${host}:${port}`, { ...options, attempts: 1 })).socket;
    return socket.getsockname().port;
  },
  connect: (peer, options) => portOf(connect({ ...peer, ...options })),
  streamFactory: (peer, options) => portOf(streamFactory(options)().connect(peer.port, peer.host)),
  guardStream: (peer, options) =>
    portOf(guardStream(new net.Socket(), options).connect(peer.port, peer.host)),
  "http.Agent": (peer, options) => portOfAgent(new http.Agent(), options, peer),
  "https.Agent": (peer, options) => portOfAgent(new https.Agent(), options, peer),
  connectTls: (peer, options) => portOf(connectTls({ ...peer, ...options })),
  undiciConnect: ({ host, port }, options) =>
    portOf(
      undiciConnect(
        undici.buildConnector,
        {},
        options,
      )({ hostname: host, port: `${port}`, protocol: "http:" }, () => {}) as unknown as net.Socket,
    ),
};

describe.each(Object.entries(DOORS))("prevention through %s", (_name, door) => {
  /** A listener with a free port on either side. */
  async function withNeighbours(use: (peer: { host: string; port: number }) => Promise<void>): Promise<void> {
    const first = findFreePort(portFacts().ephemeralRange!, { count: 3 });
    const peer = { family: 4, host: LOOPBACK[4], port: first + 1 } as const;
    using _listener = TcpSocket.open(4).bind(peer).listen();
    await use(peer);
  }

  it.for([
    -1, 1,
  ])("takes the other range when the one before has no port left (%i taken)", async (offset, context) => {
    requires(context, "6.3", "localPortRange");
    await withNeighbours(async ({ host, port }) => {
      using _taken = TcpSocket.open(4).bind({ family: 4, host, port: port + offset });
      const options = { localPortRange: { low: port - 1, high: port + 1 } };
      expect(await door({ host, port }, { options })).toBe(port - offset);
    });
  });

  it("ends in EADDRNOTAVAIL when both ranges are full, never on the peer's own port", async (context) => {
    requires(context, "6.3", "localPortRange");
    await withNeighbours(async ({ host, port }) => {
      using _below = TcpSocket.open(4).bind({ family: 4, host, port: port - 1 });
      using _above = TcpSocket.open(4).bind({ family: 4, host, port: port + 1 });
      const options = { localPortRange: { low: port - 1, high: port + 1 } };
      await expect(door({ host, port }, { options })).rejects.toMatchObject({ code: "EADDRNOTAVAIL" });
    });
  });
});

describe.each(FAMILIES)("a source address without a port over IPv%i", (family) => {
  it("is bound late: the port comes from connect(2), which leaves out the peer's", async (context) => {
    requires(context, "6.3", "localPortRange");
    const port = findFreePort(portFacts().ephemeralRange!, { count: 2 });
    const peer = { family, host: LOOPBACK[family], port } as const;
    // bind(2) has no port to take but the peer's own; connect(2) then has none at all.
    using _taken = TcpSocket.open(family).bind({ ...peer, port: port + 1 });
    const options = { localPortRange: { low: port, high: port + 1 } };
    const error = await portOf(connect({ host: peer.host, port, localAddress: peer.host, options })).catch(
      (caught) => caught,
    );
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL" });
  });
});
