/** What the tests of dial()'s policy have in common: names, and kernels that answer as told. */
import dns from "node:dns/promises";
import { expect, vi } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import type { DialError } from "../../lib/socket/errors.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { OpenOptions } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { LOOPBACK, withNative } from "./harness.ts";

export const AT_ONCE = { kind: "fixed", delayMs: 0 } as const;

export const errorOf = (dialing: Promise<unknown>): Promise<DialError> =>
  dialing.then(
    () => expect.unreachable("it must not connect"),
    (error) => error,
  );

/** A resolver that knows one name. */
export function resolveTo(...hosts: string[]) {
  const found = hosts.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return vi.spyOn(dns, "lookup").mockResolvedValue(found as never);
}

/** A kernel whose connect(2) gives these answers, one after another, and then its own. */
export function withAnswers<T>(answers: number[], use: () => Promise<T>): Promise<T> {
  const native = loadNative();
  const connect: Native["connect"] = (socket, peer) => answers.shift() ?? native.connect(socket, peer);
  return withNative({ connect }, use);
}

export async function withSilentPeer(use: (peer: Address) => Promise<void>): Promise<void> {
  using listener = await listenSilently({ family: 4, host: LOOPBACK[4], port: 0 });
  await use(listener.getsockname());
}

/**
 * A listener whose accept queue is full: Linux drops each SYN, as a host that is switched off does. What fills it is a
 * connection that was reset, which stays in the queue until accept(2).
 */
export async function listenSilently(at: Address, options: OpenOptions = {}): Promise<TcpSocket> {
  const listener = TcpSocket.open(at.family, options).bind(at).listen(0);
  using filler = TcpSocket.open(at.family, { lingerSeconds: 0 });
  filler.connect(listener.getsockname());
  await filler.connected();
  return listener;
}
