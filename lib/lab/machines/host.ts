/** The host's kernel, in a new network namespace where that is allowed. */
import { spawnSync } from "node:child_process";
import type { Machine } from "../machine.ts";
import { GUEST } from "../machine.ts";
import { encodeTask } from "../task.ts";

const SET_UP = 'ip link set lo up && exec "$@"';

export function hostMachine(): Machine {
  return {
    name: "host",
    title: "host",
    missing: () => Promise.resolve(null),
    isEmulated: () => Promise.resolve(false),
    async launch(task) {
      const ownsKernel = canUnshare();
      const guest = [GUEST, encodeTask({ ...task, ownsKernel })];
      if (!ownsKernel) return { file: process.execPath, args: guest };
      return { file: "unshare", args: ["-rn", "sh", "-c", SET_UP, "sh", process.execPath, ...guest] };
    },
  };
}

/** unshare(1): without a namespace, experiments that set sysctls report that they cannot. */
function canUnshare(): boolean {
  return spawnSync("unshare", ["-rn", "ip", "link", "show"]).status === 0;
}
