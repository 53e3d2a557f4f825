import type { Audit } from "../../lib/audit/index.ts";

/** An audit that found nothing. */
export const CLEAN_AUDIT: Audit = {
  ephemeralRange: null,
  reservedPorts: [],
  algorithm: "linux-5.18",
  source: "sock_diag",
  listeners: [],
  ports: [],
  joined: [],
  leftovers: [],
  knocking: [],
  destinations: [],
  timeWaitReuse: { allows: "loopback", setting: 2, hasTimestamps: true, delayMs: 1000 },
  seesAllProcesses: true,
  reserve: null,
  reuse: null,
  verdict: "clean",
  unseen: [],
};
