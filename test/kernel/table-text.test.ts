/** /proc/net/tcp in pieces: the same rows, and the event loop turns between them. */
import { afterEach, expect, it } from "vitest";
import { walkTableText } from "../../lib/kernel/table-text.ts";
import type { TableSocket } from "../../lib/kernel/tables.ts";
import { socketTable } from "../../lib/kernel/tables.ts";
import { isSelfConnect } from "../../lib/socket/self-connect.ts";
import { deadPeer, FAMILIES, needsFiles } from "../support/harness.ts";
import { plant, resetPlanted } from "../support/planted.ts";

const CONNECTIONS = 400;
/** More rows than one piece of the text can have, and less than the connections have. */
const MOST_ROWS = 500;

afterEach(resetPlanted);

/** Visits the sockets that have one of these ports at an end. */
async function walkPorts(ports: readonly number[], visit: (socket: TableSocket) => void): Promise<void> {
  await walkTableText((socket) => {
    if (ports.includes(socket.localPort) || ports.includes(socket.peerPort)) visit(socket);
  });
}

it("has the rows that the whole text has, with their ports and states before they are decoded", async () => {
  const peers = FAMILIES.flatMap((family) => {
    const [live, self] = [deadPeer(family), deadPeer(family)];
    plant(family).bind(live).listen();
    plant(family).connect(live);
    plant(family).bind(self).connect(self);
    return [live, self];
  });
  const ports = peers.map(({ port }) => port);
  const decoded: unknown[] = [];
  await walkPorts(ports, (socket) => {
    const row = socket.keep()();
    decoded.push(row);
    const { state, localPort, peerPort, isJoined } = socket;
    expect({ state, localPort, peerPort, isJoined }).toEqual({
      state: row.state,
      localPort: row.local.port,
      peerPort: row.peer.port,
      isJoined: isSelfConnect(row.local, row.peer),
    });
  });
  const isMine = (port: number) => ports.includes(port);
  const rows = socketTable().filter(({ local, peer }) => isMine(local.port) || isMine(peer.port));
  expect(decoded).toEqual(rows);
  // A listener, both ends of a connection, and a socket joined to itself, of both families.
  expect(decoded).toHaveLength(8);
});

it("looks at one piece of the text in a turn of the event loop; control: the whole text has more rows", async (context) => {
  needsFiles(context, CONNECTIONS + 100);
  const address = deadPeer(4);
  plant(4).bind(address).listen(CONNECTIONS);
  for (let count = 0; count < CONNECTIONS; count++) plant(4).connect(address);
  let turn = 0;
  const rows: number[] = [];
  let timer = setImmediate(function next() {
    turn++;
    timer = setImmediate(next);
  });
  await walkTableText(() => (rows[turn] = (rows[turn] ?? 0) + 1));
  clearImmediate(timer);
  expect(Math.max(...rows.filter(Boolean))).toBeLessThan(MOST_ROWS);
  expect(socketTable().length).toBeGreaterThan(MOST_ROWS);
});

it("a path is shared by the sockets of the same local host and the same peer", async () => {
  const address = deadPeer(4);
  plant(4).bind(address).listen();
  for (let count = 0; count < 3; count++) plant(4).connect(address);
  plant(4).bind({ family: 4, host: "127.0.0.2", port: 0 }).connect(address);
  const paths: string[] = [];
  await walkTableText((socket) => void (socket.peerPort === address.port && paths.push(socket.path)));
  expect(paths).toHaveLength(4);
  expect(new Set(paths).size).toBe(2);
});
