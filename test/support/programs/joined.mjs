// Joins a socket to itself on a port, and reports what becomes of it. Arguments: port, then "stream" (bound, and a
// net.Socket, which Node closes at an error), "bound" or "picked" (which nobody closes before a line on stdin; the
// kernel picks the port of the last).
import { TcpSocket } from "../../../dist/index.js";

const [port, how] = [Number(process.argv[2]), process.argv[3]];
const local = { family: 4, host: "127.0.0.1", port };
const socket = TcpSocket.open(4, how === "picked" ? { localPortRange: { low: port, high: port } } : {});
if (how !== "picked") socket.bind(local);
socket.connect(local);
await socket.connected();
console.log("joined");

if (how === "stream") {
  socket.toStream().on("error", ({ code }) => console.log(code));
} else {
  process.stdin.once("data", () => {
    console.log(socket.takeError()?.code ?? "no error");
    socket.close();
    console.log("closed");
  });
}
process.stdin.on("end", () => process.exit());
process.stdin.resume();
