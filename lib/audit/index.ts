/** `selfconnect/audit`: which listeners of this host are at risk, and which sockets are joined to themselves. */
export type { Audit, AuditOptions, JoinedSocket, Knocking, Owner, PortRisk } from "./audit.ts";
export { audit } from "./audit.ts";
export type {
  BindExplanation,
  BindTarget,
  BindTry,
  ExplainBindOptions,
  ExplainedHolder,
  WaitUntilFreeOptions,
} from "./explain-bind.ts";
export { explainBind, waitUntilFree } from "./explain-bind.ts";
export type { FreedBy, FreedSocket, FreeOptions } from "./free.ts";
export { free } from "./free.ts";
export type { Holder, HolderKind, NeededOption } from "./holders.ts";
