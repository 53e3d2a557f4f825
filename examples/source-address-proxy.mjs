// A TCP proxy that connects on from several source addresses in turn: each has its own 28,232 ephemeral ports.
import { once } from "node:events";
import net from "node:net";
import { pipeline } from "node:stream/promises";
import { dial } from "selfconnect";

/** dial() takes them in turn, and passes over one that has no free port towards the upstream. */
const SOURCES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];

const seen = new Set();
const upstream = net.createServer((socket) => {
  seen.add(socket.remoteAddress);
  socket.pipe(socket);
});
const proxy = net.createServer({ allowHalfOpen: true }, serve);
for (const server of [upstream, proxy]) await once(server.listen(0, "127.0.0.1"), "listening");

/** @param {net.Socket} client */
async function serve(client) {
  const { port } = /** @type {net.AddressInfo} */ (upstream.address());
  try {
    // Without a port connect(2) picks it, for this source and this peer, so that they do not share one range.
    const { socket } = await dial(`127.0.0.1:${port}`, { local: SOURCES });
    await pipeline(client, socket.toStream(), client);
  } catch (error) {
    client.destroy(/** @type {Error} */ (error));
  }
}

const { port } = /** @type {net.AddressInfo} */ (proxy.address());
for (let i = 0; i < 6; i++) {
  const client = net.connect(port, "127.0.0.1").end("hello");
  const [bytes] = await once(client, "data");
  if (String(bytes) !== "hello") throw new Error(`the proxy returned ${bytes}`);
  await once(client, "close");
}
upstream.close();
proxy.close();
console.log([...seen].sort().join(" "));
