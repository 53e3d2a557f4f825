/** The states of a TcpSocket; docs/socket-states.md says which call leads to which. */
import type { Address } from "./address.ts";
import type { SocketError } from "./errors.ts";
import type { SocketOptions } from "./options.ts";
import type { SharedWait } from "./shared-wait.ts";

/** The state of a socket. */
export type State =
  | { readonly name: "unconnected" | "closed" }
  | {
      readonly name: "listening";
      /** Set on each socket that accept() returns. */
      readonly acceptedOptions: Partial<SocketOptions>;
    }
  | {
      readonly name: "connecting";
      readonly peer: Address;
      /** Null until connected() waits for the first time. */
      wait: SharedWait | null;
    }
  | {
      readonly name: "connected";
      readonly peer: Address | null;
      /** Whether another socket is known to be at the other end: this one is not joined to itself. */
      readonly isApart: boolean;
    }
  | { readonly name: "failed"; readonly peer: Address | null; readonly error: SocketError };

/**
 * "failed": the last connect(2) did not connect, or a call returned the error that broke the connection. connected()
 * rejects with that error. connect() may be called again; for an accepted socket Linux then returns EISCONN.
 */
export type SocketState = State["name"];

/** A state in which there is or will be a peer. */
export type Joining = Extract<State, { name: "connecting" | "connected" }>;
export type Connecting = Extract<State, { name: "connecting" }>;
export type Failed = Extract<State, { name: "failed" }>;
