// Several listeners on one port, between which the kernel spreads the connections: SO_REUSEPORT. Each would be a
// process or a worker; here all are in one.
import { once } from "node:events";
import net from "node:net";
import { dial, TcpSocket } from "selfconnect";

const options = { reusePort: true };
const first = TcpSocket.open(4, options).bind("127.0.0.1:0").listen();
const address = first.getsockname();
const listeners = [first, TcpSocket.open(4, options).bind(address).listen()];

const served = listeners.map(() => 0);
const servers = listeners.map((listener, i) => {
  const server = net.createServer((socket) => {
    served[i] = (served[i] ?? 0) + 1;
    socket.end();
  });
  return server.listen({ fd: listener.release() });
});
await Promise.all(servers.map((server) => server.listening || once(server, "listening")));

for (let i = 0; i < 64; i++) {
  const { socket } = await dial(address);
  const stream = socket.toStream().resume();
  await once(stream, "close");
}
for (const server of servers) server.close();
const sum = served.reduce((total, count) => total + count);
console.log(`${sum} served, by each of ${servers.length}: ${served.every((count) => count > 0)}`);
