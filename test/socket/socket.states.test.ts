/** The state of a socket after each pair of calls; docs/socket-states.md is made from it. */
import { closeSync } from "node:fs";
import type net from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, needsFiles, withListener } from "../support/harness.ts";

interface Peers {
  readonly listener: Address;
  /** Resets each connection that sends it something. */
  readonly reset: Address;
  readonly dead: Address;
}

type Call = (socket: TcpSocket, peers: Peers) => unknown;

/** Each brings a new socket into the state that is tested; one that returns a socket has given it to that one. */
const BEGINNINGS: Readonly<Record<string, Call>> = {
  "open()": () => {},
  "bind()": (socket, { dead }) => socket.bind({ ...dead, port: 0 }),
  "listen()": (socket, { dead }) => socket.bind({ ...dead, port: 0 }).listen(),
  "connect(), not awaited": (socket, { dead }) => socket.connect(dead),
  "connected(), well": connect,
  "connected(), refused": async (socket, { dead }) => {
    socket.connect(dead);
    await socket.connected().catch(() => {});
  },
  "connect(), refused, and takeError()": async (socket, { dead }) => {
    socket.connect(dead);
    while (socket.takeError() === null) await nextTurn();
  },
  "connect(), thrown": (socket) =>
    socket.connect(socket.getsockname().family === 4 ? "255.255.255.255:9" : "[ff02::1]:9"),
  'shutdown("both")': async (socket, peers) => {
    await connect(socket, peers);
    socket.shutdown("both");
  },
  "the peer's reset": awaitReset,
  "the peer's reset, and recv()": async (socket, peers) => {
    await awaitReset(socket, peers);
    expect(() => socket.recv(new Uint8Array(1))).toThrow("ECONNRESET");
  },
  "fromFd()": async (socket, peers) => {
    await connect(socket, peers);
    return TcpSocket.fromFd(socket.release());
  },
  "close()": (socket) => socket.close(),
};

async function connect(socket: TcpSocket, { listener }: Peers): Promise<void> {
  await connectTo(socket, listener);
}

async function connectTo(socket: TcpSocket, peer: Address): Promise<void> {
  socket.connect(peer);
  await socket.connected();
}

async function awaitReset(socket: TcpSocket, { reset }: Peers): Promise<void> {
  await connectTo(socket, reset);
  socket.send(new Uint8Array(1));
  await socket.readable();
}

/** Long enough for what happens on loopback, and short for what does not happen. */
const WAIT = { deadlineMs: 20 };
const BYTE = [new Uint8Array(1)];

const CALLS: Readonly<Record<string, Call>> = {
  "bind()": (socket, { listener }) => socket.bind({ ...listener, port: 0 }),
  "connect(listener)": (socket, { listener }) => socket.connect(listener),
  "connect(dead port)": (socket, { dead }) => socket.connect(dead),
  "connected()": (socket) => socket.connected({ deadlineMs: 1000 }),
  "listen()": (socket) => socket.listen(),
  "accept()": (socket) => socket.accept()?.close(),
  "accepted()": (socket) => socket.accepted(WAIT),
  "takeError()": (socket) => socket.takeError(),
  "send()": (socket) => socket.send(BYTE[0]!),
  "writev()": (socket) => socket.writev(BYTE),
  "sendmsg()": (socket) => socket.sendmsg(BYTE),
  "sendAll()": (socket) => socket.sendAll(BYTE[0]!, WAIT),
  "writable()": (socket) => socket.writable(WAIT),
  "recv()": (socket) => socket.recv(new Uint8Array(1)),
  "recvmsg()": (socket) => socket.recvmsg(new Uint8Array(1)),
  "receiveExactly()": (socket) => socket.receiveExactly(1, WAIT),
  "readable()": (socket) => socket.readable(WAIT),
  "isSelfConnected()": (socket) => expect(socket.isSelfConnected()).toBe(false),
  "getpeername()": (socket) => socket.getpeername(),
  'shutdown("both")': (socket) => socket.shutdown("both"),
  "toStream()": (socket) => destroy(socket.toStream()),
  "toServer()": (socket) => socket.toServer().close(),
  "transfer()": (socket) => TcpSocket.fromTransfer(socket.transfer()).close(),
  "release()": (socket) => closeSync(socket.release()),
  "close()": (socket) => socket.close(),
  "reset()": (socket) => socket.reset(),
};

function destroy(stream: net.Socket): void {
  stream.on("error", () => {}).destroy();
}

/** "failed, ECONNREFUSED": the state after the call, and the code that it threw or rejected with. */
async function observe(family: 4 | 6, beginning: Call, call: Call, peers: Peers): Promise<string> {
  using opened = TcpSocket.open(family, { lingerSeconds: 0 });
  const given = await Promise.resolve()
    .then(() => beginning(opened, peers))
    .catch((error) => {
      if (!(error instanceof SocketError)) throw error;
    });
  using socket = given instanceof TcpSocket ? given : opened;
  try {
    await call(socket, peers);
    return socket.state;
  } catch (error) {
    return `${socket.state}, ${(error as { code: string }).code}`;
  }
}

/** Serves with a listener whose connections stay open, and one that resets each. */
async function withPeers<T>(family: 4 | 6, use: (peers: Peers) => Promise<T>): Promise<T> {
  const keepOpen = (socket: net.Socket) => socket.resume();
  const reset = (socket: net.Socket) => socket.once("data", () => socket.resetAndDestroy());
  return withListener(family, keepOpen, (listener) =>
    // Of the parity that connect(2) does not pick: no attempt is joined to itself.
    withListener(family, reset, (resetting) =>
      use({ listener, reset: resetting, dead: deadPeer(family, "other") }),
    ),
  );
}

async function observeAll(family: 4 | 6): Promise<string[][]> {
  return withPeers(family, (peers) =>
    Promise.all(
      Object.entries(CALLS).map(async ([name, call]) => {
        const cells = Object.values(BEGINNINGS).map((beginning) => observe(family, beginning, call, peers));
        return [`\`${name}\``, ...(await Promise.all(cells))];
      }),
    ),
  );
}

describe("the state after each pair of calls", () => {
  it("is what docs/socket-states.md says (npx vitest run --update makes it anew), over IPv4 and IPv6", async (context) => {
    needsFiles(context, 2000);
    const [four, six] = [await observeAll(4), await observeAll(6)];
    expect(six).toEqual(four);
    const head = [
      "then",
      ...Object.keys(BEGINNINGS).map((name) => `after ${name.includes("peer") ? name : `\`${name}\``}`),
    ];
    const table = [head, head.map(() => "---"), ...four]
      .map((cells) => `| ${cells.join(" | ")} |`)
      .join("\n");
    const page = `# The state of a TcpSocket

\`socket.state\` is one of \`unconnected\`, \`listening\`, \`connecting\`, \`connected\`, \`failed\`, \`closed\`. It is what the calls on this
object have returned: a connect in progress ends in \`connected()\` (or in \`takeError()\`, \`send()\` or \`recv()\`, where the kernel reports its
error), not by itself. A deadline or an abort of \`connected()\` leaves the state as it was: the connect goes on, and may be waited
for again. A socket whose connect failed may \`connect()\` again.

A connection that the peer has reset is \`connected\` until a call returns that error; \`connected()\`, \`getpeername()\` and
\`toStream()\` ask for it. From then on it is \`failed\`: every call that waits or receives throws the same errno (the rest of what
the peer sent before can still be received). Linux lets a socket that connected by itself \`connect()\` again, and refuses with
EISCONN one that was accepted, or on which \`connect()\` was called once more while it was connected. The end of the stream is
no failure: the state stays \`connected\`, and \`recv()\` returns 0.

\`transfer()\` takes the state to the other thread, with the error of a socket that failed.

Each cell is the state after what the column says on a new socket and then the call of the row, and the code of the error that
this call threw; a call that waits had ${WAIT.deadlineMs} ms. Made by a test on Linux; other kernels may refuse a second \`connect()\` after a
failure.

${table}
`;
    await expect(page).toMatchFileSnapshot("../../docs/socket-states.md");
  });

  it.each(FAMILIES)("shutdown() of a connect in progress ends it at once, over IPv%i", async (family) => {
    using listener = TcpSocket.open(family)
      .bind({ ...deadPeer(family), port: 0 })
      .listen(0);
    const clients = Array.from({ length: 4 }, () => TcpSocket.open(family, { lingerSeconds: 0 }));
    for (const client of clients) client.connect(listener.getsockname());
    const last = clients.at(-1)!;
    const wait = last.connected();
    expect(last.shutdown("both").state).toBe("failed");
    await expect(wait).rejects.toMatchObject({ code: "ECONNRESET" });
    for (const client of clients) client.close();
  });

  it.each(FAMILIES)("a deadline and an abort leave it, over IPv%i", async (family) => {
    using listener = TcpSocket.open(family)
      .bind({ ...deadPeer(family), port: 0 })
      .listen(0);
    const clients = Array.from({ length: 4 }, () => TcpSocket.open(family, { lingerSeconds: 0 }));
    for (const client of clients) client.connect(listener.getsockname());
    const last = clients.at(-1)!;
    await expect(last.connected({ deadlineMs: 20 })).rejects.toMatchObject({ code: "ERR_DEADLINE" });
    expect(last.state).toBe("connecting");
    await expect(last.connected({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(last.state).toBe("connecting");
    for (const client of clients) client.close();
  });

  it.each(
    FAMILIES,
  )("each of two receivers gets the reset of the peer, and so does who asks later, over IPv%i", async (family) => {
    const [one, other] = await TcpSocket.pair(family);
    const waits = [one.receiveExactly(2), one.receiveExactly(2)];
    other.send(new Uint8Array(1));
    other.reset();
    const [first, second] = await Promise.allSettled(waits);
    expect(first).toMatchObject({ reason: { code: "ECONNRESET", syscall: "recv", transferred: 1 } });
    expect(second).toMatchObject({ reason: { code: "ECONNRESET", syscall: "recv", transferred: 0 } });
    expect(one.state).toBe("failed");
    await expect(one.connected()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(() => one.toStream()).toThrow(/this one is failed/);
    one.close();
  });

  it.each(FAMILIES)("what the peer sent before its reset is received first, over IPv%i", async (family) => {
    const [one, other] = await TcpSocket.pair(family);
    await other.sendAll(Uint8Array.of(1, 2, 3));
    await one.readable();
    other.reset();
    await expect(one.connected()).rejects.toMatchObject({ code: "ECONNRESET" });
    const bytes = new Uint8Array(5);
    expect(one.recv(bytes)).toBe(3);
    expect(() => one.recv(bytes)).toThrow(/recv ECONNRESET/);
    one.close();
  });

  it.each(
    FAMILIES,
  )("an accepted socket that was reset does not connect again, over IPv%i", async (family) => {
    const [one, other] = await TcpSocket.pair(family);
    one.reset();
    await other.readable();
    expect(other.takeError()).toMatchObject({ code: "ECONNRESET", syscall: "getsockopt" });
    expect(other.state).toBe("failed");
    expect(() => other.connect(deadPeer(family, "other"))).toThrow(/EISCONN/);
    expect(other.state).toBe("failed");
    other.close();
  });

  it.each(FAMILIES)("EPIPE after shutdown() leaves it connected, over IPv%i", async (family) => {
    const [one, other] = await TcpSocket.pair(family);
    one.shutdown("write");
    other.close();
    await one.readable();
    expect(() => one.send(new Uint8Array(1))).toThrow(/EPIPE/);
    expect([one.state, one.recv(new Uint8Array(1))]).toEqual(["connected", 0]);
    one.close();
  });

  it.each(FAMILIES)("transfer() takes each state and its error along, over IPv%i", async (family) => {
    const ends = async (socket: TcpSocket) => {
      const before = socket.state;
      const error = await socket.connected({ deadlineMs: 1000 }).then(
        () => null,
        ({ code, errno, syscall, peer, message }) => ({ code, errno, syscall, peer, message }),
      );
      return [before, error, socket.state];
    };
    const move = (socket: TcpSocket) => TcpSocket.fromTransfer(structuredClone(socket.transfer()));
    const withoutPort = (end: unknown) => JSON.stringify(end).replace(/ - Local \S+/g, "");
    await withPeers(family, async (peers) => {
      for (const [name, beginning] of Object.entries(BEGINNINGS)) {
        const [moved, stayed] = await Promise.all(
          [move, (socket: TcpSocket) => socket].map(async (pass) => {
            using opened = TcpSocket.open(family, { lingerSeconds: 0 });
            const given = await Promise.resolve()
              .then(() => beginning(opened, peers))
              .catch(() => {});
            if (opened.closed && !given) return "closed";
            using socket = pass(given instanceof TcpSocket ? given : opened);
            return withoutPort(await ends(socket));
          }),
        );
        expect(moved, name).toEqual(stayed);
      }
    });
  });

  const HANDED_ON: readonly [string, (socket: TcpSocket, peer: Address) => TcpSocket][] = [
    ["transfer()", (socket) => TcpSocket.fromTransfer(socket.transfer())],
    ["fromFd() with the peer", (socket, peer) => TcpSocket.fromFd(socket.release(), peer)],
  ];
  it.each(HANDED_ON)("a refusal that nobody has seen goes with %s", async (_, handOn) => {
    const dead = deadPeer(4, "other");
    const socket = TcpSocket.open(4);
    socket.connect(dead);
    while (socket.getsockopt("information").state !== "CLOSED") await nextTurn();
    using taken = handOn(socket, dead);
    expect(taken.state).toBe("connecting");
    await expect(taken.connected()).rejects.toMatchObject({ code: "ECONNREFUSED", peer: dead });
    expect(taken.state).toBe("failed");
  });

  it("a socket that failed connects again after transfer()", async () => {
    const socket = TcpSocket.open(4);
    socket.connect(deadPeer(4, "other"));
    await expect(socket.connected()).rejects.toThrow("ECONNREFUSED");
    using taken = TcpSocket.fromTransfer(socket.transfer());
    using listener = TcpSocket.open(4).bind("127.0.0.1").listen();
    taken.connect(listener.getsockname());
    expect((await taken.connected()).state).toBe("connected");
  });
});
