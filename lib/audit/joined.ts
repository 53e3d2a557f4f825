/** What the kernel shows of a socket joined to itself, and the harm that it does while it is open. */
import type { SocketOwner, SocketRow } from "../kernel/tables.ts";
import { findFourTuple, socketOwner } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { WaitError } from "../socket/limits.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { invalidArgument } from "../socket/misuse.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { ExplainedHolder } from "./explain-bind.ts";
import { explainBind } from "./explain-bind.ts";

/** A socket joined to itself while it is open: its addresses, its rows, and what it keeps others from. */
export interface JoinedMoment {
  /** getsockname(2). */
  readonly local: Address;
  /** getpeername(2). */
  readonly peer: Address;
  /** Its rows in the kernel's table, each with a process that has it open; empty where there is no such table. */
  readonly rows: readonly (readonly [SocketRow, SocketOwner | null])[];
  /** Why there are no rows: only Linux has the table; null when it was read. */
  readonly whyNoRows: string | null;
  /** The errno of a server that starts on its address; null when it starts. */
  readonly refusal: ErrnoName | null;
  /** Who holds the port, as explainBind() names them. */
  readonly holders: readonly ExplainedHolder[];
  /** What was written to the socket. */
  readonly sent: string;
  /** What the same socket then read. */
  readonly received: string;
}

const SECRET = "hello, myself";
const ECHO_WAIT_MS = 1000;

/**
 * getsockname(2), getpeername(2), sock_diag(7), listen(2), send(2): looks at a socket joined to itself from all sides,
 * and writes some bytes to it. The socket stays open. Rejects with ERR_INVALID_ARGUMENT for another socket.
 */
export async function examineJoined(socket: TcpSocket): Promise<JoinedMoment> {
  if (!(socket instanceof TcpSocket) || !socket.isSelfConnected()) {
    const message = "examineJoined() takes a TcpSocket that is joined to itself";
    throw invalidArgument("ERR_INVALID_ARGUMENT", message);
  }
  const [local, peer] = [socket.getsockname(), socket.getpeername()];
  const table = readRows(local);
  const refusal = listenRefusal(local);
  const received = await echo(socket, new TextEncoder().encode(SECRET));
  const { holders } = explainBind(local);
  return {
    local,
    peer,
    ...table,
    refusal,
    holders,
    sent: SECRET,
    received: new TextDecoder().decode(received),
  };
}

function readRows(local: Address): Pick<JoinedMoment, "rows" | "whyNoRows"> {
  try {
    const rows = findFourTuple(local, local).map((row) => [row, socketOwner(row.inode)] as const);
    return { rows, whyNoRows: null };
  } catch (error) {
    return { rows: [], whyNoRows: (error as Error).message }; // Only Linux has /proc/net/tcp.
  }
}

/** Sends bytes and returns what the same socket then receives. */
async function echo(socket: TcpSocket, bytes: Uint8Array): Promise<Uint8Array> {
  socket.send(bytes);
  try {
    return await socket.receiveExactly(bytes.length, { deadlineMs: ECHO_WAIT_MS });
  } catch (error) {
    if (error instanceof WaitError && error.bytes) return error.bytes;
    throw error;
  }
}
