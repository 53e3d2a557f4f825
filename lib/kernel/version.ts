/** Which release of this package runs; alone in its file, because `selfconnect --version` needs nothing else. */
import { readFileSync } from "node:fs";

/** package.json: the version of this package; "unknown" where the file is not beside it, as in a bundle. */
export function packageVersion(): string {
  try {
    return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
  } catch {
    return "unknown";
  }
}
