// A program that does not use this package: node innocent.mjs PORT HOW. It connects from the peer's port, which is a
// self-connect at once, and prints the outcome.
import { fork, spawnSync } from "node:child_process";
import net from "node:net";
import { isMainThread, Worker } from "node:worker_threads";

const [portText, how] = process.argv.slice(2);
const port = Number(portText);
const file = new URL(import.meta.url).pathname;

if (how === "worker" && isMainThread) new Worker(file, { argv: [portText, "here"] });
else if (how === "fork") fork(file, [portText, "here"]);
else if (how === "spawn") {
  spawnSync(process.execPath, [file, portText, "here"], { stdio: "inherit" });
} else connect(how === "off" ? { guard: "off" } : {});

function connect(options) {
  const socket = net.connect({ host: "127.0.0.1", port, localPort: port, ...options });
  socket.on("error", ({ code, name, cause }) => console.log(`${name} ${code} ${cause?.code}`));
  socket.on("connect", () => {
    console.log(`connected ${socket.localPort === socket.remotePort ? "to itself" : "to another"}`);
    socket.resetAndDestroy();
  });
}
