/**
 * One random host, in the network namespace of this process: a random ephemeral range, random reserved ports, sockets
 * of every kind, and attempts of every kind. The first argument of the program is the seed.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TcpSocket } from "../../dist/index.js";
import { environment } from "../../dist/kernel/index.js";
import { portAlgorithm, predict, supposeAlgorithm } from "../../dist/ports/index.js";

const release = environment().kernel;

/** Mulberry32. */
let state = Number(process.argv[2]) >>> 0;
export function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
export const int = (low, high) => low + Math.floor(random() * (high - low + 1));
export const oneOf = (list) => list[int(0, list.length - 1)];
export const familyOf = (host) => (host.includes(":") ? 6 : 4);
export const addressOf = (host, port) => ({ family: familyOf(host), host, port });

const planted = [];
function plant(family, options = {}) {
  const socket = TcpSocket.open(family, options);
  planted.push(socket);
  return socket;
}

/** A server that stays for the whole run, for connections to elsewhere. */
const elsewhere = TcpSocket.open(4, { reuseAddress: true });

async function connectFrom(port, options, isBound) {
  const client = plant(4, isBound ? options : { ...options, localPortRange: { low: port, high: port } });
  if (isBound) client.bind(addressOf("127.0.0.1", port));
  client.connect(elsewhere.getsockname());
  await client.connected();
  return [client, await accept(elsewhere)];
}

async function accept(server) {
  for (let tries = 0; tries < 1000; tries++) {
    const accepted = server.accept();
    if (accepted) {
      planted.push(accepted);
      return accepted;
    }
    await sleep(1);
  }
  throw new Error("nobody connected");
}

/** A client that stays; false where the kernel has no port for it. */
export function connectTo(peer) {
  try {
    plant(peer.family).connect(peer);
    return true;
  } catch (error) {
    if (error.code === "EADDRNOTAVAIL") return false;
    throw error;
  }
}

async function leaveTimeWait(port, isBound) {
  for (const socket of await connectFrom(port, {}, isBound)) {
    planted.splice(planted.indexOf(socket), 1);
    socket.close();
  }
}

async function acceptOfDeadServer(port) {
  const server = TcpSocket.open(4, { reuseAddress: true }).bind(addressOf("127.0.0.1", port)).listen();
  plant(4).connect(addressOf("127.0.0.1", port));
  await accept(server);
  server.close();
}

const listenOn = (host, options) => (port) =>
  plant(familyOf(host), options).bind(addressOf(host, port)).listen();
const bindTo = (host, options) => (port) => plant(familyOf(host), options).bind(addressOf(host, port));
const HOLDERS = {
  "listens on 127.0.0.1": listenOn("127.0.0.1"),
  "listens on 127.0.0.3": listenOn("127.0.0.3"),
  "listens on 0.0.0.0": listenOn("0.0.0.0"),
  "listens on ::1": listenOn("::1"),
  "listens on [::]": listenOn("::"),
  "listens on [::], IPV6_V6ONLY": listenOn("::", { ipv6Only: true }),
  "listens on 10.1.2.3": listenOn("10.1.2.3"),
  "bound to 127.0.0.1": bindTo("127.0.0.1"),
  "bound to 127.0.0.3, SO_REUSEADDR": bindTo("127.0.0.3", { reuseAddress: true }),
  "bound to 127.0.0.1, SO_REUSEPORT": bindTo("127.0.0.1", { reusePort: true }),
  "bound to ::1": bindTo("::1"),
  "bound, then connected": (port) => connectFrom(port, {}, true),
  "connected by connect(2)": (port) => connectFrom(port, {}, false),
  "TIME-WAIT after bind(2)": (port) => leaveTimeWait(port, true),
  "TIME-WAIT after connect(2)": (port) => leaveTimeWait(port, false),
  "accepted by a dead server": acceptOfDeadServer,
};

function drawRange(mostPorts) {
  const kind = random();
  const size =
    kind < 0.4 ? int(1, 8) : kind < 0.7 ? int(9, 100) : kind < 0.93 ? int(101, 1500) : int(1501, mostPorts);
  const low = int(5000, 60_000 - Math.min(size, 50_000));
  return { low, high: low + Math.min(size, mostPorts) - 1 };
}

function drawReserved({ low, high }) {
  const size = high - low + 1;
  const kind = random();
  if (kind < 0.4) return [];
  const blocks = [];
  for (let count = int(1, 3); count > 0; count--) {
    const first = int(low, high);
    blocks.push([first, Math.min(high, first + int(0, Math.ceil(size / 2)))]);
  }
  if (kind < 0.7) return blocks;
  const density = oneOf([0.1, 0.5, 0.9]);
  const parity = oneOf([0, 1, null, null]);
  const ports = Array.from({ length: Math.min(size, 400) }, (_, index) => low + index);
  const single = ports.filter((port) => (parity === null ? random() < density : port % 2 === parity));
  return single.map((port) => [port, port]);
}

async function plantAt(kind, port) {
  try {
    await HOLDERS[kind](port);
    return true;
  } catch (error) {
    if (error.code === "EADDRINUSE" || error.code === "EADDRNOTAVAIL") return false;
    throw error;
  }
}

/** Sets up a host with a range of at most so many ports; returns what was planted. */
export async function build(mostPorts) {
  const range = drawRange(mostPorts);
  const reserved = drawReserved(range);
  const text = reserved.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
  writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", `${range.low} ${range.high}`);
  writeFileSync("/proc/sys/net/ipv4/ip_local_reserved_ports", `${text}\n`);
  const holders = [];
  const most = Math.min(range.high - range.low, oneOf([0, 1, 3, 10]));
  for (let count = 0; count < most; count++) {
    const kind = oneOf(Object.keys(HOLDERS));
    const port = int(range.low, range.high);
    // A reserved port cannot be picked from a range of one; a held one cannot be bound again.
    const works = await plantAt(kind, port);
    if (works) holders.push(`${port} ${kind}`);
  }
  return { range, reserved: text, holders };
}

/** One attempt to the address; whether the socket was joined to itself. */
export function attempt(method, host, port, range) {
  const family = familyOf(host);
  const options = {
    ...(method === "late-bind" && { bindAddressNoPort: true }),
    ...(method === "range" && { localPortRange: range }),
    ...(method === "bind with SO_REUSEADDR" && { reuseAddress: true }),
  };
  const socket = TcpSocket.open(family, options);
  try {
    if (method === "late-bind" || method.startsWith("bind")) socket.bind(addressOf(host, 0));
    if (method.startsWith("bind") && socket.getsockname().port !== port) return false;
    socket.connect(addressOf(host, port));
    return socket.getsockname().port === port && socket.isSelfConnected();
  } catch (error) {
    if (error.code === "EADDRNOTAVAIL" || error.code === "EADDRINUSE") return false;
    throw error;
  } finally {
    socket.reset();
  }
}

export function predictPort(host, method, port, situation) {
  const name = method.startsWith("bind") ? "bind" : method;
  return predict({
    peer: addressOf(host, port),
    method: name,
    algorithm: name === "bind" ? portAlgorithm("linux-bind") : supposeAlgorithm(name, release),
    facts: { ...situation, keeper: null },
    reuseAddress: method === "bind with SO_REUSEADDR",
  });
}

export function isFree(host, port) {
  const socket = TcpSocket.open(familyOf(host));
  try {
    socket.bind(addressOf(host, port)).listen();
    return true;
  } catch {
    return false;
  } finally {
    socket.reset();
  }
}

/** Removes what was planted. */
export function removePlanted() {
  for (const socket of planted.splice(0)) socket.reset();
  for (let waiting = elsewhere.accept(); waiting; waiting = elsewhere.accept()) waiting.reset();
}

/** Before the first host: addresses of its own, and the server for connections to elsewhere. */
export function setUp() {
  for (const address of ["10.1.2.3/32", "fd00::1/128"]) {
    execFileSync("ip", ["addr", "add", address, "dev", "lo"]);
  }
  execFileSync("ip", ["route", "add", "local", "10.9.0.0/16", "dev", "lo"]);
  elsewhere.bind(addressOf("127.0.0.1", 0)).listen(64);
}

/** After the last host. */
export function tearDown() {
  elsewhere.reset();
}
