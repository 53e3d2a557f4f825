/** One kernel socket, and the addresses, errors, options and port ranges that every room uses. */
export type { Address, LocalAddress } from "./address.ts";
export { formatAddress, isSameAddress, parseAddress } from "./address.ts";
export type { HostAndPort } from "./address-forms.ts";
export { parseHostAndPort } from "./address-forms.ts";
export type { Attempt, DialErrorCode, ErrnoName, Outcome, OutcomeCounts } from "./errors.ts";
export { DialError, SocketError } from "./errors.ts";
export type { FreePortOptions } from "./free-port.ts";
export { findFreePort } from "./free-port.ts";
export type { SocketTransfer } from "./inherited.ts";
export type { WaitErrorCode, WaitErrorContext, WaitLimits } from "./limits.ts";
export { WaitError } from "./limits.ts";
export type { ListenFd } from "./listen-fds.ts";
export { listenFds } from "./listen-fds.ts";
export { listenRefusal } from "./listen-refusal.ts";
export type {
  MessageOptions,
  MessageReports,
  MessageStamps,
  QueuedReport,
  ReceivedMessage,
  ReceiveOptions,
} from "./message.ts";
export type { OptionKind, OptionRow } from "./native.ts";
export { otherOptions, socketConstants } from "./option-access.ts";
export type {
  BpfProgram,
  CongestionInformation,
  Md5Signature,
  MemoryInformation,
  TcpInformation,
} from "./option-structures.ts";
export type {
  AcceptOptions,
  AddressPreference,
  OpenOptions,
  OptionName,
  PathMtuDiscovery,
  SocketOptions,
} from "./options.ts";
export type { PortRange } from "./port-range.ts";
export { isSelfConnect, wouldSelfConnect } from "./self-connect.ts";
export type { ListenOptions, ServerOptions } from "./server.ts";
export { createServer, listen } from "./server.ts";
export { TcpSocket } from "./socket.ts";
export type { SocketState } from "./state.ts";
export type { Strategy } from "./strategy.ts";
export { STRATEGIES } from "./strategy.ts";
export type { StreamOptions } from "./stream-options.ts";
export { socketOptions } from "./stream-options.ts";
export { optionTable, supported } from "./supported.ts";
export type { TcpState } from "./tcp-state.ts";
