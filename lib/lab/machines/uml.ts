/** User-mode Linux: a kernel that is a program. Its root is the host's file system, read-only. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Kernel } from "../kernels.ts";
import type { Launch } from "../leash.ts";
import type { Machine } from "../machine.ts";
import { cannotRun, GUEST, missingAccess, missingPrograms, probe } from "../machine.ts";
import { encodeTask } from "../task.ts";
import { umlCommand } from "../uml-package.ts";
import { compilePtrace, hasAmx } from "../uml-registers.ts";

const MEMORY = "mem=512M";
const WORDS = "User-mode Linux runs a program";

/** Runs this kernel, or without one the `linux.uml` that is installed. */
export function umlMachine(kernel?: Kernel): Machine {
  const program = kernel?.file ?? INSTALLED;
  return {
    name: "uml",
    title: kernel ? `uml ${kernel.release ?? kernel.file}` : "uml",
    ...(kernel?.release !== undefined && { release: kernel.release }),
    isEmulated: () => Promise.resolve(false),
    async missing(signal) {
      const missing = missingForUml(kernel) ?? missingAccess();
      if (missing) return missing;
      const ending = await probe(`uml ${program}`, WORDS, () => boot(program, PROBE_INIT), signal);
      return cannotRun("User-mode Linux", ending, hintOf(readFileSync("/proc/cpuinfo", "utf8")));
    },
    async launch(task) {
      return boot(program, INIT, [
        `SELFCONNECT_TASK=${encodeTask(task)}`,
        `SELFCONNECT_GUEST=${GUEST}`,
        `SELFCONNECT_NODE=${process.execPath}`,
        `SELFCONNECT_MODULES=${path.dirname(program)}`,
      ]);
    },
  };
}

const INSTALLED = "linux.uml";

/** What has to be installed first, or null. */
export function missingForUml(kernel?: Kernel | "to be fetched"): string | null {
  return missingPrograms({
    ...(kernel === undefined && { [INSTALLED]: "user-mode-linux" }),
    ip: "iproute2",
    setpriv: "util-linux",
  });
}

/** Why it may not run on the CPU of this /proc/cpuinfo. "" if unknown. */
export function hintOf(cpuinfo: string): string {
  if (!hasAmx(cpuinfo)) return "";
  return "this CPU has AMX; User-mode Linux before 6.16 needs cc here (Debian: apt-get install gcc), 7.2 does not";
}

function boot(program: string, initScript: string, environment: readonly string[] = []): Launch {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-uml-"));
  const init = path.join(folder, "init");
  writeFileSync(init, initScript, { mode: 0o755 });
  const root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"];
  const console = ["con=null", "con0=null,fd:1", "ssl=null", "quiet", "panic=-1"];
  const args = [MEMORY, ...root, ...console, `init=${init}`, `uml_dir=${folder}`, ...environment];
  const plain = program === INSTALLED ? { file: program, args } : umlCommand(program, args);
  const preload = hasAmx(readFileSync("/proc/cpuinfo", "utf8")) ? compilePtrace(folder) : null;
  return { folder, ownPids: true, ...(preload === null ? plain : preloadLibrary(preload, plain)) };
}

/** Runs a command with a library that is loaded before all others. */
export function preloadLibrary(
  library: string,
  { file, args }: Pick<Launch, "file" | "args">,
): Pick<Launch, "file" | "args"> {
  return { file: "env", args: [`LD_PRELOAD=${library}`, file, ...args] };
}

/**
 * The kernel passes unknown arguments to init as environment variables. For a user with a user namespace of their own
 * root's files belong to nobody, and so would mount(8), which is set-user-ID: it is not root then.
 */
const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
setpriv --no-new-privs mount -t proc proc /proc
setpriv --no-new-privs mount -t sysfs sysfs /sys
for module in crc-ccitt ipv6; do
  file=$SELFCONNECT_MODULES/$module.ko
  test -f "$file" && { insmod "$file" || busybox insmod "$file"; } 2>/dev/null
done
ip link set lo up
"$SELFCONNECT_NODE" "$SELFCONNECT_GUEST" "$SELFCONNECT_TASK"
exec "$SELFCONNECT_NODE" -e 'require("fs").writeFileSync("/proc/sysrq-trigger", "o")'
`;

/** Runs nothing of this package, so that a failure is not the package's. The kernel ends with its init. */
const PROBE_INIT = `#!/bin/sh
echo "${WORDS}"
`;
