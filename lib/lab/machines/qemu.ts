/** A kernel of its own under QEMU's microvm: this package in an initramfs, answers on the serial console. */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { guestImage } from "../image.ts";
import type { Machine } from "../machine.ts";
import { missingPrograms } from "../machine.ts";
import { encodeTask } from "../task.ts";

const MEMORY_MIB = 1024;
const BOARD = [
  ...["-M", "microvm,acpi=off", "-cpu", "max", "-nodefaults", "-no-user-config"],
  ...["-nographic", "-serial", "stdio", "-no-reboot"],
];
const CONSOLE = "console=ttyS0 quiet panic=-1 reboot=t";
const PROBE_MS = 8000;

/** A kernel to boot: its image, and what uname(2) will say. */
export interface Kernel {
  readonly vmlinuz: string;
  /** Absent for a file whose release is not known. */
  readonly release?: string;
}

export function qemuMachine(kernel: Kernel, cacheFolder: string): Machine {
  return {
    name: "qemu",
    title: `qemu ${kernel.release ?? kernel.vmlinuz}`,
    ...(kernel.release !== undefined && { release: kernel.release }),
    get isEmulated() {
      return acceleration(kernel) !== "kvm";
    },
    missing: () =>
      missingPrograms({
        "qemu-system-x86_64": "qemu-system-x86",
        busybox: "busybox-static",
        cpio: "cpio",
      }),
    launch: (task) => ({
      file: "qemu-system-x86_64",
      args: [
        ...[...BOARD, "-accel", acceleration(kernel), "-m", String(MEMORY_MIB)],
        ...["-kernel", kernel.vmlinuz, "-initrd", guestImage(cacheFolder)],
        ...["-append", `${CONSOLE} SELFCONNECT_TASK=${encodeTask(task)}`],
      ],
    }),
  };
}

let known: string | undefined;

/** KVM where a machine made with it runs, which nested virtualization may not grant; otherwise translation. */
function acceleration({ vmlinuz }: Kernel): string {
  known ??= hasKvm(vmlinuz) ? "kvm" : "tcg,thread=multi";
  return known;
}

function hasKvm(vmlinuz: string): boolean {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  // A kernel without a root panics and restarts, which ends the machine; it gets there only where KVM works.
  const args = [...BOARD, "-accel", "kvm", "-m", "256", "-kernel", vmlinuz];
  const probe = spawnSync("qemu-system-x86_64", [...args, "-append", CONSOLE], {
    timeout: PROBE_MS,
    stdio: "ignore",
  });
  return probe.status === 0;
}
