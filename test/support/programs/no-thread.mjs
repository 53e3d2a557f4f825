// A process at its limit of threads: prints what each call that needs one throws.
import { spawnSync } from "node:child_process";
import { ReconnectLoop, TcpSocket } from "../../../dist/index.js";

const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen(0);
const peer = listener.getsockname();
// Its backlog is full after the first connect: a later SYN is unanswered, and the connect must wait.
const clients = Array.from({ length: 4 }, () => TcpSocket.open(4));
for (const client of clients) client.connect(peer);
const sides = [0, 1].map(() => TcpSocket.open(4).bind("127.0.0.1:0"));
const loop = new ReconnectLoop({ peer, attempts: 10, threads: 2 });

// The limit does not apply to root.
if (process.getuid() === 0) process.setuid(65_534);
const limited = spawnSync("prlimit", ["--pid", String(process.pid), "--nproc=1:1"]);
if (limited.status !== 0) {
  console.log("null");
} else {
  const calls = {
    connected: () => clients[3].connected({ deadlineMs: 5000 }),
    loop: () => loop.run(),
    meet: async () => TcpSocket.meet(...sides),
  };
  const errors = {};
  for (const [name, call] of Object.entries(calls)) {
    errors[name] = await call().then(
      () => "no error",
      ({ name: kind, code, syscall, message }) => ({ kind, code, syscall, message }),
    );
  }
  console.log(JSON.stringify(errors));
}
