/** Random holders of one port, planted any number of times, and what bind(2) and listen(2) then return for an address. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { BindExplanation } from "../../lib/audit/index.ts";
import { explainBind } from "../../lib/audit/index.ts";
import { findPortHolders } from "../../lib/kernel/port-holders.ts";
import type { Address } from "../../lib/socket/address.ts";
import { encodeAddress, isSameAddress, unmap } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPort } from "./harness.ts";

/** What a socket does on the port. */
export const ROLES = [
  "bound",
  "listener",
  "outgoing",
  "picked",
  "accepted",
  "accepted and listener",
  "half-closed",
  "joined",
  "joined, picked",
  "outgoing, TIME-WAIT",
  "accepted, TIME-WAIT",
  "joined, TIME-WAIT",
] as const;
export type Role = (typeof ROLES)[number];

/** A socket to plant. Its port is that of the scenario. */
export interface Holding {
  readonly role: Role;
  readonly host: string;
  readonly options: OpenOptions;
}

/** Where a server is to start: a host, or null for a port alone. */
export type Asked = string | null;

/** The hosts that a holder can have, and those that a server asks for. */
export const HOSTS = [
  "127.0.0.1",
  "127.0.0.2",
  "0.0.0.0",
  "::1",
  "::",
  "::ffff:127.0.0.1",
  "::ffff:0.0.0.0",
] as const;
export const ASKED: readonly Asked[] = [...HOSTS, "localhost", null];
export const OPTIONS: readonly OpenOptions[] = [
  {},
  { reuseAddress: true },
  { reusePort: true },
  { reuseAddress: true, reusePort: true },
];
const TRIED = [{}, { reuseAddress: true }, { reusePort: true }] as const;
const STEPS = 100;

type Refusals = readonly (string | null)[];

/** Plants the holdings on a port of its own; a holding that the kernel refuses beside the others is left out. */
async function plantAll(holdings: readonly Holding[], sockets: TcpSocket[]): Promise<number> {
  const port = deadPort();
  for (const holding of holdings) {
    const opened: TcpSocket[] = [];
    try {
      await plantOne(holding, port, opened);
      sockets.push(...opened);
    } catch (error) {
      for (const socket of opened) socket.reset();
      // The kernel's answer, or a connect without one: another holding took the connection.
      if (!(error as NodeJS.ErrnoException).code) throw error;
    }
  }
  return port;
}

async function plantOne({ role, host, options }: Holding, port: number, opened: TcpSocket[]): Promise<void> {
  const local: Address = { family: host.includes(":") ? 6 : 4, host, port };
  const open = (family: 4 | 6, own: OpenOptions) => {
    const socket = TcpSocket.open(family, own);
    opened.push(socket);
    return socket;
  };
  const mine = open(local.family, {
    ...options,
    ...(role.includes("picked") && { localPortRange: { low: port, high: port } }),
  });
  if (!role.includes("picked")) mine.bind(local);
  if (role === "bound") return;
  if (role === "listener") return void mine.listen();
  if (role.startsWith("joined")) await meet(mine, specific(local));
  else if (role.startsWith("accepted")) await accept(mine.listen(), role === "accepted and listener");
  else await connectOut(mine, specific({ ...local, port: 0 }), role);
  if (role.includes("TIME-WAIT")) await closeFirst(mine, port);

  async function accept(server: TcpSocket, keeps: boolean): Promise<void> {
    const client = open(local.family, {});
    await meet(client, specific(local));
    const accepted = await acceptFrom(server, opened);
    if (!keeps) server.close();
    if (role.includes("TIME-WAIT")) await closeFirst(accepted, port, client);
  }

  async function connectOut(client: TcpSocket, other: Address, how: Role): Promise<void> {
    const server = open(other.family, {}).bind(other).listen();
    await meet(client, server.getsockname());
    const accepted = await acceptFrom(server, opened);
    server.close();
    if (how === "half-closed") accepted.shutdown("write");
    if (how.includes("TIME-WAIT")) await closeFirst(client, port, accepted);
  }
}

/** A host to connect to for one that is bound to the unspecified address. */
function specific(local: Address): Address {
  const hosts: Readonly<Record<string, string>> = {
    "0.0.0.0": "127.0.0.1",
    "::": "::1",
    "::ffff:0.0.0.0": "::ffff:127.0.0.1",
  };
  return { ...local, host: hosts[local.host] ?? local.host };
}

async function meet(client: TcpSocket, peer: Address): Promise<void> {
  client.connect(peer);
  await client.connected({ deadlineMs: 100 });
}

async function acceptFrom(server: TcpSocket, opened: TcpSocket[]): Promise<TcpSocket> {
  let accepted = server.accept();
  for (let step = 0; accepted === null && step < STEPS; step++) {
    await sleep(1);
    accepted = server.accept();
  }
  if (accepted === null) throw Object.assign(new Error("another listener got it"), { code: "EAGAIN" });
  opened.push(accepted);
  return accepted;
}

/** The end that closes first goes to TIME-WAIT. */
async function closeFirst(first: TcpSocket, port: number, second?: TcpSocket): Promise<void> {
  if (first.closed) return;
  first.close();
  for (let step = 0; step < STEPS; step++) {
    const { holders } = findPortHolders({ low: port, high: port });
    if (holders.some(({ state }) => state === "FIN-WAIT-2")) second?.close();
    if (holders.some(({ state }) => state === "TIME-WAIT")) return;
    await sleep(1);
  }
}

/** Ends all that is left of a scenario; TIME-WAIT of it too, by SOCK_DESTROY. */
function endAll(sockets: readonly TcpSocket[], port: number): void {
  for (const socket of sockets) if (!socket.closed) socket.reset();
  destroyLeft({ family: 4, host: "", port }, null);
}

/** SOCK_DESTROY of what no process has open: on a port, or of one four-tuple. */
function destroyLeft(local: Address, peer: Address | null): void {
  const { port } = local;
  for (const row of findPortHolders({ low: port, high: port }).holders) {
    const isMeant = peer === null || (isSameAddress(row.local, local) && isSameAddress(row.peer, peer));
    if (!isMeant || row.inode !== 0 || !row.cookie) continue;
    loadNative().destroy(
      encodeAddress(row.local),
      encodeAddress(row.peer),
      Uint32Array.of(0, ...row.cookie),
      -1,
    );
  }
}

/** Plants a scenario for as long as `use` runs. */
async function withScenario<T>(
  holdings: readonly Holding[],
  use: (port: number, sockets: readonly TcpSocket[]) => Promise<T> | T,
): Promise<T> {
  const sockets: TcpSocket[] = [];
  const port = await plantAll(holdings, sockets);
  try {
    return await use(port, sockets);
  } finally {
    endAll(sockets, port);
  }
}

/** Whether listen() of Node starts. */
export function startsInNode(port: number, host: Asked): Promise<boolean> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen({ port, ...(host !== null && { host }) }, () => server.close(() => resolve(true)));
  });
}

/** The address that listen() of Node binds to. */
export function toAddress(asked: Asked, port: number): Address {
  if (asked === null) return { family: 6, host: "::", port };
  if (asked === "localhost") return { family: 4, host: "127.0.0.1", port };
  return { family: asked.includes(":") ? 6 : 4, host: asked, port };
}

/**
 * Compares what explainBind() says of a scenario with what bind(2) and listen(2) say, each of a scenario of its own that
 * nobody has tried to bind to. Returns what is wrong, as sentences.
 */
export async function judge(holdings: readonly Holding[], asked: Asked): Promise<string[]> {
  const plant = <T>(use: (port: number) => Promise<T> | T) => withScenario(holdings, use);
  const truth = await tryAll(plant, asked);
  return withScenario(holdings, (port, sockets) => {
    const found = explain(port, asked);
    return [...compare(found, ...truth), ...endThoseInTheWay(found, sockets)];
  });
}

/** The same for a holder that is planted anew for each use. */
export async function judgePlanted(plant: Plant, asked: Asked): Promise<string[]> {
  const truth = await tryAll(plant, asked);
  return plant((port) => compare(explain(port, asked), ...truth));
}

type Plant = <T>(use: (port: number) => Promise<T> | T) => Promise<T>;

/** What bind(2) and listen(2) say with each option, and whether Node starts. */
async function tryAll(plant: Plant, asked: Asked): Promise<[Refusals, boolean]> {
  const refusals: (string | null)[] = [];
  for (const options of TRIED) {
    refusals.push(
      await plant((port) => {
        const address = toAddress(asked, port);
        const base: OpenOptions = address.host === "::" ? { ipv6Only: false } : {};
        return listenRefusal(address, { ...base, ...options });
      }),
    );
  }
  return [refusals, await plant((port) => startsInNode(port, asked))];
}

function explain(port: number, asked: Asked): BindExplanation {
  if (asked === null) return explainBind(port);
  return explainBind(asked === "localhost" ? `${asked}:${port}` : toAddress(asked, port));
}

/**
 * Ends those in the way, one by one: the last of them was in the way, and then the address is free. Those that only may
 * be in the way are named when nobody else is.
 */
function endThoseInTheWay(found: BindExplanation, sockets: readonly TcpSocket[]): string[] {
  const { address } = found;
  const base: OpenOptions = address.host === "::" ? { ipv6Only: false } : {};
  for (let rounds = 0; rounds < 2; rounds++) {
    const { holders } = rounds === 0 ? found : explainBind(address);
    const inTheWay = holders.filter(({ isInTheWay }) => isInTheWay);
    for (const [index, holder] of inTheWay.entries()) {
      const isSure = rounds === 0 && unmap(holder.local).family === unmap(address).family;
      const isLast = index === inTheWay.length - 1;
      if (isSure && isLast && listenRefusal(address, base) === null)
        return [`${holder.is} is not in the way`];
      const fds = holder.processes.map(({ fd }) => fd);
      for (const socket of sockets) if (!socket.closed && fds.includes(socket.fd)) socket.reset();
      if (fds.length === 0) destroyLeft(holder.local, holder.peer);
    }
    if (listenRefusal(address, base) !== "EADDRINUSE") return [];
  }
  return ["EADDRINUSE without those in the way"];
}

function compare(found: BindExplanation, refusals: Refusals, inNode: boolean): string[] {
  const { refusal, needs } = found.tries[0]!;
  const [plain, address, group] = refusals;
  const truth =
    plain === null ? "" : address === null ? "reuseAddress" : group === null ? "reusePort" : "none";
  const said = needs === null ? "none" : needs.join();
  const inTheWay = found.holders.filter(({ isInTheWay }) => isInTheWay);
  const isRefused = plain === "EADDRINUSE";
  return [
    ...(refusal === plain ? [] : [`bind says ${plain}, explainBind ${refusal}`]),
    ...(said === truth ? [] : [`it needs ${truth || "nothing"}, explainBind says ${said || "nothing"}`]),
    ...(found.canListen === inNode ? [] : [`Node starts: ${inNode}, canListen: ${found.canListen}`]),
    ...(isRefused === inTheWay.length > 0 ? [] : [`refused: ${isRefused}, in the way: ${inTheWay.length}`]),
    ...(inTheWay.some(({ kind }) => kind === "unknown") ? ["the holder is unknown"] : []),
  ];
}

/** A scenario in one line, for the text of a failure. */
export function describeScenario(holdings: readonly Holding[], asked: Asked): string {
  const parts = holdings.map(
    ({ role, host, options }) => `${role} ${host} ${Object.keys(options).join("+")}`,
  );
  return `${asked ?? "a port alone"} beside ${parts.join(" and ")}`;
}
