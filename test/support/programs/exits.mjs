// Joins sockets to themselves on the addresses of its arguments, one in each of three ways, and ends by process.exit().
import { TcpSocket } from "../../../dist/index.js";

const WAYS = [
  // The kernel has joined it when connect() returns.
  (socket, self) => socket.connect(self),
  async (socket, self) => {
    socket.connect(self);
    await socket.connected();
  },
  // Nobody takes it.
  (socket, self) => {
    socket.connect(self);
    socket.transfer();
  },
];

for (const [index, self] of JSON.parse(process.argv[2]).entries()) {
  const socket = TcpSocket.open(self.family).bind(self);
  await WAYS[index % WAYS.length](socket, self);
}
process.exit();
