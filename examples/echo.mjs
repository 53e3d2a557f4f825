// An echo server and its client on bare sockets: a wait may have a deadline, and bytes that arrived before it are kept.
import { TcpSocket } from "selfconnect";

const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen();

async function serve() {
  for await (const socket of listener) {
    await socket.sendAll(await socket.receiveExactly(5, { deadlineMs: 1000 }));
    socket.close();
  }
}

const serving = serve();
const socket = TcpSocket.open(4);
socket.connect(listener.getsockname());
await socket.sendAll(new TextEncoder().encode("hello")); // Waits for the connect first.
console.log(new TextDecoder().decode(await socket.receiveExactly(5)));
const error = await socket.receiveExactly(1, { deadlineMs: 1000 }).catch((reason) => reason);
console.log(error.code, error.transferred); // ERR_END_OF_STREAM 0
socket.close();
listener.close(); // Ends the loop.
await serving;
