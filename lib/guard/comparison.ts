/**
 * Guards a stream whose handle is none that handle.ts knows, as those of Bun and Deno: compares the addresses when the
 * stream reports 'connect', before anyone gets that event. It detects, and cannot prevent.
 */
import type net from "node:net";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import { isErrnoName } from "../socket/errors.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import { hasAttemptSubscribers } from "./channels.ts";
import type { HandleOwner } from "./handle.ts";

type Stream = Omit<net.Socket, "connect" | "emit"> & {
  connect(...values: unknown[]): Stream;
  emit(event: string | symbol, ...values: unknown[]): boolean;
  resetAndClosing?: boolean;
  readonly _handle?: { reset?(done: () => void): void };
};

/** getsockname(2) and getpeername(2), as the stream reports them. Null where there is no such address. */
interface Names {
  readonly local: Address | null;
  readonly peer: Address | null;
}

/** Rejects every self-connect of this stream from now on, in its owner's name, unless the owner's guard is "off". */
export function compareAfterConnect(socket: net.Socket, owner: HandleOwner): void {
  // Node's types lack the flag of Bun and the handle of Deno, and have one overload of emit() for each event.
  const stream = socket as unknown as Stream;
  const { connect, emit } = stream;
  let startedAt = performance.now();
  let isRejected = false;
  stream.connect = function (...values) {
    startedAt = performance.now();
    isRejected = false;
    return connect.apply(this, values);
  };
  stream.emit = function (event, ...values) {
    const elapsedMs = performance.now() - startedAt;
    if (event === "connect" && owner.options.guard !== "off")
      isRejected = rejectIfJoined(this, owner, elapsedMs);
    else if (event === "error") reportRefusal(values[0], owner, elapsedMs);
    // 'ready' follows 'connect' in any case.
    if (isRejected && (event === "connect" || event === "ready")) return false;
    return emit.call(this, event, ...values);
  };
}

function rejectIfJoined(stream: Stream, owner: HandleOwner, elapsedMs: number): boolean {
  const names = namesOf(stream);
  const { local, peer } = names;
  if (!isJoined(names)) {
    const isReported = local && peer && hasAttemptSubscribers();
    owner.reportConnect(isReported ? { outcome: "connected", local, peer, elapsedMs } : null);
    return false;
  }
  const known = peer ?? local!;
  owner.reportRejection({ outcome: "self-connect", peer: known, local: local ?? known, elapsedMs }, true);
  // RST, so that the port is free at once: Bun looks at the flag, Deno has a handle that resets.
  stream.resetAndClosing = true;
  stream._handle?.reset?.(() => {});
  stream.destroy(refusal(known));
  return true;
}

/** A Unix domain socket has no port. A TCP socket that does not report both addresses is not handed out either. */
function isJoined({ local, peer }: Names): boolean {
  if (!local && !peer) return false;
  return !local || !peer || isSelfConnect(local, peer);
}

function namesOf({ localAddress, localPort, remoteAddress, remotePort }: Stream): Names {
  return {
    local: localAddress && localPort ? toAddress(localAddress, localPort) : null,
    peer: remoteAddress && remotePort ? toAddress(remoteAddress, remotePort) : null,
  };
}

/** The error of a connect to a port where nobody listens. */
function refusal({ host, port }: Address): Error {
  const error = new Error(`connect ECONNREFUSED ${host}:${port}`);
  return Object.assign(error, { code: "ECONNREFUSED", syscall: "connect", address: host, port });
}

function reportRefusal(error: unknown, owner: HandleOwner, elapsedMs: number): void {
  const { syscall, code, address, port } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  if (syscall !== "connect" || !code || !address || !port || !isErrnoName(code)) return;
  owner.reportAttempt({ outcome: code, peer: toAddress(address, port), elapsedMs });
}
