// The shortest public ways to each system call of the addon, for the fault matrix. A path prepares what it needs, does
// one thing within `armed`, in which calls fail, and leaves to `own` what must be closed afterwards. What it checks
// inside must hold when a call failed and the path went on all the same.
import assert from "node:assert/strict";
import { once } from "node:events";
import { openSync } from "node:fs";
import net from "node:net";
import { Worker } from "node:worker_threads";
import { audit, explainBind, free } from "../../../dist/audit/index.js";
import {
  connect,
  connectMany,
  createServer,
  dial,
  formatAddress,
  listen,
  punch,
  ReconnectLoop,
  socketOptions,
  TcpSocket,
} from "../../../dist/index.js";
import {
  canSelfConnect,
  exhaustion,
  findFourTuple,
  findSockets,
  isOwnAddress,
  localAddressTowards,
  portFacts,
  sourceAddress,
} from "../../../dist/kernel/index.js";
import { Capture } from "../../../dist/packets/index.js";

const WAIT = { deadlineMs: 300 };
const ANY = "127.0.0.1:0";
const OWN_NAMESPACE = "/proc/self/ns/net";
const BYTES = new TextEncoder().encode("reliable");

/** A listener of this process; its port also stands for a live peer. */
function openListener({ own }) {
  return own(TcpSocket.open(4).bind(ANY).listen(16));
}

async function openPair({ own }) {
  const pair = await TcpSocket.pair(4);
  for (const socket of pair) own(socket);
  return pair;
}

/** An address that only this socket has, at which nothing listens. */
function takePeer({ own }) {
  return own(TcpSocket.open(4).bind(ANY)).getsockname();
}

/** A port that was free a moment ago. */
function deadPeer() {
  const socket = TcpSocket.open(4).bind(ANY);
  const peer = socket.getsockname();
  socket.close();
  return peer;
}

/** A socket that is joined to itself. */
async function openJoined({ own }) {
  const socket = own(TcpSocket.open(4).bind(ANY));
  socket.connect(socket.getsockname());
  await socket.connected(WAIT);
  return socket;
}

async function openStream({ own }) {
  const server = own(net.createServer((stream) => own(stream.on("error", () => {}))).listen(0, "127.0.0.1"));
  await once(server, "listening");
  const stream = own(net.connect(server.address().port, "127.0.0.1"));
  stream.on("error", () => {});
  await once(stream, "connect");
  return stream;
}

/** The error of a stream that connects; null when it has connected. */
function endOf(stream) {
  return new Promise((resolve) => {
    stream.once("connect", () => resolve(null)).once("error", resolve);
  });
}

function loopPath(options, expected) {
  return async ({ armed, own }) => {
    const peer = deadPeer();
    const loop = new ReconnectLoop({ peer, attempts: 24, durationMs: 1000, ...options });
    const result = await armed(() => loop.run());
    if (result.socket) own(result.socket);
    const { attempts, outcomes } = loop.progress();
    const counted = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
    assert.equal(counted, attempts, "the counters add up");
    return expected?.(result) ?? outcomes;
  };
}

/** A worker has a reactor of its own, so that the calls with which one starts can fail. */
async function waitInWorker({ armed }) {
  const code = `const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(new URL("../../../dist/index.js", import.meta.url).href)}).then(async ({ TcpSocket }) => {
      const listener = TcpSocket.open(4).bind("${ANY}").listen(1);
      parentPort.once("message", async () => {
        try {
          await listener.accepted({ deadlineMs: 50 }).catch((error) => {
            if (error.code !== "ERR_DEADLINE") throw error;
          });
          parentPort.postMessage({});
        } catch ({ name, code, errno, syscall, message }) {
          parentPort.postMessage({ name, code, errno, syscall, message });
        }
        listener.close();
      });
      parentPort.postMessage("ready");
    });`;
  const worker = new Worker(code, { eval: true });
  await once(worker, "message");
  const answer = await armed(async () => {
    worker.postMessage("go");
    const [message] = await once(worker, "message");
    await worker.terminate();
    return message;
  });
  if (answer.name) throw Object.assign(new Error(answer.message), answer);
}

export const PATHS = {
  open: ({ armed, own }) => armed(() => own(TcpSocket.open(4))),
  "open mptcp": ({ armed, own }) => armed(() => own(TcpSocket.open(4, { mptcp: true }))),
  "open namespace": ({ armed, own }) => armed(() => own(TcpSocket.open(4, { namespace: OWN_NAMESPACE }))),
  bind: ({ armed, own }) => {
    const socket = own(TcpSocket.open(4));
    return armed(() => assert.notEqual(socket.bind(ANY).getsockname().port, 0));
  },
  // The namespace of the matrix has this address on its loopback.
  "bind scope": ({ armed, own }) => {
    const socket = own(TcpSocket.open(6));
    return armed(() => assert.match(formatAddress(socket.bind("[fe80::1%lo]:0").getsockname()), /%(lo|1)/));
  },
  listen: ({ armed, own }) => {
    const socket = own(TcpSocket.open(4).bind(ANY));
    return armed(() => socket.listen(4));
  },
  "listen()": ({ armed, own }) => armed(() => own(listen(ANY, { reuseAddress: true }))),
  accept: async (kit) => {
    const listener = openListener(kit);
    const client = kit.own(TcpSocket.open(4));
    client.connect(listener.getsockname());
    await listener.readable(WAIT);
    const socket = await kit.armed(() => listener.accept());
    if (socket) kit.own(socket);
    return socket === null ? "none" : "accepted";
  },
  accepted: async (kit) => {
    const listener = openListener(kit);
    const client = kit.own(TcpSocket.open(4));
    client.connect(listener.getsockname());
    kit.own(await kit.armed(() => listener.accepted(WAIT)));
  },
  "wait for nobody": async (kit) => {
    const listener = openListener(kit);
    const ended = kit.armed(() => listener.accepted({ deadlineMs: 1 }));
    await ended.catch((error) => {
      if (error.code !== "ERR_DEADLINE") throw error;
    });
  },
  connect: async (kit) => {
    const listener = openListener(kit);
    const socket = kit.own(TcpSocket.open(4));
    await kit.armed(async () => {
      socket.connect(listener.getsockname());
      await socket.connected(WAIT);
    });
    assert.equal(socket.isSelfConnected(), false);
    assert.equal(socket.getpeername().port, listener.getsockname().port);
  },
  "connect, joined": async (kit) => {
    const socket = kit.own(TcpSocket.open(4).bind(ANY));
    await kit.armed(async () => {
      socket.connect(socket.getsockname());
      await socket.connected(WAIT);
    });
    assert.equal(socket.isSelfConnected(), true);
  },
  "getsockname, getpeername": async (kit) => {
    const [socket, other] = await openPair(kit);
    await kit.armed(() => assert.equal(socket.getsockname().port, other.getpeername().port));
  },
  isSelfConnected: async (kit) => {
    const socket = await openJoined(kit);
    assert.equal(await kit.armed(() => socket.isSelfConnected()), true, "it is joined to itself");
  },
  options: async (kit) => {
    const socket = kit.own(TcpSocket.open(4));
    await kit.armed(() => {
      socket.setsockopt("noDelay", true);
      assert.equal(socket.getsockopt("noDelay"), true);
      socket.getsockopt("information");
    });
  },
  takeError: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => assert.equal(socket.takeError(), null));
  },
  send: async (kit) => {
    const [socket, other] = await openPair(kit);
    const sent = await kit.armed(() => socket.send(BYTES));
    if (sent > 0) assert.deepEqual(await other.receiveExactly(sent, WAIT), BYTES);
    return sent > 0 ? "sent" : "none";
  },
  sendAll: async (kit) => {
    const [socket, other] = await openPair(kit);
    await kit.armed(() => socket.sendAll(BYTES, WAIT));
    assert.deepEqual(await other.receiveExactly(BYTES.length, WAIT), BYTES);
  },
  writev: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => socket.writev([BYTES, BYTES]));
  },
  sendmsg: async (kit) => {
    const [socket] = await openPair(kit);
    socket.reportMessages({ sent: true });
    await kit.armed(() => socket.sendmsg([BYTES], { sent: true }));
  },
  reportMessages: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => socket.reportMessages({ errors: true, received: true }));
  },
  recv: async (kit) => {
    const [socket, other] = await openPair(kit);
    await other.sendAll(BYTES, WAIT);
    await socket.readable(WAIT);
    const into = new Uint8Array(BYTES.length);
    const count = await kit.armed(() => socket.recv(into));
    if (count !== null) assert.deepEqual(into, BYTES);
    return count === null ? "none" : "received";
  },
  receiveExactly: async (kit) => {
    const [socket, other] = await openPair(kit);
    await other.sendAll(BYTES, WAIT);
    assert.deepEqual(await kit.armed(() => socket.receiveExactly(BYTES.length, WAIT)), BYTES);
  },
  recvmsg: async (kit) => {
    const [socket, other] = await openPair(kit);
    await other.sendAll(BYTES, WAIT);
    await socket.readable(WAIT);
    await kit.armed(() => socket.recvmsg(new Uint8Array(BYTES.length)));
  },
  "readable, writable": async (kit) => {
    const [socket, other] = await openPair(kit);
    await other.sendAll(BYTES, WAIT);
    await kit.armed(() => Promise.all([socket.readable(WAIT), socket.writable(WAIT)]));
  },
  "wait in a worker": waitInWorker,
  shutdown: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => socket.shutdown("write"));
  },
  close: async ({ armed }) => {
    const socket = TcpSocket.open(4);
    await armed(() => socket.close());
    assert.equal(socket.state, "closed");
  },
  reset: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => socket.reset());
    assert.equal(socket.state, "closed");
  },
  fromFd: async (kit) => {
    const [socket] = await openPair(kit);
    const fd = socket.release();
    kit.ownFd(fd);
    const owner = await kit.armed(() => TcpSocket.fromFd(fd));
    kit.disownFd(fd);
    kit.own(owner);
  },
  transfer: async (kit) => {
    const [socket] = await openPair(kit);
    await kit.armed(() => kit.own(TcpSocket.fromTransfer(socket.transfer())));
  },
  toStream: async (kit) => {
    const [socket] = await openPair(kit);
    const stream = await kit.armed(() => socket.toStream());
    kit.own(stream.on("error", () => {}));
  },
  pair: async ({ armed, own }) => {
    for (const socket of await armed(() => TcpSocket.pair(4))) own(socket);
  },
  meet: async (kit) => {
    const sides = [0, 1].map(() => kit.own(TcpSocket.open(4).bind(ANY)));
    await kit.armed(async () => {
      TcpSocket.meet(...sides);
      // A SYN that arrives before the other side connects is refused: on a busy machine they miss each other.
      await Promise.all(sides.map((side) => side.connected(WAIT))).catch((error) => {
        if (error.code !== "ECONNREFUSED") throw error;
      });
    });
  },
  socketOptions: async (kit) => {
    const stream = await openStream(kit);
    await kit.armed(() => {
      socketOptions(stream).set("noDelay", true);
      assert.equal(socketOptions(stream).get("noDelay"), true);
    });
  },
  createServer: async (kit) => {
    // A socket that does not take the options is destroyed with the error, as documented.
    const server = kit.own(
      createServer({ acceptedOptions: { noDelay: true } }, (stream) => kit.own(stream.on("error", () => {}))),
    );
    server.on("error", () => {});
    await kit.armed(async () => {
      server.listen(0, "127.0.0.1");
      await Promise.race([
        once(server, "listening"),
        once(server, "error").then(([error]) => Promise.reject(error)),
      ]);
      const client = kit.own(net.connect(server.address().port, "127.0.0.1").on("error", () => {}));
      await once(client, "connect");
    });
  },
  dial: async (kit) => {
    const listener = openListener(kit);
    const { socket } = await kit.armed(() => dial(listener.getsockname(), { ...WAIT, attempts: 2 }));
    kit.own(socket);
    assert.equal(socket.isSelfConnected(), false);
  },
  "dial, detect": async (kit) => {
    const peer = deadPeer();
    const dialed = kit.armed(() => dial(peer, { ...WAIT, attempts: 2, guard: "detect", local: peer }));
    const refused = await dialed.then(
      ({ socket }) => kit.own(socket) && false,
      (error) => error.code === "ERR_SELF_CONNECT" || Promise.reject(error),
    );
    assert.equal(refused, true, "no joined socket is handed out");
  },
  connectMany: async (kit) => {
    const listener = openListener(kit);
    const peers = [listener.getsockname(), takePeer(kit)];
    const outcomes = await kit.armed(async () => {
      const ended = [];
      for await (const one of connectMany(peers, { ...WAIT, concurrency: 2 })) {
        if (one.socket) kit.own(one.socket);
        ended.push(one.outcome);
      }
      return ended.sort();
    });
    assert.equal(outcomes.length, peers.length, "each peer has one outcome");
    return outcomes.join(" ");
  },
  punch: async (kit) => {
    const [one, other] = [0, 1].map(deadPeer);
    const both = await kit.armed(() =>
      Promise.allSettled([punch(one, other, WAIT), punch(other, one, WAIT)]),
    );
    for (const { value } of both) if (value) kit.own(value.socket);
    // Without its peer the other one waits until its deadline.
    const reasons = both.flatMap(({ reason }) => reason ?? []);
    if (reasons.length > 0) throw reasons.find(({ code }) => code !== "ERR_DEADLINE") ?? reasons[0];
  },
  "net.connect, guarded": async (kit) => {
    const listener = openListener(kit);
    const { port, host } = listener.getsockname();
    await kit.armed(async () => {
      const stream = kit.own(connect({ port, host }));
      const failed = once(stream, "error").then(([error]) => Promise.reject(error));
      await Promise.race([once(stream, "connect"), failed]);
      assert.equal(stream.remotePort, port);
    });
  },
  "net.connect, detect": async (kit) => {
    const { port, host } = deadPeer();
    const refused = await kit.armed(() =>
      endOf(kit.own(connect({ port, host, localPort: port, guard: "detect" }))),
    );
    assert.ok(refused instanceof Error, "no joined socket is handed out");
    if (refused.code !== "ECONNREFUSED") throw refused;
  },
  "net.connect, refused": async (kit) => {
    const { port, host } = takePeer(kit);
    const refused = await kit.armed(() => endOf(kit.own(connect({ port, host }))));
    assert.ok(refused instanceof Error, "nothing listens there");
    if (refused.code !== "ECONNREFUSED") throw refused;
  },
  "loop fresh": loopPath({ strategy: "fresh", engine: "plain" }),
  "loop reuse": loopPath({ strategy: "reuse", engine: "plain" }),
  "loop autobind": loopPath({ strategy: "autobind", engine: "plain" }),
  "loop bind": loopPath({ strategy: "bind", engine: "plain", selfConnects: 3 }),
  "loop range": loopPath({ strategy: "range", engine: "plain", selfConnects: 3 }),
  "loop fresh, io_uring": loopPath({ strategy: "fresh", engine: "io_uring" }),
  "loop reuse, io_uring": loopPath({ strategy: "reuse", engine: "io_uring" }),
  "loop autobind, io_uring": loopPath({ strategy: "autobind", engine: "io_uring" }),
  "loop bind, io_uring": loopPath({ strategy: "bind", engine: "io_uring", selfConnects: 3 }),
  "loop range, io_uring": loopPath({ strategy: "range", engine: "io_uring", selfConnects: 3 }),
  "loop fresh, io_uring, connected": async (kit) => {
    const peer = openListener(kit).getsockname();
    const loop = new ReconnectLoop({
      peer,
      attempts: 4,
      strategy: "fresh",
      engine: "io_uring",
      durationMs: 1000,
    });
    const { socket } = await kit.armed(() => loop.run());
    if (socket) kit.own(socket);
    return socket ? "connected" : JSON.stringify(loop.progress().outcomes);
  },
  "loop auto": loopPath({ strategy: "reuse" }),
  findSockets: async (kit) => {
    const listener = openListener(kit);
    const { port } = listener.getsockname();
    const { rows, source } = await kit.armed(() => findSockets({ localPorts: { low: port, high: port } }));
    assert.equal(rows.filter(({ local }) => local.port === port).length, 1, "the table has the listener");
    return source;
  },
  findFourTuple: async (kit) => {
    const [socket] = await openPair(kit);
    const rows = await kit.armed(() => findFourTuple(socket.getsockname(), socket.getpeername()));
    assert.equal(rows.length, 1);
  },
  exhaustion: ({ armed }) => {
    const peer = deadPeer();
    return armed(() => exhaustion(peer));
  },
  sourceAddress: async ({ armed }) => {
    const peer = deadPeer();
    // null where the kernel gives no answer.
    return armed(() => sourceAddress(peer)?.host ?? "null");
  },
  "sourceAddress, routed": async ({ armed }) => {
    const peer = deadPeer();
    return armed(() => sourceAddress(peer, { options: { typeOfService: 8 } })?.host ?? "null");
  },
  canSelfConnect: async ({ armed }) => {
    const peer = deadPeer();
    return armed(() => String(canSelfConnect(peer)));
  },
  localAddressTowards: async ({ armed }) => {
    const peer = deadPeer();
    const local = await armed(() => localAddressTowards(peer));
    return local ? "an address" : "null";
  },
  isOwnAddress: ({ armed }) => armed(() => isOwnAddress("127.0.0.1:9")),
  portFacts: ({ armed }) => armed(() => assert.ok(portFacts().ephemeralRange)),
  audit: async (kit) => {
    const { port } = openListener(kit).getsockname();
    const { ports } = await kit.armed(() => audit({ ports: [port] }));
    assert.equal(ports.length, 1);
  },
  "audit, namespace": async (kit) => {
    const { port } = openListener(kit).getsockname();
    const fd = openSync(OWN_NAMESPACE, "r");
    kit.ownFd(fd);
    const namespace = { fd, pid: process.pid };
    const { ports } = await kit.armed(() => audit({ ports: [port], namespace }));
    assert.equal(ports.length, 1);
  },
  explainBind: async (kit) => {
    const { port, host } = openListener(kit).getsockname();
    const { holders } = await kit.armed(() => explainBind({ port, host }));
    assert.ok(holders.length > 0, "the listener holds the port");
  },
  "free, destroy": async (kit) => {
    const socket = await openJoined(kit);
    await kit.armed(() => free(socket.getsockname(), { ways: ["SOCK_DESTROY"], settleMs: 0 }));
  },
  "free, process": async (kit) => {
    const socket = await openJoined(kit);
    await kit.armed(() => free(socket.getsockname(), { ways: ["pidfd_getfd"], settleMs: 0 }));
  },
  capture: async (kit) => {
    const capture = await kit.armed(() => kit.own(Capture.open(0, 0)));
    await openPair(kit);
    await kit.armed(() => [capture.read(), capture.counts()]);
  },
};
