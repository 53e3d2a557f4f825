/** What each way to end a self-connect leaves behind, and who can have the port meanwhile: found out by doing it. */
import { setTimeout as sleep } from "node:timers/promises";
import { findFourTuple } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { bare } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { TcpState } from "../socket/tcp-state.ts";

/** shutdown(2) both ways and then close(2); close(2) alone; SO_LINGER {1, 0} and close(2). */
export type Closing = "shutdown" | "close" | "reset";
/** Every way to end a socket. */
export const CLOSINGS: readonly Closing[] = ["shutdown", "close", "reset"];

/** What one way to end a self-connect leaves behind, and who can listen on the port then. */
export interface Leaving {
  /** How the socket was ended; null while it is still open. */
  readonly closing: Closing | null;
  /** Whether the socket itself had SO_REUSEADDR since before its bind(2). */
  readonly hadReuseAddress: boolean;
  /** The state of what is left, CLOSED when nothing is. */
  readonly left: TcpState;
  /** How long the kernel keeps it; 0 when nothing is left or it stays until closed. */
  readonly remainingMs: number;
  /** The errno name that a server's listen on the port gets, null when it starts. */
  readonly listen: ErrnoName | null;
  /** The same with SO_REUSEADDR. */
  readonly listenWithReuseAddress: ErrnoName | null;
}

const SETTLE_MS = 1000;
const SETTLED: readonly TcpState[] = ["ESTABLISHED", "TIME-WAIT"];

const CASES: readonly (readonly [Closing | null, boolean])[] = [
  [null, false],
  ["shutdown", false],
  ["close", false],
  ["close", true],
  ["reset", false],
];

/** Each way once, on a port of this host that the kernel picks: what is left of it stays in TIME-WAIT there. */
export async function observeLeavings(host: Address): Promise<Leaving[]> {
  const found: Leaving[] = [];
  for (const [closing, hadReuseAddress] of CASES) found.push(await leavingOf(host, closing, hadReuseAddress));
  return found;
}

async function leavingOf(host: Address, closing: Closing | null, hadReuseAddress: boolean): Promise<Leaving> {
  const socket = TcpSocket.open(host.family, hadReuseAddress ? { reuseAddress: true } : {});
  try {
    socket.bind({ ...host, port: 0 }).connect(socket.getsockname());
    await socket.connected({ deadlineMs: SETTLE_MS });
    const local = bare(socket.getsockname());
    if (closing) end(socket, closing);
    return { closing, hadReuseAddress, ...(await leftAt(local)) };
  } finally {
    socket.reset();
  }
}

/** Ends a socket in one of the three ways. */
export function end(socket: TcpSocket, closing: Closing): void {
  if (closing === "reset") socket.reset();
  if (closing === "shutdown") socket.shutdown("both");
  socket.close();
}

/** What stands at a self-connect's four-tuple once it has settled, and who can listen on its port. */
async function leftAt(
  local: Address,
): Promise<Pick<Leaving, "left" | "remainingMs" | "listen" | "listenWithReuseAddress">> {
  const endsAt = performance.now() + SETTLE_MS;
  const look = () => findFourTuple(local, local)[0];
  let row = look();
  while (row && !SETTLED.includes(row.state) && performance.now() < endsAt) {
    await sleep(1);
    row = look();
  }
  return {
    left: row?.state ?? "CLOSED",
    remainingMs: row?.timerMs ?? 0,
    listen: listenRefusal(local),
    listenWithReuseAddress: listenRefusal(local, { reuseAddress: true }),
  };
}
