/** Observes what each way to end a self-connect leaves behind, and whether a server can then listen on the port. */
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { findFourTuple } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, dropScope } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { TcpState } from "../socket/tcp-state.ts";

/** "shutdown": shutdown(2) both ways, then close(2). "close": close(2). "reset": SO_LINGER {1, 0}, then close(2). */
export type Closing = "shutdown" | "close" | "reset";
/** Every way to end a socket. */
export const CLOSINGS: readonly Closing[] = ["shutdown", "close", "reset"];

/** What one way to end a self-connect leaves behind, and whether a server can then listen on the port. */
export interface Leaving {
  /** How the socket was ended; null: it was still open. */
  readonly closing: Closing | null;
  /** Whether the socket had SO_REUSEADDR before its bind(2). */
  readonly hadReuseAddress: boolean;
  /** The state of the socket that is left; CLOSED when none is. */
  readonly left: TcpState;
  /** Milliseconds for which the kernel keeps it; 0 when nothing is left or it stays until closed. */
  readonly remainingMs: number;
  /** The errno of a server that binds and listens on the port; null when it starts. */
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

/**
 * bind(2) with port 0, connect(2) to that port, and each way to end the socket, once. Leaves sockets in TIME-WAIT on
 * ports that the kernel picked. Throws SocketError, and ERR_INVALID_ADDRESS.
 */
export async function observeLeavings(near: Address | string): Promise<Leaving[]> {
  const host = checkAddress(near);
  const found: Leaving[] = [];
  for (const [closing, hadReuseAddress] of CASES)
    found.push(await observeOne(host, closing, hadReuseAddress));
  return found;
}

async function observeOne(
  host: Address,
  closing: Closing | null,
  hadReuseAddress: boolean,
): Promise<Leaving> {
  const socket = TcpSocket.open(host.family, hadReuseAddress ? { reuseAddress: true } : {});
  try {
    socket.bind({ ...host, port: 0 }).connect(socket.getsockname());
    await socket.connected({ deadlineMs: SETTLE_MS });
    const local = dropScope(socket.getsockname());
    if (closing) end(socket, closing);
    return { closing, hadReuseAddress, ...(await observePort(local)) };
  } finally {
    socket.reset();
  }
}

/** close(2), as other programs do: TcpSocket resets a socket that is joined to itself. */
export function closePlainly(socket: TcpSocket): void {
  closeSync(socket.release());
}

/** Ends a socket in one of the three ways. */
export function end(socket: TcpSocket, closing: Closing): void {
  if (closing === "shutdown") socket.shutdown("both");
  if (closing === "reset") socket.reset();
  else closePlainly(socket);
}

/** Waits until the state at the self-connect's four-tuple is final. Returns it, and whether a server can listen. */
async function observePort(
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
