// The same questions to dial(): node benchmarks/go/ours.mjs PORT DIALS [prevent|detect].
import { dial, listenRefusal } from "../../dist/index.js";

const [port, dials, guard = "prevent"] = process.argv.slice(2);
const peer = { family: 4, host: "127.0.0.1", port: Number(port) };
const counts = { dials: Number(dials), handedOut: 0, portNotFree: 0, rejected: 0 };
for (let i = 0; i < counts.dials; i++) {
  const onAttempt = ({ outcome }) => {
    if (outcome === "self-connect") counts.rejected++;
  };
  try {
    const { socket } = await dial(peer, { guard, onAttempt });
    if (socket.isSelfConnected()) counts.handedOut++;
    socket.reset();
  } catch {
    // Refused, as it should be.
  }
  if (listenRefusal(peer) !== null) counts.portNotFree++;
}
console.log(JSON.stringify(counts));
