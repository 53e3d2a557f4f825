/** gVisor's network stack: `runsc do`. */
import type { Launch, Machine } from "../machine.ts";
import { cannotRun, GUEST, missingPrograms, probe } from "../machine.ts";
import { encodeTask } from "../task.ts";

const WORDS = "gVisor runs a program";

export function gvisorMachine(): Machine {
  return {
    name: "gvisor",
    title: "gvisor",
    isEmulated: () => Promise.resolve(false),
    async missing(signal) {
      return (
        missingPrograms({ runsc: "runsc" }) ??
        cannotRun("gVisor", await probe("gvisor", WORDS, () => inSandbox("echo", WORDS), signal))
      );
    },
    launch: async (task) => inSandbox(process.execPath, GUEST, encodeTask(task)),
  };
}

function inSandbox(...command: readonly string[]): Launch {
  return { file: "runsc", args: ["--rootless", "--network=none", "do", ...command] };
}
