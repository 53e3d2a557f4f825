/** The states of a TCP connection, spelled as in RFC 9293 section 3.3.2 whoever reports them. */

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
 * A state of RFC 9293 section 3.3.2: what TCP_INFO, sock_diag(7) and /proc/net/tcp report, and what packets imply.
 * Linux's NEW_SYN_RECV is SYN-RECEIVED, and its CLOSE and BOUND_INACTIVE are CLOSED.
 */
export type TcpState = (typeof TCP_STATES)[number];

/** The state with a kernel's number. Throws for a number that the kernel's own list does not have. */
export function stateNumbered(states: readonly (TcpState | "")[], number: number): TcpState {
  const state = states[number];
  if (state) return state;
  throw new Error(`the kernel reports the TCP state ${number}, which has no name here`);
}
