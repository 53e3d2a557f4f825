/** What `selfconnect free` did, as the object of docs/schema/free-1.json and as lines for a log. */
import type { FreedSocket } from "../audit/free.ts";
import { describeProcess } from "../audit/holder-words.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { formatAddress } from "../socket/address.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { paint, renderText } from "./terminal.ts";

/** The object of docs/schema/free-1.json: the result of `free()` and the environment. */
export interface FreeReport {
  readonly schema: "selfconnect.free/1";
  readonly sockets: readonly FreedSocket[];
  readonly environment: Environment;
}

/** Builds the object of docs/schema/free-1.json. */
export function freeReport(sockets: readonly FreedSocket[]): FreeReport {
  return { schema: "selfconnect.free/1", sockets, environment: environment() };
}

/** One line for each socket, with time and owner; and what is left to do. */
export function freeText(sockets: readonly FreedSocket[], options: TextOptions = {}): string {
  if (sockets.length === 0) return "no socket is joined to itself there: nothing was changed";
  return renderText(sockets.flatMap(socketLines), options);
}

function socketLines(freed: FreedSocket): Line[] {
  const { local, state, processes, namespace, at, by, refusals, isFree } = freed;
  const owner = processes.length > 0 ? processes.map(describeProcess).join("; ") : "no visible process";
  const where = namespace === null ? "" : ` in network namespace ${namespace}`;
  const about = `${formatAddress(local)} joined to itself (${state})${where}: ${owner}`;
  if (isFree === null) return [["would end ", about]];
  if (by === null) return [[paint("red", "failed"), ` ${about}: ${refusalText(refusals)}`]];
  const ended: Line = [`${at} ended ${about}, by ${by}: `, endText(isFree)];
  if (isFree) return [ended];
  const still = `  another socket holds the port: selfconnect who ${local.port}`;
  const bound = "  its process had bound it and has not closed it yet: the port is free when it does";
  return [ended, processes.length > 0 ? bound : still];
}

function endText(isFree: boolean) {
  return isFree ? paint("green", "the port is free") : paint("yellow", "the port is not free yet");
}

function refusalText(refusals: FreedSocket["refusals"]): string {
  const tried = Object.entries(refusals).map(([by, code]) => `${by} ${code}`);
  const root = "SOCK_DESTROY needs CAP_NET_ADMIN, pidfd_getfd permission to trace the process: run as root";
  return tried.length > 0
    ? `${tried.join(", ")} (${root})`
    : "this kernel has no sock_diag, and no process is visible";
}
