// An http server whose /metrics say how its guarded connects have ended, for Prometheus, without another package.
import { once } from "node:events";
import http from "node:http";
import { dial, guardStatistics } from "selfconnect";

function metrics() {
  const counts = Object.entries(guardStatistics());
  const lines = counts.map(([end, count]) => `selfconnect_connects_total{end="${end}"} ${count}`);
  return ["# TYPE selfconnect_connects_total counter", ...lines, ""].join("\n");
}

const server = http.createServer(({ url }, response) => {
  response.setHeader("content-type", "text/plain; version=0.0.4");
  response.end(url === "/metrics" ? metrics() : "");
});
await once(server.listen(0, "127.0.0.1"), "listening");
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

const { socket } = await dial(`127.0.0.1:${port}`); // The one guarded connect.
socket.reset();
const [response] = await once(
  http.get({ host: "127.0.0.1", port, path: "/metrics", agent: false }),
  "response",
);
for await (const bytes of response) process.stdout.write(bytes);
server.close();
