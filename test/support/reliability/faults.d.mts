/** One fault of the matrix: see fault-matrix.mjs. */
export interface Fault {
  readonly id?: string;
  readonly call?: string;
  readonly verdict?: "error" | "went on" | "none" | "red";
  readonly why?: string;
}

/** Runs the part of the matrix that these arguments choose; `folder` is for the library. */
export function runMatrix(folder: string, args: readonly string[]): Promise<Fault[]>;
