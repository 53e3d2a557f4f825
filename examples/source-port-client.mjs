// A client whose local port is one of a few, as a firewall rule between two hosts may demand.
import { dial, TcpSocket } from "selfconnect";

const server = TcpSocket.open(4).bind("127.0.0.1:0").listen();

// IP_LOCAL_PORT_RANGE (Linux 6.3): the kernel picks a free one of these, and the guard leaves out the peer's own.
const localPortRange = { low: 40_000, high: 40_099 };
const { socket, local } = await dial(server.getsockname(), { options: { localPortRange } });
console.log(`connected from a port of the range: ${local.port >= 40_000 && local.port <= 40_099}`);
socket.reset();

// One port, on every kernel: SO_REUSEADDR, or the next connect from it fails while it is in TIME-WAIT.
const fixed = await dial(server.getsockname(), { local, options: { reuseAddress: true } });
console.log(`connected from the same port again: ${fixed.local.port === local.port}`);
fixed.socket.reset();
server.close();
