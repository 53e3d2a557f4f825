/** What `selfconnect reserve` did, as the object of docs/schema/reserve-1.json and as text. */
import type { Reservation } from "../audit/reserve.ts";
import type { PersistentReservation } from "../audit/sysctl-files.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { formatAddress } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { formatPortList, holds } from "../socket/port-range.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { paint, renderText } from "./terminal.ts";

/** The object of docs/schema/reserve-1.json: the result of `reserve()` and the environment. */
export interface ReserveReport extends Reservation {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.reserve/1";
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** Builds the object of docs/schema/reserve-1.json. */
export function reserveReport(made: Reservation): ReserveReport {
  return { schema: "selfconnect.reserve/1", ...made, environment: environment() };
}

/** For a terminal: the list before and after, and what the change does to other ports. */
export function reserveText(made: Reservation, options: TextOptions = {}): string {
  const { port, ephemeralRange: range, before, after, isDone, persistent } = made;
  const unneeded = `the kernel picks ports of ${range.low}-${range.high} only: ${port} needs no reservation`;
  const lines: Line[] = [
    `${isDone ? "" : "would set "}net.ipv4.ip_local_reserved_ports: ${changeText(before, after)}`,
    ...(holds(range, port) ? [] : [unneeded]),
    ...effectLines(made),
    ...(persistent ? fileLines(persistent, isDone) : []),
  ];
  return renderText(lines, options);
}

function changeText(before: readonly PortRange[], after: readonly PortRange[]): string {
  const [was, is] = [before, after].map((ranges) => formatPortList(ranges) || "none");
  return was === is ? `${is}, as before` : `${was} -> ${is}`;
}

function effectLines({ effects }: Reservation): Line[] {
  const { nowPicked, endangered, heir, leavesNoPort } = effects;
  const often =
    heir && heir.times > 1 ? `port ${heir.port} is picked ${heir.times} times as often as others` : null;
  return [
    ...(often === null ? [] : [`${often}, in place of the reserved ports before it`]),
    ...(nowPicked.length === 0
      ? []
      : [[paint("yellow", `the kernel now picks ports that it did not pick: ${formatPortList(nowPicked)}`)]]),
    ...(leavesNoPort
      ? [[paint("red", "no port is left"), ": a connect that binds no port fails with EADDRNOTAVAIL"]]
      : []),
    ...endangered.map(
      (local): Line => [
        paint("red", "at risk"),
        ` now: the listener on ${formatAddress(local)}; reserve its port too`,
      ],
    ),
  ];
}

function fileLines(reservation: PersistentReservation, isDone: boolean): Line[] {
  const { path, before, after, overriddenBy, alsoIn, refused, isLasting } = reservation;
  const also = isLasting ? "the new file overrides it" : "take it out there";
  return [
    `${isDone ? "" : "would write "}${path}: ${changeText(before, after)}`,
    ...overriddenBy.map((file): Line => [paint("red", `${file} sets the same key, is read later, and wins`)]),
    ...alsoIn
      .filter((file) => !overriddenBy.includes(file))
      .map((file): Line => [paint("yellow", `the port is in ${file} too: ${also}`)]),
    ...refused.map((file): Line => [paint("yellow", `${file} has a list that the kernel refuses`)]),
    ...(isLasting ? [] : [[paint("red", "the next boot does not do what was asked")]]),
  ];
}
