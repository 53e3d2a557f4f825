// node [--require selfconnect/register] client-program.mjs NAME MODULE URL: connects a client of docs/clients.md until its
// server answers. To its parent it sends how its connects have ended, again and again; at the end also how often it had
// to make a client, and how many sockets that are joined to themselves a client got.
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { guardStatistics } from "../../dist/index.js";

const REPORT_MS = 20;
const RETRY_MS = 5;

const [name, module, url] = process.argv.slice(2);

/** One question to each kind of client; resolves to whether the answer is right. */
const QUESTIONS = {
  "@grpc/grpc-js": async (client) => {
    const same = (bytes) => bytes;
    await promisify(client.waitForReady.bind(client))(Date.now() + 60_000);
    const ask = promisify(client.makeUnaryRequest.bind(client, "/test/Echo", same, same));
    return (await ask(Buffer.from("asked"))).toString() === "asked";
  },
  amqplib: async (client) => (await client.createChannel()) !== null,
  axios: async (client) => (await client.get(url)).data === "asked",
  got: async (client) => (await client(url)).body === "asked",
  ioredis: async (client) => (await client.echo("asked")) === "asked",
  kafkajs: (client) => client.admin().connect().then(isTrue),
  mariadb: async (client) => (await client.query("select 'asked' as answer"))[0].answer === "asked",
  mongodb: async (client) => (await client.db("admin").command({ ping: 1 })).ok === 1,
  mqtt: (client) => onceAtLast(client, "connect"),
  mysql2: async (client) => (await client.query("select 'asked' as answer"))[0][0].answer === "asked",
  nats: (client) => client.flush().then(isTrue),
  "node:http2": async (client) => {
    await once(client, "connect");
    const stream = client.request({ ":path": "/" });
    const [{ ":status": status }] = await once(stream, "response");
    return status === 200;
  },
  nodemailer: (client) => client.verify(),
  pg: async (client) => {
    await client.connect();
    return (await client.query("select 'asked' as answer")).rows[0].answer === "asked";
  },
  postgres: async (client) => (await client`select 'asked' as answer`)[0].answer === "asked",
  redis: async (client) => {
    await client.connect();
    return (await client.echo("asked")) === "asked";
  },
  "socket.io-client": (client) => onceAtLast(client, "connect"),
  ssh2: (client) => once(client, "handshake").then(isTrue),
  undici: async (client) => {
    const { body } = await client.request({ origin: url, path: "/", method: "GET" });
    return (await body.text()) === "asked";
  },
  ws: (client) => once(client, "open").then(isTrue),
};

const isTrue = () => true;

/** Waits for an event also of a client that emits errors, and connects again by itself. */
const onceAtLast = (client, event) => new Promise((resolve) => client.once(event, () => resolve(true)));

/** Whether two ends have the same address, as the client itself would see it. */
let selfConnects = 0;
const { emit } = net.Socket.prototype;
net.Socket.prototype.emit = function (event, ...values) {
  if (event === "connect" && this.remotePort && this.localPort === this.remotePort) selfConnects++;
  return emit.call(this, event, ...values);
};

/** Clients report a lost connection also where nobody listens for it; the answer counts. */
let lastError;
process.on("uncaughtException", (error) => {
  lastError = error;
});

process.on("disconnect", process.exit);

const report = (more) => process.send({ ...guardStatistics(), selfConnects, ...more });
setInterval(report, REPORT_MS);

for (let made = 1; ; made++) {
  try {
    const { client } = await import(`${module}?${made}`);
    client.on?.("error", (error) => {
      lastError = error;
    });
    if (await QUESTIONS[name](client)) {
      report({ made, answered: true });
      process.exit();
    }
  } catch (error) {
    lastError = error;
  }
  if (process.env.DEBUG) console.error(made, lastError);
  await sleep(RETRY_MS);
}
