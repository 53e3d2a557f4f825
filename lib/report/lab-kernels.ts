/** The kernels that are available to a lab, as the object of docs/schema/lab-kernels-1.json and as text. */
import type { KernelPackage } from "../lab/kernels.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText, tableLines } from "./terminal.ts";

/** The object of docs/schema/lab-kernels-1.json. */
export interface LabKernelsReport {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.lab-kernels/1";
  /** The Debian suites that were asked. */
  readonly suites: readonly string[];
  /** The kernels that are available or cached. */
  readonly kernels: readonly KernelPackage[];
}

/** Builds the object of docs/schema/lab-kernels-1.json. */
export function labKernelsReport(
  suites: readonly string[],
  kernels: readonly KernelPackage[],
): LabKernelsReport {
  return { schema: "selfconnect.lab-kernels/1", suites, kernels };
}

/** The kernels for a terminal: machine, version, suite, release, whether it is cached. */
export function labKernelsText({ kernels }: LabKernelsReport, options: TextOptions = {}): string {
  const rows = kernels.map(({ machine, release, version, suite, isCached }) => [
    machine,
    version,
    suite,
    release,
    isCached ? "cached" : "",
  ]);
  return renderText(tableLines(rows, "lllll"), options);
}
