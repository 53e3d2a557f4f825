/** TcpSocket to a live listener: connect, wait until connected, reset. Arguments: port, milliseconds. */
import { TcpSocket } from "../../lib/index.ts";
import { measure } from "../measure.ts";

const [port, milliseconds] = process.argv.slice(2).map(Number);
const peer = { family: 4, host: "127.0.0.1", port: port! } as const;

await measure(run, milliseconds!);

async function run(durationMs: number): Promise<number> {
  const endsAt = performance.now() + durationMs;
  let count = 0;
  for (; performance.now() < endsAt; count++) {
    const socket = TcpSocket.open(4);
    if (socket.connect(peer) === "in-progress") await socket.connected();
    socket.reset();
  }
  return count;
}
