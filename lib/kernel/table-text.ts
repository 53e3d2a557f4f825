/** Reads the whole of /proc/net/tcp on libuv's threads, piece by piece, and decodes only what a caller asks for. */
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import type { TcpState } from "../socket/tcp-state.ts";
import { decodeState } from "../socket/tcp-state.ts";
import type { SocketRow, TableSocket } from "./tables.ts";
import { parseRow, TABLE_STATES } from "./tables.ts";

/** At most this much of the text is looked at in one turn of the event loop: some 400 rows. The kernel returns less. */
const PIECE_BYTES = 65_536;
/** The number of the row, and the host and the port of both addresses, then the state. The first line has none. */
const ROW = /^ *\d+: ([\dA-F]+):([\dA-F]{4}) ([\dA-F]+):([\dA-F]{4}) ([\dA-F]{2}) /;

/**
 * proc(5), /proc/net/tcp and tcp6: visits every socket of this network namespace. A kernel that was started without
 * IPv6 has no tcp6. Rejects with ENOENT when tcp is missing.
 */
export async function walkTableText(visit: (socket: TableSocket) => void): Promise<void> {
  const files = ["/proc/net/tcp", ...["/proc/net/tcp6"].filter((file) => existsSync(file))];
  for (const file of files) {
    for await (const lines of readLines(file)) {
      for (const line of lines) {
        const parts = ROW.exec(line);
        if (parts) visit(new TextSocket(line, parts));
      }
    }
  }
}

/** Yields the complete lines of each piece. */
async function* readLines(file: string): AsyncGenerator<string[], void, void> {
  const handle = await open(file);
  try {
    const piece = Buffer.alloc(PIECE_BYTES);
    let rest = "";
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, PIECE_BYTES, null);
      if (bytesRead === 0) return;
      const lines = (rest + piece.toString("latin1", 0, bytesRead)).split("\n");
      rest = lines.pop()!;
      yield lines;
    }
  } finally {
    await handle.close();
  }
}

/** A row of the text. */
class TextSocket implements TableSocket {
  readonly state: TcpState;
  readonly localPort: number;
  readonly peerPort: number;
  readonly isJoined: boolean;
  readonly path: string;
  readonly isV6Only = false;
  readonly isMultipath = false;
  readonly #line: string;

  constructor(line: string, [, localHost, localPort, peerHost, peerPort, state]: RegExpExecArray) {
    this.#line = line;
    this.state = decodeState(TABLE_STATES, Number.parseInt(state!, 16));
    this.localPort = Number.parseInt(localPort!, 16);
    this.peerPort = Number.parseInt(peerPort!, 16);
    this.isJoined = localHost === peerHost && localPort === peerPort;
    this.path = `${localHost} ${peerHost}:${peerPort}`;
  }

  get inode(): number {
    return parseRow(this.#line).inode;
  }

  get timerMs(): number {
    return parseRow(this.#line).timerMs;
  }

  keep(): () => SocketRow {
    return () => parseRow(this.#line);
  }
}
