/** Which Node the command line needs: an older one would end with the stack trace of something that it lacks. */

/** Those of package.json's engines. */
const OLDEST = [20, 12] as const;

/** One line for a Node that is too old; null for any other. */
export function describeOldNode(version: string): string | null {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isOld = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
  return isOld ? `selfconnect: Node ${version} is too old: install Node ${OLDEST.join(".")} or later` : null;
}
