/**
 * selfconnect/register: guards a whole program without a change to it. All connects in Node call
 * net.Socket.prototype.connect: those of net, tls, http, https, fetch, and of clients built on them.
 */
import net from "node:net";
import workerThreads from "node:worker_threads";
import { invalidArgument, nearest } from "../socket/misuse.ts";
import { nativeFailure } from "../socket/native.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuard } from "./guard.ts";
import { passOn } from "./inherit.ts";
import { isOptionSupported } from "./prevention.ts";
import { otherRuntime } from "./runtime.ts";
import { guardStream, isGuarded } from "./streams.ts";

const REGISTERED = Symbol.for("selfconnect.registered");
/** The key under which a thread passes to its workers that this process has warned. */
const WARNED = "selfconnect.warned";

const MODES = ["prevent", "detect", "off", "strict"] as const;

/** SELFCONNECT_GUARD: a guard, or "strict", which is "prevent" and makes every warning of this file an error. */
const mode = checkMode(process.env.SELFCONNECT_GUARD || "prevent");
const guard: Guard = mode === "strict" ? "prevent" : mode;

/** The module that loads the CommonJS build; absent in a module. */
declare const module: { readonly parent?: { readonly id: string } | null } | undefined;

if (!(REGISTERED in globalThis)) {
  Object.defineProperty(globalThis, REGISTERED, { value: true });
  checkHost();
  wrapConnect();
  if (!otherRuntime()) passOn(isPreloaded(), warnUnguarded);
  if (process.env.SELFCONNECT_LOG) log();
}

function wrapConnect(): void {
  const { connect } = net.Socket.prototype as { connect: (...values: unknown[]) => net.Socket };
  Object.assign(net.Socket.prototype, {
    connect(this: net.Socket, ...values: unknown[]): net.Socket {
      const given = parseGuard(values);
      if (given || !isGuarded(this)) guardStream(this, { guard, ...given });
      return connect.apply(this, values);
    },
  });
}

/** The `guard` in the options of this connect, such as `guard: "off"`; null if they have none. */
function parseGuard(values: unknown[]): GuardOptions | null {
  // Node's internal calls pass their arguments as one array.
  const [first] = Array.isArray(values[0]) ? values[0] : values;
  const given = (first ?? {}) as GuardOptions;
  if (typeof given !== "object" || given.guard === undefined) return null;
  return { guard: checkGuard(given.guard) };
}

function checkMode(value: string): (typeof MODES)[number] {
  const known = MODES.find((each) => each === value);
  if (known) return known;
  const meant = nearest(value, MODES);
  const fix = meant ? `did you mean "${meant}"?` : `use ${MODES.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_GUARD", `SELFCONNECT_GUARD: "${value}" is not a guard: ${fix}`);
}

/** Warns where the guard can do less than README promises. */
function checkHost(): void {
  if (guard === "off") return;
  const runtime = otherRuntime();
  if (runtime) {
    const limits = "self-connects are detected and rejected, but not prevented";
    warn(
      "ERR_NOT_GUARDED",
      `in ${runtime} the guard covers node:net, node:tls, node:http and what is built on them: ${limits}. ` +
        "The runtime's own connects, such as fetch, its workers and its children are not guarded",
    );
    return;
  }
  const failure = guard === "prevent" ? nativeFailure() : null;
  if (failure)
    warn(
      "ERR_ADDON_MISSING",
      `self-connects are detected and rejected, but not prevented: ${failure.message}`,
    );
}

/** Whether --require has loaded this thread's guard: Node requires a preload from a module of this name. */
function isPreloaded(): boolean {
  const gate = typeof module === "undefined" ? null : (module.parent as { parent?: { id: string } } | null);
  return gate?.parent?.id === "internal/preload";
}

function warnUnguarded(call: string, reason: string): void {
  if (guard !== "off") warn("ERR_NOT_GUARDED", `the guard does not reach what ${call} starts: ${reason}`);
}

/** Warns once for each process, however many threads it has. Throws if SELFCONNECT_GUARD is "strict". */
function warn(code: string, message: string): void {
  if (mode === "strict") throw Object.assign(new Error(`selfconnect: ${message}`), { code });
  const { getEnvironmentData, setEnvironmentData } = workerThreads;
  if (getEnvironmentData(WARNED)) return;
  setEnvironmentData(WARNED, true);
  process.emitWarning(message, { type: "SelfConnectWarning", code });
}

/** SELFCONNECT_LOG=1: one line on stderr for each thread that starts guarded. */
function log(): void {
  const { isMainThread, threadId } = workerThreads;
  const thread = isMainThread ? "" : `, worker ${threadId}`;
  const prevents = guard === "prevent" && isOptionSupported("localPortRange");
  const how = prevents
    ? "prevent (IP_LOCAL_PORT_RANGE)"
    : guard === "prevent"
      ? "detect (cannot prevent)"
      : guard;
  process.stderr.write(`selfconnect: process ${process.pid}${thread} is guarded: ${how}\n`);
}
