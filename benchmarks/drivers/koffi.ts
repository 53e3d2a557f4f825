/** koffi calling libc from JavaScript: socket(2), connect(2), close(2). Arguments: port, milliseconds. */
import os from "node:os";
import koffi from "koffi";

const [port, milliseconds] = process.argv.slice(2).map(Number);
const AF_INET = 2;
const SOCK_STREAM = 1;

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const connect = libc.func("int connect(int fd, const uint8_t *peer, unsigned int length)");
const close = libc.func("int close(int fd)");

const peer = new Uint8Array(16);
new Uint16Array(peer.buffer)[0] = AF_INET;
new DataView(peer.buffer).setUint16(2, port!);
peer.set([127, 0, 0, 1], 4);

run(100);
const startedAt = performance.now();
const count = run(milliseconds!);
console.log(JSON.stringify({ count, elapsedNs: (performance.now() - startedAt) * 1e6 }));

function run(durationMs: number): number {
  const endsAt = performance.now() + durationMs;
  let count = 0;
  for (; performance.now() < endsAt; count++) {
    const fd = socket(AF_INET, SOCK_STREAM, 0);
    const result = connect(fd, peer, peer.length);
    if (result === 0 || koffi.errno() !== os.constants.errno.ECONNREFUSED) throw new Error("not refused");
    close(fd);
  }
  return count;
}
