/** What a self-connect does to others, found out by doing it: who can listen on its port, and who gets its bytes. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Address } from "./address.ts";
import { SocketError } from "./errors.ts";
import type { SocketOptions } from "./options.ts";
import { TcpSocket } from "./socket.ts";

const ECHO_WAIT_MS = 1000;

/** bind(2), listen(2), with no option unless said: the errno name that such a server gets, or null when it starts. */
export function listenRefusal(address: Address, options: Partial<SocketOptions> = {}): string | null {
  using listener = TcpSocket.open(address.family, options);
  try {
    listener.bind(address).listen();
    return null;
  } catch (error) {
    if (error instanceof SocketError) return error.code;
    throw error;
  }
}

/** Sends bytes and gives back what the same socket then receives. */
export async function echo(socket: TcpSocket, bytes: Uint8Array): Promise<Uint8Array> {
  socket.send(bytes);
  const received = new Uint8Array(bytes.length);
  const endsAt = performance.now() + ECHO_WAIT_MS;
  let length = 0;
  while (length < received.length && performance.now() < endsAt) {
    const count = socket.recv(received.subarray(length));
    if (count === 0) break;
    if (count === null) await sleep(1);
    else length += count;
  }
  return received.subarray(0, length);
}
