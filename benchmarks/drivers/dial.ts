/**
 * dial() to a dead port of a small ephemeral range: how often it returns a socket joined to itself, and how often the
 * port is not free afterwards. Arguments: port, milliseconds (not used), dials, guard.
 */
import { DialError, dial, listenRefusal, SocketError } from "../../lib/index.ts";

const [port, , dials, guard = "prevent"] = process.argv.slice(2);
const peer = { family: 4, host: "127.0.0.1", port: Number(port) } as const;
const counts = { handedOut: 0, portNotFree: 0, rejected: 0 };
const startedAt = performance.now();
for (let made = 0; made < Number(dials); made++) {
  try {
    const { socket } = await dial(peer, { guard: guard as "prevent" | "detect", onAttempt: countRejected });
    if (socket.isSelfConnected()) counts.handedOut++;
    socket.reset();
  } catch (error) {
    // Nothing listens there, so dial() should fail.
    if (!(error instanceof DialError || error instanceof SocketError)) throw error;
  }
  if (listenRefusal(peer) !== null) counts.portNotFree++;
}
console.log(
  JSON.stringify({ count: Number(dials), elapsedNs: (performance.now() - startedAt) * 1e6, counts }),
);

function countRejected({ outcome }: { readonly outcome: string }): void {
  if (outcome === "self-connect") counts.rejected++;
}
