/** Where the files of this package are; the one place that asks, because a bundler changes the answer. */
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

let known: string | undefined;

/**
 * The file that runs this code: one of the package's, two folders down from its root, or somebody's bundle. Of the two
 * words for it a bundle may have one, or one that names the source on the machine that built it: in CommonJS there is
 * no import.meta.url, webpack's is the source's, and so is Bun's __filename. A single executable has its own path in
 * __filename, and `node --eval` has "[eval]".
 */
export function ownFile(): string {
  if (known !== undefined) return known;
  const files = [
    typeof __filename === "string" ? __filename : "",
    import.meta.url ? fileURLToPath(import.meta.url) : "",
  ].filter(path.isAbsolute);
  known = files.find((file) => existsSync(file)) ?? files[0] ?? process.execPath;
  return known;
}

/** The absolute path of a file of the package, such as "dist/register.cjs". In a bundle there is no such file. */
export function packageFile(name: string): string {
  return path.resolve(path.dirname(ownFile()), "../..", name);
}

/** The folder of the prebuilt addons. It is written so that @vercel/nft can read it, and copies the folder. */
export function prebuiltFolder(): string {
  return import.meta.dirname ? path.join(import.meta.dirname, "../../prebuilds") : packageFile("prebuilds");
}

/** Whether this code runs from the package, and not from a bundle, which has none of the package's other files. */
export function isInPackage(): boolean {
  return existsSync(packageFile("dist/register.cjs"));
}
