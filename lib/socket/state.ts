/** The states of a TcpSocket; docs/socket-states.md says which call leads to which. */
import type { Address } from "./address.ts";
import type { SocketErrorContext } from "./errors.ts";
import { SocketError } from "./errors.ts";
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

/** A state as a plain object, which postMessage() copies: an error would arrive there without its errno. */
export type SentState =
  | Exclude<State, Connecting | Failed>
  | Omit<Connecting, "wait">
  | (Omit<Failed, "error"> & { readonly error: SocketErrorContext & { readonly errno: number } });

const SENT: readonly SocketState[] = ["unconnected", "listening", "connecting", "connected", "failed"];

/** Whether this has the name of a state that a socket on its way to another thread can have. */
export function isSentState(state: Partial<SentState> | null | undefined): state is SentState {
  return SENT.some((name) => name === state?.name);
}

/** Converts the state of a socket for another thread. */
export function sendState(state: State): SentState {
  if (state.name === "connecting") return { name: state.name, peer: state.peer };
  if (state.name !== "failed") return state;
  const { errno, syscall, local, peer } = state.error;
  return { ...state, error: { errno, syscall, ...(local && { local }), ...(peer && { peer }) } };
}

/** Converts what sendState() returned. */
export function receiveState(sent: SentState): State {
  if (sent.name === "connecting") return { ...sent, wait: null };
  return sent.name === "failed" ? { ...sent, error: new SocketError(sent.error.errno, sent.error) } : sent;
}
