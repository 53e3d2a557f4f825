/** The tests of another package. */
export interface Suite {
  readonly name: string;
  readonly server?: { readonly name: string; readonly port?: number; readonly portVariable?: string };
}

export interface SuiteResult {
  readonly files: number;
  /** How many tests passed without register, and under it. */
  readonly without: number;
  readonly under: number;
  /** The tests that pass without register and not under it. */
  readonly ours: readonly string[];
}

export const SUITES: readonly Suite[];
export function runSuite(
  suite: Suite,
  folder: string,
  environment?: Readonly<Record<string, string>>,
): Promise<SuiteResult>;
