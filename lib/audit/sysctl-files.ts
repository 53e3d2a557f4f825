/** The files of sysctl.d(5), which set the list of reserved ports at each boot. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import type { PortRange } from "../socket/port-range.ts";
import {
  addPort,
  formatPortList,
  holds,
  mergeRanges,
  parsePortList,
  removePort,
} from "../socket/port-range.ts";
import { writeDurably } from "./whole-file.ts";

/** The list in a file of sysctl.d(5), and what it becomes. */
export interface PersistentReservation {
  /** The file that is written, or removed with `undo`. */
  readonly path: string;
  /** The list that the next boot would set without the change. */
  readonly before: readonly PortRange[];
  /** The list with the file; without the file, where it is not needed, the list of the files before it. */
  readonly after: readonly PortRange[];
  /** Files that sysctl(8) reads later and that set the same key: they win. */
  readonly overriddenBy: readonly string[];
  /** With `undo`: other files that have the port. */
  readonly alsoIn: readonly string[];
  /** Files whose list the kernel refuses: they set nothing. */
  readonly refused: readonly string[];
  /** Whether the next boot does what was asked. */
  readonly isLasting: boolean;
}

/** What becomes of the file that reserve() writes. */
export interface FilePlan {
  readonly reservation: PersistentReservation;
  /** The file's new list; null where no file is needed. */
  readonly content: readonly PortRange[] | null;
}

/** The setting of sysctl(8). */
export const RESERVED_PORTS_KEY = "net.ipv4.ip_local_reserved_ports";
const FOLDER = "/etc/sysctl.d";
/** Sorts behind the numbered files, because of several files that set a key the last one wins. */
const FILE = "zz-selfconnect.conf";
const HEAD =
  "# Ports that the kernel must not pick as local ones. Written by selfconnect: reserve(), persist.\n";
/** The file that `persist` writes. */
export const SYSCTL_FILE = path.join(FOLDER, FILE);
/** A file hides those of its name in later folders. The files are read in the order of their names. */
const FOLDERS = [FOLDER, "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];
/** `sysctl --system` reads it last; systemd does not, except by a link from /etc/sysctl.d. */
const LAST = "/etc/sysctl.conf";

/** sysctl.d(5): computes the file that adds or (`undo`) takes out a port, below a root directory. Changes nothing. */
export function planFile(port: number, undo: boolean, root = "/"): FilePlan {
  const { settings, refused } = readSettings(root);
  const before = settings.at(-1)?.ports ?? [];
  const others = settings.filter((setting) => setting.path !== SYSCTL_FILE);
  const later = others.filter((setting) => isLater(setting.path, SYSCTL_FILE));
  const base = others.findLast((setting) => !later.includes(setting))?.ports ?? [];
  const wanted = undo ? removePort(before, port) : addPort(before, port);
  const isNeeded = wanted.length > 0 && formatPortList(wanted) !== formatPortList(mergeRanges(base));
  const after = isNeeded ? wanted : base;
  const effective = later.at(-1)?.ports ?? after;
  const has = (ports: readonly PortRange[]) => ports.some((range) => holds(range, port));
  const reservation = {
    path: SYSCTL_FILE,
    before,
    after,
    overriddenBy: later.map((setting) => setting.path),
    alsoIn: undo ? others.filter(({ ports }) => has(ports)).map((setting) => setting.path) : [],
    refused,
    isLasting: has(effective) !== undo,
  };
  return { reservation, content: isNeeded ? wanted : null };
}

/** Writes the file, or removes it, and then acts. Takes the file back when the act throws, so that both agree. */
export function withFile(content: FilePlan["content"], act: () => void, root = "/"): void {
  const file = path.join(root, SYSCTL_FILE);
  const before = existsSync(file) ? readFileSync(file, "utf8") : null;
  replaceFile(file, content === null ? null : `${HEAD}${RESERVED_PORTS_KEY} = ${formatPortList(content)}\n`);
  try {
    act();
  } catch (error) {
    replaceFile(file, before);
    throw error;
  }
}

/** Throws where the file does not keep the text: systemd masks a file by a link to /dev/null. */
function replaceFile(file: string, text: string | null): void {
  if (text === null) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(path.dirname(file), { recursive: true });
  writeDurably(file, text);
  if (readFileSync(file, "utf8") !== text) throw new Error(`${file} keeps nothing: it is no regular file`);
}

interface Setting {
  readonly path: string;
  readonly ports: readonly PortRange[];
}

/** The files that set the key, in the order in which sysctl(8) reads them. */
function readSettings(root: string): { settings: Setting[]; refused: string[] } {
  const byName = new Map<string, string>();
  for (const folder of FOLDERS.filter((one) => existsSync(path.join(root, one)))) {
    const names = readdirSync(path.join(root, folder)).filter((name) => name.endsWith(".conf"));
    for (const name of names) if (!byName.has(name)) byName.set(name, path.join(folder, name));
  }
  const names = [...byName.keys()].sort();
  const lists = [...names.map((name) => byName.get(name)!), LAST].flatMap((file) => {
    const list = readList(path.join(root, file));
    return list === null ? [] : [{ path: file, list }];
  });
  const settings = lists.flatMap(({ path: file, list }) => {
    const ports = parseList(list);
    return ports === null ? [] : [{ path: file, ports }];
  });
  return { settings, refused: lists.filter(({ list }) => parseList(list) === null).map((one) => one.path) };
}

/** The list that sysctl(8) sets at the next boot. */
export function persistentPorts(): readonly PortRange[] {
  return readSettings("/").settings.at(-1)?.ports ?? [];
}

function isLater(file: string, than: string): boolean {
  return file === LAST || path.basename(file) > path.basename(than);
}

/** The last value of the key in a file; null without. A leading "-" asks sysctl(8) to ignore errors. */
function readList(file: string): string | null {
  if (!existsSync(file)) return null;
  const lines = readFileSync(file, "utf8").matchAll(
    /^[ \t]*-?[ \t]*net[./]ipv4[./]ip_local_reserved_ports[ \t]*=(.*)$/gm,
  );
  return [...lines].at(-1)?.[1]?.trim() ?? null;
}

/** The ranges as the kernel takes them; null for a list that it refuses, such as one with spaces. */
function parseList(list: string): PortRange[] | null {
  if (!/^(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?$/.test(list)) return null;
  const ranges = parsePortList(list);
  return ranges.every(({ low, high }) => low <= high && high <= 65_535) ? ranges : null;
}
