/** Where the files of this package are; the one place that asks, because a bundler changes the answer. */
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The file that runs this code: one of the package's, two folders down from its root, or somebody's bundle. */
export const OWN_FILE = ownFile();

/**
 * A bundle in CommonJS has no import.meta.url, and webpack's names the source on the machine that built it; both have
 * __filename, and so has a single executable, whose own path it is. A module has none, or "[eval]" of `node --eval`.
 */
function ownFile(): string {
  if (typeof __filename === "string" && path.isAbsolute(__filename)) return __filename;
  return import.meta.url ? fileURLToPath(import.meta.url) : process.execPath;
}

/** The absolute path of a file of the package, such as "dist/register.cjs". In a bundle there is no such file. */
export function packageFile(name: string): string {
  return path.resolve(path.dirname(OWN_FILE), "../..", name);
}

/** Whether this code runs from the package, and not from a bundle, which has none of the package's other files. */
export function isInPackage(): boolean {
  return existsSync(packageFile("dist/register.cjs"));
}
