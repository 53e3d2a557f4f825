/**
 * koffi calling libc from JavaScript: socket(2), connect(2), close(2). Arguments: port, milliseconds, "dead" or "live"
 * (connect and reset).
 */
import os from "node:os";
import koffi from "koffi";
import { measure } from "../measure.ts";

const [port, milliseconds, kind = "dead"] = process.argv.slice(2);
const AF_INET = 2;
const expected = kind === "dead" ? os.constants.errno.ECONNREFUSED : 0;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_LINGER = 13;

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const connect = libc.func("int connect(int fd, const uint8_t *peer, unsigned int length)");
const setsockopt = libc.func(
  "int setsockopt(int fd, int level, int name, const int *value, unsigned int length)",
);
const close = libc.func("int close(int fd)");

const peer = new Uint8Array(16);
new Uint16Array(peer.buffer)[0] = AF_INET;
new DataView(peer.buffer).setUint16(2, Number(port));
peer.set([127, 0, 0, 1], 4);
const hard = new Int32Array([1, 0]);

await measure(run, Number(milliseconds));

function run(durationMs: number): number {
  const endsAt = performance.now() + durationMs;
  let count = 0;
  for (; performance.now() < endsAt; count++) {
    const fd = socket(AF_INET, SOCK_STREAM, 0);
    const result = connect(fd, peer, peer.length);
    const errno = result === 0 ? 0 : koffi.errno();
    if (errno !== expected) throw new Error(`connect returned errno ${errno}, not ${expected}`);
    if (errno === 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, hard, hard.byteLength);
    close(fd);
  }
  return count;
}
