/** The audit of every network namespace of this host: containers included. */
import { closeSync, openSync } from "node:fs";
import { findOtherNamespaces } from "../kernel/namespaces.ts";
import type { Process } from "../kernel/owners.ts";
import { readProcess, readUsers } from "../kernel/owners.ts";
import type { Audit, AuditOptions } from "./audit.ts";
import { audit } from "./audit.ts";

/** The audit of a network namespace other than the one of this process. */
export interface NamespaceAudit extends Audit {
  /** Its number in the link /proc/PID/ns/net. */
  readonly namespace: number;
  /** A process in it; null when that has ended since. */
  readonly process: Omit<Process, "fd"> | null;
}

/** The audits of all network namespaces. */
export interface HostAudit {
  /** The audit of the network namespace of this process. */
  readonly own: Audit;
  /** The audits of the other network namespaces that were visible. */
  readonly others: readonly NamespaceAudit[];
  /** Namespaces that could not be audited, each with the reason. */
  readonly unseen: readonly string[];
  /** "found" when one of them is; else "unknown" when one of them is, or something is unseen. */
  readonly verdict: Audit["verdict"];
}

/** setns(2), sock_diag(7): audits each network namespace that has a process. Those of other users need root. */
export async function auditAllNamespaces(options: Pick<AuditOptions, "ports"> = {}): Promise<HostAudit> {
  const own = await audit(options);
  const { namespaces, isComplete } = findOtherNamespaces();
  const others: NamespaceAudit[] = [];
  const users = readUsers();
  const unseen = isComplete ? [] : ["the network namespaces of some processes: run as root"];
  for (const { id, pid } of namespaces) {
    try {
      const process = nameProcess(pid, users);
      others.push({ namespace: id, process, ...(await auditNamespace(pid, options)) });
    } catch (error) {
      unseen.push(`network namespace ${id} of pid ${pid}: ${(error as Error).message}`);
    }
  }
  const verdicts = [own, ...others].map(({ verdict }) => verdict);
  const isUnknown = unseen.length > 0 || verdicts.includes("unknown");
  const verdict = verdicts.includes("found") ? "found" : isUnknown ? "unknown" : "clean";
  return { own, others, unseen, verdict };
}

function nameProcess(pid: number, users: ReadonlyMap<number, string>): NamespaceAudit["process"] {
  const found = readProcess(pid, null, users);
  if (!found) return null;
  const { fd: _, ...named } = found;
  return named;
}

async function auditNamespace(pid: number, options: AuditOptions): Promise<Audit> {
  const fd = openSync(`/proc/${pid}/ns/net`, "r");
  try {
    return await audit({ ...options, namespace: { fd, pid } });
  } finally {
    closeSync(fd);
  }
}
