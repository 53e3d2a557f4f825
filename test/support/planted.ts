/** Sockets that a test leaves open for what it observes, and that are reset after it. */
import type { OpenOptions } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";

/** In the order in which they were planted. */
export const planted: TcpSocket[] = [];

export function plant(family: 4 | 6, options: OpenOptions = {}): TcpSocket {
  return keep(TcpSocket.open(family, options));
}

/** Plants a socket that is open already. */
export function keep(socket: TcpSocket): TcpSocket {
  planted.push(socket);
  return socket;
}

export function resetPlanted(): void {
  for (const socket of planted.splice(0)) socket.reset();
}
