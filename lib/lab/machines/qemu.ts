/** Boots a kernel under QEMU's microvm, with this package in an initramfs; the guest prints to the serial console. */
import { accessSync, constants } from "node:fs";
import { buildGuestImage } from "../image.ts";
import type { Kernel } from "../kernels.ts";
import type { Machine } from "../machine.ts";
import { missingAccess, missingPrograms, probe } from "../machine.ts";
import { encodeTask } from "../task.ts";

const MEMORY_MIB = 1024;
const BOARD = [
  ...["-M", "microvm,acpi=off", "-cpu", "max", "-nodefaults", "-no-user-config"],
  ...["-nographic", "-serial", "stdio", "-no-reboot"],
];
const CONSOLE = "console=ttyS0 quiet panic=-1 reboot=t";
/** A kernel without a root file system panics at the end of its start. This line shows that KVM ran a kernel. */
const PANIC = "Kernel panic - not syncing: VFS";

export function qemuMachine(kernel: Kernel, cacheFolder: string): Machine {
  return {
    name: "qemu",
    title: `qemu ${kernel.release ?? kernel.file}`,
    ...(kernel.release !== undefined && { release: kernel.release }),
    missing: async () => missingForQemu() ?? missingAccess(),
    isEmulated: async (signal) => !(await hasKvm(kernel, signal)),
    launch: async (task, signal) => ({
      file: "qemu-system-x86_64",
      ownPids: true,
      args: [
        ...[...BOARD, "-accel", (await hasKvm(kernel, signal)) ? "kvm" : "tcg,thread=multi"],
        ...["-m", String(MEMORY_MIB), "-kernel", kernel.file, "-initrd", buildGuestImage(cacheFolder)],
        ...["-append", `${CONSOLE} SELFCONNECT_TASK=${encodeTask(task)}`],
      ],
    }),
  };
}

/** What has to be installed first, or null. */
export function missingForQemu(): string | null {
  return missingPrograms({
    "qemu-system-x86_64": "qemu-system-x86",
    busybox: "busybox-static",
    cpio: "cpio",
  });
}

/** The device of KVM. Tests replace it. */
export const kvm = { device: "/dev/kvm" };

/** Whether a guest runs with KVM. It may be present and fail or hang, as nested virtualization does. */
async function hasKvm({ file }: Kernel, signal?: AbortSignal): Promise<boolean> {
  try {
    accessSync(kvm.device, constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  const args = [...BOARD, "-accel", "kvm", "-m", "256", "-kernel", file, "-append", CONSOLE];
  return (
    (await probe("kvm", PANIC, () => ({ file: "qemu-system-x86_64", args, ownPids: true }), signal)) === null
  );
}
