/**
 * node --import selfconnect/register app.js: guards a whole program without a change to it. All connects in Node call
 * net.Socket.prototype.connect: those of net, tls, http, https, fetch, and of clients built on them.
 */
import net from "node:net";
import { nativeOrNull } from "../socket/native.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuard } from "./guard.ts";
import { guardStream, isGuarded } from "./streams.ts";

const REGISTERED = Symbol.for("selfconnect.registered");

/** SELFCONNECT_GUARD=prevent|detect|off sets the guard of the whole program. */
const guard = checkGuard((process.env.SELFCONNECT_GUARD || undefined) as Guard | undefined);

if (!(REGISTERED in globalThis)) {
  Object.defineProperty(globalThis, REGISTERED, { value: true });
  if (guard === "prevent" && !nativeOrNull()) warn();
  register();
}

function register(): void {
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

function warn(): void {
  const message = "the addon does not load here: self-connects are detected and rejected, but not prevented";
  process.emitWarning(message, { type: "SelfConnectWarning", code: "ERR_ADDON_MISSING" });
}
