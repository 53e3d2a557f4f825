// What the package does on this platform and runtime: one line of JSON for each check, with what is lacking in the
// package's own words. `npm run check:wide platforms` runs it, with $LIBRARY as the folder of the built package.
import { pathToFileURL } from "node:url";

const door = (name) => import(new URL(name, `${pathToFileURL(process.env.LIBRARY).href}/dist/`).href);
const { ReconnectLoop, TcpSocket, connectMany, dial, listen, supported } = await door("index.js");
const { Capture } = await door("packets/index.js");
const { environment, findFourTuple } = await door("kernel/index.js");

const text = new TextEncoder();
const PEER = "127.0.0.1:0";
const kept = [];

const CHECKS = {
  "opens, binds and names a socket": () => {
    const socket = keep(TcpSocket.open(4).bind(PEER));
    return socket.getsockname().port > 0;
  },
  "reads and writes": async () => {
    const listener = keep(listen(PEER));
    const client = keep(TcpSocket.open(4));
    client.connect(listener.getsockname());
    await client.sendAll(text.encode("hello"));
    const server = keep(await listener.accepted());
    return (await server.receiveExactly(5)).length === 5;
  },
  "reports a refusal": async () => {
    const bound = keep(TcpSocket.open(4).bind(PEER));
    const socket = keep(TcpSocket.open(4));
    socket.connect(bound.getsockname());
    const error = await socket.connected().catch((reason) => reason);
    return error.code === "ECONNREFUSED" || error.code;
  },
  "detects a self-connect": () => {
    const socket = keep(TcpSocket.open(4).bind(PEER));
    socket.connect(socket.getsockname());
    return socket.isSelfConnected();
  },
  "sets an option and reads it": () => {
    const socket = keep(TcpSocket.open(4, { noDelay: true, userTimeoutMs: 5000 }));
    return socket.getsockopt("noDelay") === true;
  },
  "reads TCP_INFO": async () => {
    const listener = keep(listen(PEER));
    const client = keep(TcpSocket.open(4));
    client.connect(listener.getsockname());
    await client.connected();
    return client.getsockopt("information").state === "ESTABLISHED";
  },
  "dials, and never a self-connect": async () => {
    const listener = keep(listen(PEER));
    const { socket } = await dial(listener.getsockname(), { deadlineMs: 2000 });
    socket.close();
    const peer = freePeer();
    const error = await dial(peer, { local: peer, deadlineMs: 200 }).catch((reason) => reason);
    return error.name === "DialError" || error.code;
  },
  "connects many": async () => {
    const bound = keep(TcpSocket.open(4).bind(PEER));
    for await (const { outcome } of connectMany([bound.getsockname()]))
      return outcome === "ECONNREFUSED" || outcome;
  },
  "reconnects by bind": () => reconnect({ strategy: "bind", attempts: 1 }),
  "prevents (IP_LOCAL_PORT_RANGE)": () => supported("localPortRange") || lacks("the option localPortRange"),
  "reconnects by io_uring": () => reconnect({ strategy: "bind", attempts: 1, engine: "io_uring" }),
  "reads the socket table": () => {
    const listener = keep(listen(PEER));
    const client = keep(TcpSocket.open(4));
    client.connect(listener.getsockname());
    return findFourTuple(client.getsockname(), client.getpeername()).length > 0 || lacks("its own socket");
  },
  "captures packets (AF_PACKET)": () => {
    Capture.open(0, 0)[Symbol.dispose]();
    return true;
  },
};

/** What is closed at the end of a check. */
function keep(closable) {
  kept.push(closable);
  return closable;
}

/** An address that nobody has at this moment. */
function freePeer() {
  const bound = TcpSocket.open(4).bind(PEER);
  const peer = bound.getsockname();
  bound.close();
  return peer;
}

function lacks(what) {
  throw Object.assign(new Error(`${what} is missing`), { code: "ENOTSUP" });
}

async function reconnect(options) {
  const { verdict, socket } = await new ReconnectLoop({ peer: freePeer(), ...options }).run();
  socket?.reset();
  return verdict === "self-connect" || verdict;
}

for (const [check, run] of Object.entries(CHECKS)) {
  let lack = "";
  try {
    const seen = await run();
    if (seen !== true) lack = `saw ${seen}`;
  } catch (error) {
    lack = `${error.code ?? error.name}: ${error.message}`;
  }
  for (const closable of kept.splice(0)) closable.close();
  console.log(JSON.stringify({ check, lack }));
}
console.log(JSON.stringify({ check: "knows its version", lack: environment().version ? "" : "no version" }));
