// A server of several ports that does what its parent asks by messages, and answers each: listens on an address,
// accepts what waits on a port, or ends a port. It leaves no TIME-WAIT.
import { setTimeout as sleep } from "node:timers/promises";
import { TcpSocket } from "../../../dist/index.js";

const sockets = new Map();

function listen(address, options) {
  const socket = TcpSocket.open(address.family, options);
  try {
    socket.bind(address).listen();
  } catch (error) {
    socket.close();
    if (error.code === "EADDRINUSE" || error.code === "EADDRNOTAVAIL") return false;
    throw error;
  }
  sockets.set(address.port, [socket]);
  return true;
}

async function accept(port) {
  const [listener] = sockets.get(port);
  let accepted = null;
  for (let tries = 0; !accepted && tries < 1000; tries++) {
    accepted = listener.accept();
    if (!accepted) await sleep(1);
  }
  if (accepted) sockets.get(port).push(accepted);
  return accepted !== null;
}

function end(port) {
  for (const socket of sockets.get(port) ?? []) socket.reset();
  return sockets.delete(port);
}

process.on("message", async (asked) => {
  if (asked.listen) process.send(listen(asked.listen, asked.options));
  else process.send(asked.accept ? await accept(asked.accept) : end(asked.end));
});
