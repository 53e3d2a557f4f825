/** `selfconnect/fleet`: many hosts, through a queue in Redis (`npm install bullmq ioredis`). */
export type { AnsweredDestination, AnsweredSocket, AuditAnswer } from "./audit-answer.ts";
export type { AuditedHost, FleetAudit, FleetAuditOptions, FleetWatchOptions } from "./fleet-audit.ts";
export { auditFleet, watchFleet } from "./fleet-audit.ts";
export type { FleetLabOptions, FleetOptions } from "./fleet-lab.ts";
export { runFleetLab } from "./fleet-lab.ts";
export type { Announcement, FleetHost } from "./hosts.ts";
export { hidePassword } from "./queue-url.ts";
export type { WorkerEvent, WorkerOptions } from "./worker.ts";
export { runWorker } from "./worker.ts";
