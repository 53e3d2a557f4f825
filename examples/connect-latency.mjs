// How long connect(2) takes, measured on the live http requests of a program: without the request and the response.
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import http from "node:http";
import { createHistogram } from "node:perf_hooks";
import { guardAgent } from "selfconnect";

const latencyUs = createHistogram();
subscribe("selfconnect:attempt", (message) => {
  const { attempt } = /** @type {import("selfconnect").AttemptMessage} */ (message);
  if (attempt.outcome === "connected") latencyUs.record(Math.max(1, Math.round(attempt.elapsedMs * 1000)));
});

const server = http.createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

// keepAlive is off, so that each request connects.
const agent = guardAgent(new http.Agent({ keepAlive: false }));
for (let i = 0; i < 50; i++) {
  const [response] = await once(http.get({ host: "127.0.0.1", port, agent }), "response");
  response.resume();
  await once(response, "end");
}
server.close();
console.log(`${latencyUs.count} connects`);
console.log(`p50 ${latencyUs.percentile(50)} us, p99 ${latencyUs.percentile(99)} us`);
