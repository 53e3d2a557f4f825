/** `selfconnect/lab`: asks many kernels the same questions. */
export type { CacheEntry, CleanCacheOptions, CleanedCache } from "./cache.ts";
export { cleanCache } from "./cache.ts";
export type { Expectation, Judgement, Unexpected } from "./expectation.ts";
export { expectationOf, experimentsOf, judge, parseExpectation, readExpectation } from "./expectation.ts";
export type { KernelPackage, ShelfOptions } from "./kernels.ts";
export { defaultCacheFolder, KernelShelf } from "./kernels.ts";
export type { Finding, LabKernel, LabOptions, LabResult } from "./lab.ts";
export { findExperiments, runLab } from "./lab.ts";
export type { Machine } from "./machine.ts";
export type { MachineAbout, MachineChoice } from "./machines.ts";
export { DEFAULT_KERNELS, DEFAULT_MACHINES, listMachines, makeMachines } from "./machines.ts";
export type { HostOptions, HostResult } from "./on-hosts.ts";
export { checkHosts, runOnHosts } from "./on-hosts.ts";
export type { RemoteOptions } from "./remote.ts";
export type { SysctlAxis } from "./sysctl-axis.ts";
export { parseSysctlAxis, spreadSysctls } from "./sysctl-axis.ts";
