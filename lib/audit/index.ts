/** `selfconnect/audit`: which listeners of this host are at risk, and which sockets are joined to themselves. */
export type { HostAudit, NamespaceAudit } from "./all-namespaces.ts";
export { auditAllNamespaces } from "./all-namespaces.ts";
export type {
  AskedPort,
  Audit,
  AuditOptions,
  JoinedSocket,
  Knocking,
  ListenerRisk,
  PortOwner,
} from "./audit.ts";
export { audit } from "./audit.ts";
export type { Destination, TimeWaitReuse } from "./destinations.ts";
export type { Check, CheckGroup, CommandNeed, Diagnosis, LabTool } from "./doctor.ts";
export { diagnose } from "./doctor.ts";
export type { CheckState } from "./doctor-question.ts";
export type {
  BindExplanation,
  BindTarget,
  BindTry,
  ExplainBindOptions,
  ExplainedHolder,
  WaitUntilFreeOptions,
} from "./explain-bind.ts";
export { explainBind, waitUntilFree } from "./explain-bind.ts";
export type { FreedBy, FreedSocket, FreeOptions, FreeResult, Obstacle } from "./free.ts";
export { free } from "./free.ts";
export type { Holder, HolderKind, NeededOption } from "./holders.ts";
export type { Reservation, ReservationEffects, ReserveOptions } from "./reserve.ts";
export { reserve } from "./reserve.ts";
export type { ReserveCure } from "./reserve-cure.ts";
export type { PortRisk, Risk } from "./risk.ts";
export type { SysctlCure } from "./sysctl-cure.ts";
export type { PersistentReservation } from "./sysctl-files.ts";
