// Two sockets, no listener: each connects to the port that the other is bound to, as TCP hole punching does.
import { TcpSocket } from "selfconnect";

// A NAT between the two would drop the first RST. Here the socket drops it: it requires a TTL of 255 (RFC 5082).
// The other's SYN has it; the kernel's RST, sent with a TTL of 64, does not.
const one = TcpSocket.open(4, { minTimeToLive: 255 }).bind("127.0.0.1:0");
const other = TcpSocket.open(4, { timeToLive: 255 }).bind("127.0.0.1:0");

one.connect(other.getsockname());
other.connect(one.getsockname());
await Promise.all([one.connected(), other.connected()]);

one.send(new TextEncoder().encode("through the hole"));
const bytes = new Uint8Array(16);
other.recv(bytes);
console.log(new TextDecoder().decode(bytes));
one.reset();
other.close();
