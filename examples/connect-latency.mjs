// How long connect(2) takes, measured on the live http requests of a program: without the request and the response.
// Beside it the round trip that the kernel measured on the same connections (TCP_INFO), which leaves out this program.
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import http from "node:http";
import { createHistogram } from "node:perf_hooks";
import { guardAgent, socketOptions } from "selfconnect";

const latencyUs = createHistogram();
const roundTripUs = createHistogram();
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
  const request = http.get({ host: "127.0.0.1", port, agent });
  const [response] = await once(request, "response");
  roundTripUs.record(Math.max(1, socketOptions(request).information().roundTripTimeUs ?? 1));
  response.resume();
  await once(response, "end");
}
server.close();
console.log(`${latencyUs.count} connects`);
for (const [what, times] of Object.entries({ connect: latencyUs, "round trip": roundTripUs }))
  console.log(`${what}: p50 ${times.percentile(50)} us, p99 ${times.percentile(99)} us`);
