/** `selfconnect/kernel`: read-only facts about this host. */

export type { RouteInput } from "../socket/route.ts";
export { canSelfConnect, sourceAddress } from "../socket/route.ts";
export type { Exhaustion } from "./exhaustion.ts";
export { exhaustion } from "./exhaustion.ts";
export type { Environment, PortFacts } from "./host.ts";
export { environment, isOwnAddress, localAddressTowards, portFacts } from "./host.ts";
export type { FoundSockets, SocketFilter, SocketOwner, SocketRow, TableSource } from "./tables.ts";
export {
  findFourTuple,
  findSockets,
  socketOwner,
  socketOwners,
  socketTable,
} from "./tables.ts";
