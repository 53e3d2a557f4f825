/** Tests whether a server can listen on an address now. */
import type { Address, LocalAddress } from "./address.ts";
import { checkLocalAddress } from "./address.ts";
import type { ErrnoName } from "./errors.ts";
import { SocketError } from "./errors.ts";
import type { OpenOptions } from "./options.ts";
import { TcpSocket } from "./socket.ts";

/**
 * bind(2), listen(2) with these options (default none). Returns the errno name, or null when listening worked. Throws
 * ERR_INVALID_ADDRESS.
 */
export function listenRefusal(address: LocalAddress, options: OpenOptions = {}): ErrnoName | null {
  return findListenError(checkLocalAddress(address), options)?.code ?? null;
}

/** listenRefusal() with the call that failed. */
export function findListenError(address: Address, options: OpenOptions = {}): SocketError | null {
  return findError(address, options, (socket) => socket.listen());
}

/**
 * bind(2) without listen(2), so that no client can connect meanwhile. Returns the errno name, or null when binding
 * worked: unless another socket listens first, listen(2) then works too.
 */
export function bindRefusal(address: Address, options: OpenOptions = {}): ErrnoName | null {
  return findError(address, options, () => {})?.code ?? null;
}

function findError(
  address: Address,
  options: OpenOptions,
  use: (bound: TcpSocket) => void,
): SocketError | null {
  try {
    using socket = TcpSocket.open(address.family, options);
    use(socket.bind(address));
    return null;
  } catch (error) {
    if (error instanceof SocketError) return error;
    throw error;
  }
}
