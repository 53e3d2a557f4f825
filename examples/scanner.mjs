// Which of these ports have a listener? At most 64 connects at a time and 2,000 in a second, each for half a second.
import { connectMany, TcpSocket } from "selfconnect";

const listeners = [1, 2, 3].map(() => TcpSocket.open(4).bind("127.0.0.1:0").listen());
const open = listeners.map((listener) => listener.getsockname().port).sort();

function* addresses() {
  for (const port of open) yield { family: /** @type {const} */ (4), host: "127.0.0.1", port };
  for (let port = 1; port <= 200; port++) yield `127.0.0.1:${port}`;
}

/** @type {number[]} */
const found = [];
const limits = { concurrency: 64, perSecond: 2000, deadlineMs: 500 };
for await (const { address, socket } of connectMany(addresses(), limits)) {
  if (!socket) continue;
  found.push(address.port);
  socket.reset();
}
for (const listener of listeners) listener.close();
console.log(`found every listener: ${open.every((port) => found.includes(port))}`);
