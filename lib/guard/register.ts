/**
 * node --import selfconnect/register app.js: guards a whole program that knows nothing of this package. All of
 * Node's connects go by net.Socket.prototype.connect: net, tls, http, https, fetch, and clients built on them.
 */
import net from "node:net";
import { nativeOrNull } from "../socket/native.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuard } from "./guard.ts";
import { guardStream, isGuarded } from "./streams.ts";

const REGISTERED = Symbol.for("selfconnect.registered");

/** SELFCONNECT_GUARD=prevent|detect|off says how far the guard goes in the whole program. */
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
      const asked = guardAsked(values);
      if (asked || !isGuarded(this)) guardStream(this, { guard, ...asked });
      return connect.apply(this, values);
    },
  });
}

/** `guard` and `options` of the connect's own options, such as `guard: "off"`; null where it says nothing. */
function guardAsked(values: unknown[]): GuardOptions | null {
  // Node's own code passes its arguments as one array.
  const [first] = Array.isArray(values[0]) ? values[0] : values;
  const given = (first ?? {}) as GuardOptions;
  if (typeof given !== "object" || given.guard === undefined) return null;
  return { guard: checkGuard(given.guard) };
}

function warn(): void {
  const message = "the addon does not load here: self-connects are detected and rejected, but not prevented";
  process.emitWarning(message, { type: "SelfConnectWarning", code: "ERR_ADDON_MISSING" });
}
