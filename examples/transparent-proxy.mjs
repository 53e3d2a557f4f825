// A proxy that neither side sees: it accepts what is sent to addresses that are not its own, and connects on from the
// client's address (IP_TRANSPARENT). It needs CAP_NET_ADMIN and routes, so it runs in a network namespace of its own:
//   unshare -rn node examples/transparent-proxy.mjs
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import os from "node:os";
import { dial, TcpSocket } from "selfconnect";

if (Object.keys(os.networkInterfaces()).some((name) => name !== "lo")) {
  throw new Error("it changes routes: run it with unshare -rn");
}
// What a router does with routes and nftables' tproxy: packets to these networks are delivered here.
for (const command of [
  "link set lo up",
  "route add local 192.0.2.0/24 dev lo",
  "route add local 198.51.100.0/24 dev lo",
]) {
  execFileSync("ip", command.split(" "));
}

const upstream = net.createServer((socket) => socket.end(`hello, ${socket.remoteAddress}`));
await once(upstream.listen(0, "127.0.0.1"), "listening");
const { port } = /** @type {net.AddressInfo} */ (upstream.address());

const options = { transparent: true };
const listener = TcpSocket.open(4, options).bind("0.0.0.0:0").listen();
const proxy = net.createServer({ allowHalfOpen: true }, async (client) => {
  console.log(`for ${client.localAddress}`); // The address that the client connected to.
  const { socket } = await dial(`127.0.0.1:${port}`, { local: `${client.remoteAddress}:0`, options });
  socket
    .toStream()
    .pipe(client)
    .on("error", () => undefined);
});
const { port: proxyPort } = listener.getsockname();
await once(proxy.listen({ fd: listener.release() }), "listening");

const { socket } = await dial(`192.0.2.7:${proxyPort}`, { local: "198.51.100.5:0", options });
for await (const bytes of socket.toStream()) console.log(String(bytes));
upstream.close();
proxy.close();
