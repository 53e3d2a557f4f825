// Reads sources.txt. As a program it prints the sources of one platform, for binding.gyp: node native/sources.mjs linux
import { readFileSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The sources to compile on a platform, as paths from the root. */
export function sourcesFor(name) {
  const text = readFileSync(new URL("sources.txt", import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.flatMap((line) => {
    const [, platform, source] = /^(!?[a-z]+): (\S+)$/.exec(line) ?? [];
    if (!source) throw new Error(`native/sources.txt: "${line}" is not "platform: path"`);
    const isFor = platform.startsWith("!") ? platform !== `!${name}` : ["all", name].includes(platform);
    return isFor ? [`native/${source}`] : [];
  });
}

if (realpathSync(process.argv[1] ?? ".") === fileURLToPath(import.meta.url)) {
  console.log(sourcesFor(process.argv[2] ?? process.platform).join("\n"));
}
