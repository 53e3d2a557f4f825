/** `selfconnect/lab`: asks many kernels the same questions. */
export type { KernelPackage, ShelfOptions } from "./kernels.ts";
export { defaultCacheFolder, KernelShelf } from "./kernels.ts";
export type { Finding, LabKernel, LabOptions, LabResult } from "./lab.ts";
export { findExperiments, runLab } from "./lab.ts";
export type { Machine } from "./machine.ts";
export { makeMachines } from "./machines.ts";
