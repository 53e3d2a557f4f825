/** Tests that leave descriptors open; test/census.test.ts runs them and expects the census to name each. */
import { once } from "node:events";
import { openSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { it } from "vitest";
import { TcpSocket } from "../../../lib/socket/socket.ts";

/** Keeps references, so that garbage collection does not close the descriptors. */
const forgotten: unknown[] = [];

it("forgets a socket", () => {
  forgotten.push(TcpSocket.open(4));
});

it("closes what it opens", () => {
  TcpSocket.open(4).close();
});

it("forgets a file", () => {
  openSync("/dev/null", "r");
});

it("forgets a worker, with its epoll and its pipes", async () => {
  const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
  await once(worker, "online");
  forgotten.push(worker);
});
