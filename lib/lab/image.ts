/** Builds the guest's initramfs: Node and its libraries, this package, a static busybox, and a short init. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { PACKAGE_ROOT } from "./machine.ts";

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox ip link set lo up
/bin/node /package/dist/lab/guest.js "$SELFCONNECT_TASK"
exec /bin/busybox reboot -f
`;

/** Where the addon may be in a checkout or a package. */
const ADDONS = [
  "build/Release/selfconnect.node",
  `prebuilds/${process.platform}-${process.arch}/selfconnect.node`,
];
let builtImage: string | undefined;

/** Returns the path of the image. Builds it unless the cache has one of exactly these files. */
export function buildGuestImage(cacheFolder: string): string {
  builtImage ??= buildImage(listGuestFiles(), cacheFolder);
  return builtImage;
}

/** Returns the source of each file of the guest, by its path in the guest. */
function listGuestFiles(): Map<string, string> {
  const files = new Map<string, string>([
    ["bin/busybox", execFileSync("sh", ["-c", "command -v busybox"], { encoding: "utf8" }).trim()],
    ["bin/node", process.execPath],
    ["package/package.json", path.join(PACKAGE_ROOT, "package.json")],
    ["package/dist", path.join(PACKAGE_ROOT, "dist")],
  ]);
  const addon = ADDONS.find((place) => existsSync(path.join(PACKAGE_ROOT, place)));
  if (!addon) throw new Error("selfconnect has no addon here for a guest to load");
  files.set(`package/${addon}`, path.join(PACKAGE_ROOT, addon));
  for (const library of [process.execPath, path.join(PACKAGE_ROOT, addon)].flatMap(listLibraries)) {
    files.set(library.slice(1), library);
  }
  return files;
}

/** ldd(1): the shared libraries of a program, and the loader. */
function listLibraries(program: string): string[] {
  const text = execFileSync("ldd", [program], { encoding: "utf8" });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
}

function buildImage(files: ReadonlyMap<string, string>, cacheFolder: string): string {
  const image = path.join(cacheFolder, `guest-${keyOf(files)}.cpio`);
  if (existsSync(image)) return image;
  mkdirSync(cacheFolder, { recursive: true });
  const root = mkdtempSync(path.join(cacheFolder, "guest-"));
  const archive = `${root}.cpio`;
  try {
    fill(root, files);
    execFileSync("sh", ["-c", PACK, "sh", root, archive], { stdio: ["ignore", "ignore", "pipe"] });
    renameSync(archive, image);
    dropOld(cacheFolder);
  } finally {
    for (const left of [root, archive]) rmSync(left, { recursive: true, force: true });
  }
  return image;
}

/** Removes all but the newest images, because every build of the package leads to a new one. */
function dropOld(cacheFolder: string): void {
  const images = readdirSync(cacheFolder)
    .filter((name) => /^guest-[0-9a-f]{16}\.cpio$/.test(name))
    .map((name) => path.join(cacheFolder, name))
    .sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  for (const old of images.slice(MOST_IMAGES)) rmSync(old, { force: true });
}

const MOST_IMAGES = 2;
const PACK = 'cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 > "$2"';

function fill(root: string, files: ReadonlyMap<string, string>): void {
  for (const folder of ["proc", "sys", "dev", "tmp"]) mkdirSync(path.join(root, folder));
  for (const [inside, outside] of files) {
    cpSync(outside, path.join(root, inside), {
      recursive: true,
      dereference: true,
      filter: (source) => !source.endsWith("/dist/cli") && !source.endsWith(".d.ts"),
    });
  }
  writeFileSync(path.join(root, "init"), INIT);
  chmodSync(path.join(root, "init"), 0o755);
}

/** A hash of all files: by size and date, and for the package by the hash of its sources. */
function keyOf(files: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256").update(INIT);
  for (const [inside, outside] of files) {
    const { size, mtimeMs } = statSync(outside);
    hash.update(`${inside} ${outside} ${size} ${mtimeMs}\n`);
  }
  const stamp = path.join(PACKAGE_ROOT, "dist/.made-from");
  if (existsSync(stamp)) hash.update(readFileSync(stamp));
  return hash.digest("hex").slice(0, 16);
}
