/** The fd census around every test file: it fails when sockets are left open or garbage collection had to close one. */
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect } from "vitest";
import { loadNative } from "../../lib/socket/native.ts";
import { endPrograms } from "./harness.ts";

const SETTLE_MS = 2000;
let before: string[];

beforeAll(() => {
  before = openSockets();
});

afterAll(async () => {
  endPrograms();
  // Node closes handles on the next turn of its loop, and a peer's end a little later.
  const endsAt = performance.now() + SETTLE_MS;
  while (left().length > 0 && performance.now() < endsAt) await sleep(10);
  expect(left(), "sockets that this file left open: close, reset or release each").toEqual([]);
  expect(loadNative().leaks(), "sockets that garbage collection had to close").toBe(0);
});

function left(): string[] {
  return openSockets().filter((socket) => !before.includes(socket));
}

function openSockets(): string[] {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // The fd of the listing itself, closed by now.
    }
  });
  return links.filter((link) => link.startsWith("socket:"));
}
