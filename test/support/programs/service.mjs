// The article's story: node service.mjs PORT RESTARTS CLIENT… runs a client that reconnects at full speed while a
// service on PORT dies and starts again, each time by a plain bind and listen: no SO_REUSEADDR. Prints one object.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { isSelfConnect, listenRefusal, TcpSocket } from "../../../dist/index.js";
import { socketTable } from "../../../dist/kernel/index.js";

const [portText, restartsText, ...clientArguments] = process.argv.slice(2);
const host = process.env.HOST ?? "127.0.0.1";
const address = { family: host.includes(":") ? 6 : 4, host, port: Number(portText) };
const DOWN_MS = 15;
const UP_MS = 10;
/** On a busy machine the client may not run for so long: the service waits at first until one connection came. */
const FIRST_MS = 5000;
const story = { restarts: 0, refusals: [], accepted: 0, selfConnectsSeen: 0, client: null };

const client = spawn(process.execPath, clientArguments, { stdio: ["pipe", "pipe", "inherit", "ipc"] });
let output = "";
client.stdout.on("data", (text) => (output += text));
const ended = new Promise((resolve) => client.stdout.once("data", resolve));

// The client starts while the service is down and reports that, because some clients start more slowly than 20
// restarts. Then the service restarts for as long as the client runs.
await once(client, "message");
let isOver = false;
let isReleased = false;
ended.then(() => (isOver = true));
while (!isOver) {
  await Promise.race([sleep(DOWN_MS + Math.random() * DOWN_MS), ended]);
  look();
  if (!isOver && story.restarts < Number(restartsText)) await restart();
  else release();
}
look();
// The client has ended, or keeps a socket that it believes to be connected: can the service start now?
story.refusalAtTheEnd = listenRefusal(address);
story.client = JSON.parse(output);
client.stdin.end();
await new Promise((resolve) => client.once("exit", resolve));
console.log(JSON.stringify(story));

/** Lets the client end. */
function release() {
  if (!isReleased) client.stdin.write("\n");
  isReleased = true;
}

async function restart() {
  story.restarts++;
  const listener = TcpSocket.open(address.family);
  try {
    listener.bind(address).listen();
  } catch (error) {
    story.refusals.push(error.code);
    listener.close();
    return;
  }
  const startedAt = performance.now();
  const isUp = () => performance.now() - startedAt < (story.accepted > 0 ? UP_MS : FIRST_MS);
  while (isUp()) {
    const connection = listener.accept();
    if (connection) story.accepted++;
    // A reset leaves no TIME-WAIT, so only the client's socket can keep the port.
    connection?.reset();
    if (!connection) await sleep(1);
  }
  for (let rest = listener.accept(); rest; rest = listener.accept()) rest.reset();
  listener.close();
}

/** Counts the client's sockets that are joined to themselves in the kernel's socket table. */
function look() {
  story.selfConnectsSeen += socketTable().filter(
    ({ local, peer, state }) =>
      state === "ESTABLISHED" && local.port === address.port && isSelfConnect(local, peer),
  ).length;
}
