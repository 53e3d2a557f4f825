/** `selfconnect/lab`: the same questions to many kernels. */
export type { KernelPackage, ShelfOptions } from "./kernels.ts";
export { defaultCacheFolder, KernelShelf } from "./kernels.ts";
export type { Finding, LabKernel, LabOptions, LabResult } from "./lab.ts";
export { findExperiments, runLab } from "./lab.ts";
export type { Machine } from "./machine.ts";
export { makeMachines } from "./machines.ts";
