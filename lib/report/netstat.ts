/** Rows of socket tables as netstat(8) and ss(8) print them. */
import type { SocketOwner, SocketRow } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
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

/** The rows as `ss -tanp` prints them, without the number of the descriptor. */
export function ssLines(rows: readonly (readonly [SocketRow, SocketOwner | null])[]): string[] {
  const columns = ["State".padEnd(10), "Recv-Q", "Send-Q", "Local Address:Port".padStart(22)];
  const header = [...columns, "Peer Address:Port".padStart(22), " Process"].join(" ");
  return [header, ...rows.map(([row, owner]) => ssText(row, owner))];
}

function ssText(
  { state, receiveQueueBytes, sendQueueBytes, local, peer }: SocketRow,
  owner: SocketOwner | null,
): string {
  const columns = [
    (state === "ESTABLISHED" ? "ESTAB" : state).padEnd(10),
    String(receiveQueueBytes).padEnd(6),
    String(sendQueueBytes).padEnd(6),
    formatAddress(local).padStart(22),
    formatAddress(peer).padStart(22),
    owner ? ` users:(("${owner.command}",pid=${owner.pid}))` : "",
  ];
  return columns.join(" ").trimEnd();
}
