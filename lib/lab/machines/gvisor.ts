/** gVisor's network stack: `runsc do`. */
import { mkdtempSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Launch } from "../leash.ts";
import type { Machine } from "../machine.ts";
import { cannotRun, GUEST, missingAccess, missingPrograms, probe } from "../machine.ts";
import { encodeTask } from "../task.ts";

const WORDS = "gVisor runs a program";

export function gvisorMachine(): Machine {
  return {
    name: "gvisor",
    title: "gvisor",
    isEmulated: () => Promise.resolve(false),
    async missing(signal) {
      return (
        missingForGvisor() ??
        missingAccess() ??
        cannotRun("gVisor", await probe("gvisor", WORDS, () => sandboxLaunch("echo", WORDS), signal))
      );
    },
    launch: async (task) => sandboxLaunch(process.execPath, GUEST, encodeTask(task)),
  };
}

/** What has to be installed first, or null. */
export function missingForGvisor(): string | null {
  return missingPrograms({ runsc: "runsc" });
}

/** runsc makes a temporary folder, and leaves it behind when it is killed: it is in one that goes with the guest. */
function sandboxLaunch(...command: readonly string[]): Launch {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-gvisor-"));
  const sandbox = ["runsc", "--rootless", "--network=none", "do", ...command];
  return { folder, file: "env", args: [`TMPDIR=${folder}`, ...sandbox] };
}
