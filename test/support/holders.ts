/** Plants a holder of each kind on a port of its own. */
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import type { HolderKind, NeededOption } from "../../lib/audit/holders.ts";
import { findPortHolders } from "../../lib/kernel/port-holders.ts";
import { closePlainly } from "../../lib/packets/leavings.ts";
import type { Address } from "../../lib/socket/address.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES } from "./harness.ts";

const MOST_WAIT_MS = 3000;

/** A planted holder. */
export interface Planted {
  readonly port: number;
  /** Does what the process that holds the port would do on the advice "end pid ...". */
  close(): void;
}

/** A kind of holder, and what a server then needs on 127.0.0.1. */
export interface Planting {
  readonly title: string;
  readonly kind: HolderKind;
  /** What a server needs on 127.0.0.1: nothing ([]), an option, or more than any option (null). */
  readonly needs: readonly NeededOption[] | null;
  /** What the remedy of the holder in the way of Node's listen(port) begins with. */
  readonly remedy: RegExp;
  /** The family that it needs on loopback; default IPv4. */
  readonly family?: 4 | 6;
  plant(): Promise<Planted> | Planted;
}

const sockets: TcpSocket[] = [];

/** Resets every planted socket. */
export function removeHolders(): void {
  for (const socket of sockets.splice(0)) socket.reset();
}

function open(family: 4 | 6, options: OpenOptions = {}): TcpSocket {
  const socket = TcpSocket.open(family, options);
  sockets.push(socket);
  return socket;
}

/** Closes a planted socket; does nothing the second time. */
function close(socket: TcpSocket): void {
  const index = sockets.indexOf(socket);
  if (index >= 0) sockets.splice(index, 1)[0]!.close();
}

function makePlanted({ port }: Address, ...held: TcpSocket[]): Planted {
  return { port, close: () => held.forEach(close) };
}

/** Listens on a host of its own, or on the wildcard. */
function listener(host: string, options: OpenOptions = {}): Planted {
  const local = { ...deadPeer(host.includes(":") ? 6 : 4), host };
  return makePlanted(local, open(local.family, options).bind(local).listen());
}

interface ConnectionOptions {
  /** Options of the client. */
  readonly client?: OpenOptions;
  /** Options of the server, which its accepted connections inherit. */
  readonly server?: OpenOptions;
  /** Whether the client binds first. */
  readonly isBound?: boolean;
  /** The client's host: an IPv4-mapped one reaches the server too. */
  readonly host?: string;
}

/** A connection from a dead port to a listener elsewhere: both its ends. */
async function connection(options: ConnectionOptions = {}): Promise<[TcpSocket, TcpSocket]> {
  const { client: own = {}, isBound = true, host = "127.0.0.1" } = options;
  const server = open(4, options.server ?? { reuseAddress: true })
    .bind(deadPeer(4, "other"))
    .listen();
  const local: Address = { ...deadPeer(), host, family: host.includes(":") ? 6 : 4 };
  const client = open(local.family, own);
  if (isBound) client.bind(local);
  client.connect({ ...local, port: server.getsockname().port });
  await client.connected();
  const accepted = await acceptFrom(server);
  close(server);
  return [client, accepted];
}

async function acceptFrom(server: TcpSocket): Promise<TcpSocket> {
  let accepted = server.accept();
  for (; accepted === null; accepted = server.accept()) await sleep(1);
  sockets.push(accepted);
  return accepted;
}

/** Joins a socket to itself; without a bind(2), the kernel picks the port from a range of one. */
async function join(host: string, isBound = true, options: OpenOptions = {}): Promise<TcpSocket> {
  const local = { ...deadPeer(host.includes(":") ? 6 : 4), host };
  const range = { low: local.port, high: local.port };
  const socket = open(local.family, { ...options, ...(!isBound && { localPortRange: range }) });
  if (isBound) socket.bind(local);
  socket.connect(local);
  return socket.connected();
}

async function timeWait(options: ConnectionOptions): Promise<Planted> {
  const [client, accepted] = await connection(options);
  const local = client.getsockname();
  close(client);
  close(accepted);
  await waitForState(local.port, "TIME-WAIT");
  return makePlanted(local);
}

/** Waits until some socket on the port is in a state. */
export async function waitForState(port: number, state: string): Promise<void> {
  const has = () =>
    findPortHolders({ low: port, high: port }).holders.some((holder) => holder.state === state);
  const endsAt = performance.now() + MOST_WAIT_MS;
  while (!has() && performance.now() < endsAt) await sleep(5);
  if (!has()) throw new Error(`no socket on port ${port} reached ${state}`);
}

/** What a self-connect leaves that is closed and not reset. */
async function selfTimeWait(host: string): Promise<Planted> {
  const socket = await join(host);
  const local = socket.getsockname();
  closePlainly(socket);
  await waitForState(local.port, "TIME-WAIT");
  return makePlanted(local);
}

/** A listener with a full queue does not answer a SYN. */
async function plantConnecting(): Promise<Planted> {
  const full = open(4).bind(deadPeer(4, "other")).listen(0);
  for (let count = 0; count < 4; count++) open(4).connect(full.getsockname());
  const local = deadPeer();
  const client = open(4).bind(local);
  client.connect(full.getsockname());
  await waitForState(local.port, "SYN-SENT");
  return makePlanted(local, client);
}

/** A closed socket whose peer does not read: its data, and so its FIN, cannot leave. */
async function plantOrphan(): Promise<Planted> {
  const [client] = await connection();
  const local = client.getsockname();
  const bytes = new Uint8Array(1 << 16);
  const endsAt = performance.now() + MOST_WAIT_MS;
  while (client.send(bytes) > 0 && performance.now() < endsAt);
  close(client);
  await waitForState(local.port, "FIN-WAIT-1");
  return makePlanted(local);
}

/** syscall(2): io_uring_setup and io_uring_register, whose numbers all architectures but alpha share. */
const SETUP = 425;
const REGISTER = 427;
const REGISTER_FILES = 2;
const PARAMETERS_BYTES = 120;

/** Whether this kernel lets us create an io_uring. */
export function openRing(): number {
  const call = koffi.load("libc.so.6").func("long syscall(long number, ...)");
  return Number(call(SETUP, "uint32", 1, "void *", Buffer.alloc(PARAMETERS_BYTES)));
}

function plantInRing(): Planted {
  const call = koffi.load("libc.so.6").func("long syscall(long number, ...)");
  const local = deadPeer();
  const socket = TcpSocket.open(4).bind(local).listen();
  const ring = openRing();
  const files = Buffer.from(Int32Array.of(socket.fd).buffer);
  const result = call(REGISTER, "int", ring, "uint32", REGISTER_FILES, "void *", files, "uint32", 1);
  socket.close();
  if (Number(result) < 0) throw new Error("io_uring_register failed");
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(ring);
    isOpen = false;
  };
  return { port: local.port, close };
}

const END = /^end pid \d+ \(/;
const FREE = /^free\(/;
const REUSE = /^set SO_REUSEADDR /;
const WAIT = /^waitUntilFree\(\d+\)/;

const ALL: readonly Planting[] = [
  {
    title: "a listener at the same address",
    kind: "listener",
    needs: null,
    remedy: END,
    plant: () => listener("127.0.0.1"),
  },
  {
    title: "a listener at another address",
    kind: "listener",
    needs: [],
    remedy: END,
    plant: () => listener("127.0.0.2"),
  },
  {
    title: "a listener of the other family",
    kind: "listener",
    needs: [],
    remedy: END,
    family: 6,
    plant: () => listener("::1"),
  },
  { title: "a dual-stack listener", kind: "listener", needs: null, remedy: END, plant: () => listener("::") },
  {
    title: "an IPv6-only listener",
    kind: "listener",
    needs: [],
    remedy: END,
    plant: () => listener("::", { ipv6Only: true }),
  },
  {
    title: "a listener of a SO_REUSEPORT group",
    kind: "listener",
    needs: ["reusePort"],
    remedy: /^set SO_REUSEPORT /,
    plant: () => listener("127.0.0.1", { reusePort: true }),
  },
  {
    title: "a listener of Multipath TCP",
    kind: "listener",
    needs: null,
    remedy: END,
    plant: () => listener("127.0.0.1", { mptcp: true }),
  },
  {
    title: "a socket that is bound and does not listen",
    kind: "bound",
    needs: null,
    remedy: END,
    plant: () => {
      const local = deadPeer();
      return makePlanted(local, open(4).bind(local));
    },
  },
  {
    title: "a bound socket with SO_REUSEADDR",
    kind: "bound",
    needs: ["reuseAddress"],
    remedy: REUSE,
    plant: () => {
      const local = deadPeer();
      return makePlanted(local, open(4, { reuseAddress: true }).bind(local));
    },
  },
  {
    title: "an outgoing connection from a port that the kernel picked",
    kind: "connection",
    needs: null,
    remedy: END,
    plant: async () => {
      const ends = await connection({ isBound: false });
      return makePlanted(ends[0].getsockname(), ends[0]);
    },
  },
  {
    title: "an outgoing connection that was bound first, with SO_REUSEADDR as Node does",
    kind: "connection",
    needs: ["reuseAddress"],
    remedy: REUSE,
    plant: async () => {
      const ends = await connection({ client: { reuseAddress: true } });
      return makePlanted(ends[0].getsockname(), ends[0]);
    },
  },
  { title: "a socket in SYN-SENT", kind: "connecting", needs: null, remedy: END, plant: plantConnecting },
  {
    title: "an accepted connection of a dead server with SO_REUSEADDR",
    kind: "connection",
    needs: ["reuseAddress"],
    remedy: REUSE,
    plant: async () => {
      const ends = await connection();
      return makePlanted(ends[1].getsockname(), ends[1]);
    },
  },
  {
    title: "an accepted connection of a dead server without SO_REUSEADDR",
    kind: "connection",
    needs: null,
    remedy: END,
    plant: async () => {
      const ends = await connection({ server: {} });
      return makePlanted(ends[1].getsockname(), ends[1]);
    },
  },
  {
    title: "an IPv4-mapped connection",
    kind: "connection",
    needs: null,
    remedy: END,
    plant: async () => {
      const ends = await connection({ host: "::ffff:127.0.0.1" });
      return makePlanted(ends[0].getsockname(), ends[0]);
    },
  },
  {
    title: "a half-closed connection",
    kind: "half-closed",
    needs: null,
    remedy: END,
    plant: async () => {
      const [client, accepted] = await connection();
      accepted.shutdown("write");
      await waitForState(client.getsockname().port, "CLOSE-WAIT");
      return makePlanted(client.getsockname(), client);
    },
  },
  ...["127.0.0.1", "::ffff:127.0.0.1"].flatMap((host) =>
    [true, false].map(
      (isBound): Planting => ({
        title: `a socket joined to itself over ${host}, ${isBound ? "bound" : "its port picked by the kernel"}`,
        kind: "self-connect",
        needs: null,
        remedy: FREE,
        plant: async () => {
          const socket = await join(host, isBound);
          return makePlanted(socket.getsockname(), socket);
        },
      }),
    ),
  ),
  {
    title: "a socket joined to itself over IPv6",
    kind: "self-connect",
    needs: [],
    remedy: FREE,
    family: 6,
    plant: async () => {
      const socket = await join("::1");
      return makePlanted(socket.getsockname(), socket);
    },
  },
  ...[true, false].map(
    (isBound): Planting => ({
      title: `a Multipath TCP socket joined to itself, ${isBound ? "bound" : "its port picked by the kernel"}`,
      kind: "self-connect",
      needs: null,
      remedy: FREE,
      plant: async () => {
        const socket = await join("127.0.0.1", isBound, { mptcp: true });
        return makePlanted(socket.getsockname(), socket);
      },
    }),
  ),
  {
    title: "TIME-WAIT of an ordinary connection",
    kind: "time-wait",
    needs: null,
    remedy: WAIT,
    plant: () => timeWait({ isBound: false }),
  },
  {
    title: "TIME-WAIT of a connection with SO_REUSEADDR",
    kind: "time-wait",
    needs: ["reuseAddress"],
    remedy: REUSE,
    plant: () => timeWait({ client: { reuseAddress: true } }),
  },
  ...(["127.0.0.1", "::ffff:127.0.0.1", "::1"] as const).map(
    (host): Planting => ({
      title: `TIME-WAIT of a self-connect over ${host}`,
      kind: "self-connect-time-wait",
      needs: host === "::1" ? [] : null,
      remedy: WAIT,
      ...(host === "::1" && { family: 6 }),
      plant: () => selfTimeWait(host),
    }),
  ),
  {
    title: "an orphan",
    kind: "orphan",
    needs: null,
    remedy: /^wait until the kernel gives up/,
    plant: plantOrphan,
  },
  {
    title: "a listener in the fixed files of an io_uring",
    kind: "listener",
    needs: null,
    remedy: END,
    plant: plantInRing,
  },
];

/** Those for which this machine has the addresses. */
export const PLANTINGS = ALL.filter(({ family = 4 }) => FAMILIES.includes(family));
