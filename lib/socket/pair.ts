/** Connects two sockets to each other over loopback: TcpSocket.pair(), which imports this file. */
import type { Address } from "./address.ts";
import { isSameAddress } from "./address.ts";

/** What a pair needs of a TcpSocket. */
interface PairedSocket<S> {
  bind(local: Address): this;
  listen(): this;
  connect(peer: Address): unknown;
  connected(): Promise<unknown>;
  accepted(): Promise<S>;
  getsockname(): Address;
  getpeername(): Address;
  reset(): void;
  close(): void;
}

/** Returns the socket that called connect(2) and the one that accept4(2) returned. After an error none is open. */
export async function connectPair<S extends PairedSocket<S>>(family: 4 | 6, open: () => S): Promise<[S, S]> {
  const listener = open();
  try {
    listener.bind({ family, host: family === 4 ? "127.0.0.1" : "::1", port: 0 }).listen();
    const client = open();
    try {
      client.connect(listener.getsockname());
      await client.connected();
      return [client, await acceptFrom(listener, client.getsockname())];
    } catch (error) {
      client.reset();
      throw error;
    }
  } finally {
    listener.close();
  }
}

/** Accepts the connection of this peer. Other programs can find the listener too: their connections are reset. */
async function acceptFrom<S extends PairedSocket<S>>(listener: S, peer: Address): Promise<S> {
  for (;;) {
    const accepted = await listener.accepted();
    try {
      if (isSameAddress(accepted.getpeername(), peer)) return accepted;
    } catch (error) {
      accepted.reset();
      throw error;
    }
    accepted.reset();
  }
}
