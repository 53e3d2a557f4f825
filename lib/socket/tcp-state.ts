/** The states of a TCP connection, always spelled as in RFC 9293 section 3.3.2. */

export const TCP_STATES = [
  "LISTEN",
  "SYN-SENT",
  "SYN-RECEIVED",
  "ESTABLISHED",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "CLOSE-WAIT",
  "CLOSING",
  "LAST-ACK",
  "TIME-WAIT",
  "CLOSED",
] as const;

/**
 * A state of RFC 9293 section 3.3.2, as TCP_INFO, sock_diag(7) and /proc/net/tcp report it and packets imply it.
 * Linux's NEW_SYN_RECV is SYN-RECEIVED here; its CLOSE and BOUND_INACTIVE are CLOSED.
 */
export type TcpState = (typeof TCP_STATES)[number];

/** Returns the state that a kernel numbers so in its list `states`. Throws for a number that is not in the list. */
export function decodeState(states: readonly (TcpState | "")[], number: number): TcpState {
  const state = states[number];
  if (state) return state;
  throw new Error(`the kernel reports the TCP state ${number}, which has no name here`);
}
