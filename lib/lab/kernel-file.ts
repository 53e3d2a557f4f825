/** Finds the machine that a kernel's file is for, by the file's content. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import type { KernelMachine } from "./experiment.ts";

/** The setup header of the x86 boot protocol. */
const BZIMAGE = { at: 0x202, mark: "HdrS" } as const;
const ELF_MARK = "\x7fELF";
/** An option in the help text of every User-mode Linux. */
const UML_MARK = "uml_dir=";

/** Returns the machine that can run this file. Throws an Error with what the file is instead. */
export function machineOfFile(file: string): KernelMachine {
  const head = readHead(file);
  const markAt = (at: number, length: number) => head.subarray(at, at + length).toString("latin1");
  if (markAt(BZIMAGE.at, BZIMAGE.mark.length) === BZIMAGE.mark) return "qemu";
  if (markAt(0, ELF_MARK.length) !== ELF_MARK) {
    throw new Error(`${file} is no kernel: give a vmlinuz (x86's bzImage), or a User-mode Linux ("linux")`);
  }
  if (readFileSync(file).includes(UML_MARK)) return "uml";
  throw new Error(
    `${file} is an ELF file, and not a User-mode Linux: give arch/x86/boot/bzImage instead of vmlinux`,
  );
}

function readHead(file: string): Buffer {
  const head = Buffer.alloc(1024);
  const fd = openSync(file, "r");
  try {
    readSync(fd, head);
    return head;
  } finally {
    closeSync(fd);
  }
}
