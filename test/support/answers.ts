/** A TcpSocket of a kernel whose answers the test makes up. */
import type { Native } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { withNative } from "./harness.ts";

/** Runs `use` with a socket of a kernel that gives these answers, and resets it. */
export function withAnswers<T>(
  calls: Partial<Native>,
  use: (socket: TcpSocket) => Promise<T> | T,
): Promise<T> {
  return withNative(calls, async () => {
    const socket = TcpSocket.open(4);
    try {
      return await use(socket);
    } finally {
      socket.reset();
    }
  });
}
