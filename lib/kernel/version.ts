/** Which release of this package runs; alone in its file, because `selfconnect --version` needs nothing else. */

/** The build puts it here, so that a bundle has it too. */
declare const SELFCONNECT_VERSION: string;

/** package.json: the version of this package. */
export function packageVersion(): string {
  return SELFCONNECT_VERSION;
}
