// A process at its limit of open files: many connects at once. Prints how they ended, and that sockets work again after.
import { connectMany, listen, TcpSocket } from "../../../dist/index.js";

const listener = listen("0.0.0.0:0", { backlog: 500 });
const peers = Array.from({ length: 200 }, (_, i) => `127.0.1.${i + 1}:${listener.getsockname().port}`);
const outcomes = {};
const sockets = [];
try {
  for await (const { outcome, socket } of connectMany(peers, { concurrency: 200, deadlineMs: 2000 })) {
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (socket) sockets.push(socket);
  }
} catch ({ code, message }) {
  outcomes[code] = message;
}
for (const socket of sockets) socket.reset();
TcpSocket.open(4).close();
listener.close();
console.log(JSON.stringify(outcomes));
