/** Rows of socket tables as netstat(8) prints them. */
import type { SocketOwner, SocketRow } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import type { TcpState } from "../socket/tcp-state.ts";

const HEADER =
  "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name";

/** The rows under netstat's header, in netstat's column widths. */
export function netstatLines(rows: readonly (readonly [SocketRow, SocketOwner | null])[]): string[] {
  return [HEADER, ...rows.map(([row, owner]) => netstatText(row, owner))];
}

/** One row, without the header. */
export function netstatText(row: SocketRow, owner: SocketOwner | null): string {
  const protocol = row.local.family === 4 ? "tcp" : "tcp6";
  const columns = [
    protocol.padEnd(5),
    String(row.receiveQueueBytes).padStart(6),
    String(row.sendQueueBytes).padStart(6),
    netstatAddress(row.local).padEnd(23),
    netstatAddress(row.peer).padEnd(23),
    (NETSTAT_STATES[row.state] ?? row.state).padEnd(11),
    owner ? `${owner.pid}/${owner.command}` : "-",
  ];
  return columns.join(" ");
}

/** The states that netstat spells differently from RFC 9293. */
const NETSTAT_STATES: Partial<Readonly<Record<TcpState, string>>> = {
  "SYN-SENT": "SYN_SENT",
  "SYN-RECEIVED": "SYN_RECV",
  "FIN-WAIT-1": "FIN_WAIT1",
  "FIN-WAIT-2": "FIN_WAIT2",
  "TIME-WAIT": "TIME_WAIT",
  "CLOSE-WAIT": "CLOSE_WAIT",
  "LAST-ACK": "LAST_ACK",
  CLOSED: "CLOSE",
};

/** netstat writes IPv6 addresses without brackets, and port 0 as a star. */
function netstatAddress(address: Address): string {
  return `${address.host}:${address.port === 0 ? "*" : address.port}`;
}
