/** `selfconnect/audit`: which listeners of this host are at risk, and which sockets are joined to themselves. */
export type { Audit, AuditOptions, JoinedSocket, Knocking, Owner, PortRisk } from "./audit.ts";
export { audit } from "./audit.ts";
