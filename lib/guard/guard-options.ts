/** Checks the options of everything that guards, at once, so that a wrong one is not an 'error' event later. */
import { checkKeys, checkObject, invalidArgument, nearest } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import { encodeOption, optionIndex } from "../socket/option-values.ts";
import type { OptionName, SocketOptions } from "../socket/options.ts";
import { portCount, sharedRange } from "../socket/port-range.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuard } from "./guard.ts";
import { cachedPortFacts } from "./prevention.ts";
import { otherRuntime } from "./runtime.ts";

/** The keys of GuardOptions. */
export const GUARD_KEYS = ["guard", "options"] as const;

const WITHOUT_OPTIONS: Readonly<Record<Guard, GuardOptions>> = {
  prevent: { guard: "prevent" },
  detect: { guard: "detect" },
  off: { guard: "off" },
};

/** checkGuardOptions(), and ERR_UNKNOWN_OPTION for a key that is none of the guard's. */
export function checkOnlyGuardOptions(of: string, options: GuardOptions): GuardOptions {
  checkKeys(of, options, GUARD_KEYS);
  return checkGuardOptions(options);
}

/** Keys of most connects, correct ones among them: to compare them letter by letter would cost each connect 1 %. */
const USUAL_KEYS: ReadonlySet<string> = new Set([
  ...GUARD_KEYS,
  ...[
    "host",
    "port",
    "path",
    "localAddress",
    "localPort",
    "family",
    "lookup",
    "signal",
    "timeout",
    "noDelay",
  ],
  ...["keepAlive", "servername", "rejectUnauthorized", "ca", "agent", "method", "headers", "highWaterMark"],
]);

/**
 * ERR_UNKNOWN_OPTION for a misspelt `guard` or `options` among the options of net.connect. Any other key passes,
 * because net.connect takes any: agents pass the options of a whole request.
 */
export function checkGuardKeys(of: string, given: object): void {
  for (const key in given) {
    const meant = USUAL_KEYS.has(key) ? null : nearest(key, GUARD_KEYS);
    if (!meant) continue;
    throw invalidArgument(
      "ERR_UNKNOWN_OPTION",
      `"${key}" is not an option of ${of}: did you mean "${meant}"?`,
    );
  }
}

/** Throws what guardStream() documents. */
export function checkGuardOptions(given: GuardOptions): GuardOptions {
  const guard = checkGuard(given.guard);
  const { options } = given;
  if (options === undefined) return WITHOUT_OPTIONS[guard];
  checkObject("options", options, ["the names of optionTable()"]);
  const runtime = otherRuntime();
  if (runtime) {
    const message = `\`options\` need a handle of Node's, which ${runtime} does not have: dial() sets them here`;
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  const native = loadNative();
  const { options: rows } = native;
  for (const [name, value] of Object.entries(options)) {
    const row = rows[optionIndex(rows, name as OptionName)]!;
    encodeOption(row, value, native);
    if (!row.inBuild) {
      const message = `${row.name} (${row.constant}) is not supported here: Linux has it since ${row.since}`;
      throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
    }
  }
  checkFastOpen(guard, options);
  checkPortRange(options);
  return { guard, options };
}

/** checkGuardOptions() for `call`, which connects and sends nothing. */
export function checkConnectOptions(call: string, given: GuardOptions): GuardOptions {
  const checked = checkGuardOptions(given);
  if (!given.options?.fastOpenConnect) return checked;
  const why = "the SYN would leave with the first bytes that are sent, and none are";
  const message = `fastOpenConnect (TCP_FASTOPEN_CONNECT) is not for ${call}: ${why}; do without`;
  throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
}

/** With TCP_FASTOPEN_CONNECT connect(2) succeeds before a SYN has left: there is nothing that a guard could check. */
function checkFastOpen(guard: Guard, { fastOpenConnect }: Partial<SocketOptions>): void {
  if (!fastOpenConnect || guard === "off") return;
  const why =
    "connect(2) then succeeds before it has sent a SYN, so that the guard cannot check the connection";
  const message = `fastOpenConnect (TCP_FASTOPEN_CONNECT) cannot be guarded: ${why}; use guard: "off", or do without`;
  throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
}

/** The kernel ignores an IP_LOCAL_PORT_RANGE that has no port of its own range, and picks any port. */
function checkPortRange({ localPortRange }: Partial<SocketOptions>): void {
  const { ephemeralRange } = cachedPortFacts();
  if (!localPortRange || !ephemeralRange || portCount(sharedRange(localPortRange, ephemeralRange)) > 0)
    return;
  const asked = `localPortRange ${localPortRange.low}-${localPortRange.high}`;
  const own = `${ephemeralRange.low}-${ephemeralRange.high} (net.ipv4.ip_local_port_range)`;
  const message = `${asked} has no port of the kernel's own range ${own}, and the kernel would ignore it`;
  throw invalidArgument("ERR_OPTION_VALUE", message, RangeError);
}
