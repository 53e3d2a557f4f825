/** gVisor's network stack: `runsc do`. */
import type { Machine } from "../machine.ts";
import { GUEST, missingPrograms } from "../machine.ts";
import { encodeTask } from "../task.ts";

export function gvisorMachine(): Machine {
  return {
    name: "gvisor",
    title: "gvisor",
    isEmulated: false,
    missing: () => missingPrograms({ runsc: "runsc" }),
    launch: (task) => ({
      file: "runsc",
      args: ["--rootless", "--network=none", "do", process.execPath, GUEST, encodeTask(task)],
    }),
  };
}
