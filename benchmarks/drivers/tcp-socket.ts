/** TcpSocket to a live listener: connect, wait until connected, reset. Arguments: port, milliseconds. */
import { TcpSocket } from "../../lib/index.ts";

const [port, milliseconds] = process.argv.slice(2).map(Number);
const peer = { family: 4, host: "127.0.0.1", port: port! } as const;

await run(100);
const startedAt = performance.now();
const count = await run(milliseconds!);
console.log(JSON.stringify({ count, elapsedNs: (performance.now() - startedAt) * 1e6 }));

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
