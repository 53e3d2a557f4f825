/** Tests whether a server can listen on an address now: starts one. */
import type { Address } from "./address.ts";
import type { ErrnoName } from "./errors.ts";
import { SocketError } from "./errors.ts";
import type { SocketOptions } from "./options.ts";
import { TcpSocket } from "./socket.ts";

/** bind(2), listen(2) with these options (default none). Returns the errno name, or null when listening worked. */
export function listenRefusal(address: Address, options: Partial<SocketOptions> = {}): ErrnoName | null {
  using listener = TcpSocket.open(address.family, options);
  try {
    listener.bind(address).listen();
    return null;
  } catch (error) {
    if (error instanceof SocketError) return error.code;
    throw error;
  }
}
