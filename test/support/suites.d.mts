/** The tests of another package. */
export interface Suite {
  readonly name: string;
  /** Its test files, by their names. */
  readonly files: RegExp;
  /** The arguments of the Node that runs some of them. */
  readonly run: (files: readonly string[]) => readonly string[];
  readonly timeoutMs?: number;
  /** Whether one process runs all files. */
  readonly together?: boolean;
  readonly server?: { readonly name: string; readonly port?: number; readonly portVariable?: string };
}

export interface SuiteResult {
  readonly files: number;
  /** How many tests passed without register, and under it. */
  readonly without: number;
  readonly under: number;
  /** The tests that pass without register and not under it. */
  readonly ours: readonly string[];
  /** The files that did not end by themselves without register. */
  readonly killed: readonly string[];
}

export const SUITES: readonly Suite[];
export function runSuite(
  suite: Suite,
  folder: string,
  environment?: Readonly<Record<string, string>>,
): Promise<SuiteResult>;
