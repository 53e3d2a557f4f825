/** User-mode Linux: a kernel that is a program, on the host's own files, which it may only read. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Machine } from "../machine.ts";
import { GUEST, missingPrograms } from "../machine.ts";
import { encodeTask } from "../task.ts";

const MEMORY = "mem=512M";

export function umlMachine(): Machine {
  return {
    name: "uml",
    title: "uml",
    isEmulated: false,
    missing: () => missingPrograms({ "linux.uml": "user-mode-linux", ip: "iproute2" }),
    launch(task) {
      const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-uml-"));
      const init = path.join(folder, "init");
      writeFileSync(init, INIT, { mode: 0o755 });
      const root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"];
      const console = ["con=null", "con0=null,fd:1", "ssl=null", "quiet", "panic=-1"];
      const words = [
        `uml_dir=${folder}`,
        `SELFCONNECT_TASK=${encodeTask(task)}`,
        `SELFCONNECT_GUEST=${GUEST}`,
      ];
      return {
        file: "linux.uml",
        args: [MEMORY, ...root, ...console, `init=${init}`, ...words, `SELFCONNECT_NODE=${process.execPath}`],
        dispose: () => rmSync(folder, { recursive: true, force: true }),
      };
    },
  };
}

/** The kernel hands words that it does not know to init as environment variables. */
const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
ip link set lo up
"$SELFCONNECT_NODE" "$SELFCONNECT_GUEST" "$SELFCONNECT_TASK"
exec "$SELFCONNECT_NODE" -e 'require("fs").writeFileSync("/proc/sysrq-trigger", "o")'
`;
