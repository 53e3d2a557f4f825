// Connects to a service whose only backend is this host, where nothing listens: node balanced.mjs HOST PORT COUNT.
// Prints, for each way, how many sockets were handed out as connected.
import { connect, dial, TcpSocket } from "../../../dist/index.js";

const [host, portText, countText] = process.argv.slice(2);
const port = Number(portText);
const handedOut = { off: 0, prevent: 0, detect: 0, dial: 0, refusals: 0, proven: 0 };

for (const guard of ["off", "prevent", "detect"]) {
  for (let i = 0; i < Number(countText); i++) {
    await new Promise((closed) => {
      const socket = connect({ host, port, guard });
      socket.on("connect", () => {
        handedOut[guard]++;
        socket.resetAndDestroy();
      });
      socket.on("error", ({ isSelfConnect }) => {
        if (isSelfConnect) handedOut.refusals++;
      });
      socket.on("close", closed);
    });
  }
}
for (let i = 0; i < Number(countText); i++) {
  const { socket } = await dial(`${host}:${port}`, { attempts: 1 }).catch(() => ({}));
  if (socket) handedOut.dial++;
  socket?.reset();
}
// A raw socket, until one is joined to itself: getpeername(2) shows another.
for (let i = 0; i < Number(countText) && handedOut.proven === 0; i++) {
  const socket = TcpSocket.open(4);
  socket.connect(`${host}:${port}`);
  await socket.connected().catch(() => {});
  if (socket.state === "connected" && socket.isSelfConnected() && socket.getpeername().host === host)
    handedOut.proven = 1;
  socket.reset();
}
console.log(JSON.stringify(handedOut));
