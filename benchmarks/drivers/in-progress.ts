/**
 * Many sockets in connected() at a time: a full backlog leaves their SYNs unanswered, and all are refused when the
 * listeners close. Prints the CPU time of all this. Arguments: port and milliseconds (not used), how many.
 */
import { TcpSocket } from "../../lib/index.ts";

const wanted = Number(process.argv[4] ?? 1000);
/** Sockets per listener, constant so that the kernel's search for a local port costs the same at every size. */
const PER_LISTENER = 1000;
/** Few sockets are measured several times, because the CPU time of one run is too short. */
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

/** Opens a listener that answers no SYN, because its backlog of one is full. */
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
