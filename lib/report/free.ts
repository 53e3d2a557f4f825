/** What `selfconnect free` did, as the object of docs/schema/free-1.json and as lines for a log. */
import type { FreedBy, FreedSocket, FreeResult, Obstacle } from "../audit/free.ts";
import { describeProcess } from "../audit/holder-words.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { formatAddress } from "../socket/address.ts";
import type { ErrnoName } from "../socket/errors.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";
import { holderLines } from "./who.ts";

/** The object of docs/schema/free-1.json: the result of `free()` and the environment. */
export interface FreeReport extends FreeResult {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.free/1";
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** Builds the object of docs/schema/free-1.json. */
export function freeReport(result: FreeResult): FreeReport {
  return { schema: "selfconnect.free/1", ...result, environment: environment() };
}

/** One line for each socket, with time and owner; what is left to do; and what could not be seen. */
export function freeText({ sockets, unseen }: FreeResult, options: TextOptions = {}): string {
  const where = unseen.length > 0 ? "that was visible" : "there";
  const none = `no socket ${where} is joined to itself: nothing was changed`;
  return renderText([...(sockets.length === 0 ? [none] : sockets.flatMap(socketLines)), ...unseen], options);
}

function socketLines(freed: FreedSocket): Line[] {
  const { local, state, processes, namespace, at, by, refusals, isFree } = freed;
  const owner = processes.length > 0 ? processes.map(describeProcess).join("; ") : "no visible process";
  const where = namespace === null ? "" : ` in network namespace ${namespace}`;
  const about = `${formatAddress(local)} joined to itself (${state})${where}: ${owner}`;
  if (isFree === null) return [["would end ", about]];
  if (by === null) return [[paint("red", "failed"), ` ${about}: ${refusalText(refusals)}`]];
  const ended: Line = [`${at} ended ${about}, by ${by}: `, endText(isFree)];
  return [ended, ...indent("  ", freed.inTheWay.flatMap(obstacleLines))];
}

function endText(isFree: boolean) {
  return isFree ? paint("green", "the port is free") : paint("yellow", "the port is not free yet");
}

function obstacleLines(obstacle: Obstacle): Line[] {
  if (!obstacle.isFreed) return holderLines(obstacle);
  const bound = "its process had bound it and has not closed it yet: the port is free when it does";
  return [...holderLines({ ...obstacle, remedy: null }), [paint("green", `  ${bound}`)]];
}

/** Why each way failed, and what it needs. */
function refusalText(refusals: FreedSocket["refusals"]): string {
  const tried = Object.entries(refusals).map(
    ([by, code]) => `${by} ${code} (${REASONS[by as FreedBy](code)})`,
  );
  return tried.length > 0 ? tried.join(", ") : "this kernel has no sock_diag, and no process is visible";
}

const REASONS: Readonly<Record<FreedBy, (code: ErrnoName) => string>> = {
  SOCK_DESTROY: (code) => {
    if (code === "EPERM") return "needs CAP_NET_ADMIN: run as root, in a container with --cap-add NET_ADMIN";
    if (code === "EOPNOTSUPP" || code === "ENOTSUP") return "this kernel was built without INET_DIAG_DESTROY";
    if (code === "ENOENT" || code === "ESTALE") return "the socket is gone";
    return "the kernel refused";
  },
  pidfd_getfd: (code) => {
    if (code === "EPERM") return "needs permission to trace the process: run as root";
    if (code === "ENOSYS") return "came with Linux 5.6";
    if (code === "ESRCH" || code === "EBADF" || code === "ESTALE") return "the process has closed the socket";
    return "the kernel refused";
  },
};
