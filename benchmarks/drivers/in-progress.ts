/**
 * Many sockets in connected() at a time: connects that a full backlog leaves without an answer, all refused in the end
 * because the listeners go. Tells the CPU time for all of it. Arguments: port and milliseconds (not used), how many.
 */
import { TcpSocket } from "../../lib/index.ts";

const wanted = Number(process.argv[4] ?? 1000);
/** As many to each listener: the kernel's search for a local port then costs the same at every size. */
const PER_LISTENER = 1000;
/** Small numbers are measured several times over, for the CPU time of one is too short. */
const AT_LEAST = 4000;

await run(PER_LISTENER);
const repeats = Math.ceil(AT_LEAST / wanted);
const before = process.cpuUsage();
for (let i = 0; i < repeats; i++) await run(wanted);
const { user, system } = process.cpuUsage(before);
console.log(JSON.stringify({ count: wanted * repeats, elapsedNs: (user + system) * 1000 }));

async function run(count: number): Promise<void> {
  const backlogs = Array.from({ length: Math.ceil(count / PER_LISTENER) }, fillBacklog);
  const waits: Promise<string>[] = [];
  for (let i = 0; i < count; i++) {
    const socket = TcpSocket.open(4);
    const state = socket.connect(backlogs[i % backlogs.length]!.address);
    if (state !== "in-progress") throw new Error("connected to a full backlog");
    waits.push(awaitEnding(socket));
  }
  for (const { sockets } of backlogs) for (const socket of sockets) socket.reset();
  const endings = new Set(await Promise.all(waits));
  if (endings.size !== 1 || !endings.has("ECONNREFUSED"))
    throw new Error(`ended by ${[...endings].join(", ")}`);
}

/** A listener that answers no more: the one place of its backlog is taken. */
function fillBacklog() {
  const listener = TcpSocket.open(4).bind({ family: 4, host: "127.0.0.1", port: 0 }).listen(0);
  const address = listener.getsockname();
  const filler = TcpSocket.open(4);
  filler.connect(address);
  return { address, sockets: [filler, listener] };
}

async function awaitEnding(socket: TcpSocket): Promise<string> {
  try {
    await socket.connected();
    return "connected";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  } finally {
    socket.close();
  }
}
