/** The host's kernel, in a new network namespace where that is allowed. */
import { spawnSync } from "node:child_process";
import type { Machine } from "../machine.ts";
import { GUEST, missingAccess } from "../machine.ts";
import { encodeTask } from "../task.ts";

/** unshare(1): the command that runs the words after it in a network namespace of its own. */
export const IN_NAMESPACE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] as const;

export function hostMachine(): Machine {
  return {
    name: "host",
    title: "host",
    missing: async () => missingAccess(),
    isEmulated: () => Promise.resolve(false),
    async launch(task) {
      const ownsKernel = canUnshare();
      const guest = [GUEST, encodeTask({ ...task, ownsKernel })];
      if (!ownsKernel) return { file: process.execPath, args: guest };
      const [file, ...args] = IN_NAMESPACE;
      return { file, args: [...args, process.execPath, ...guest] };
    },
  };
}

/** unshare(1): without a namespace, experiments that set sysctls report that they cannot. */
function canUnshare(): boolean {
  return spawnSync("unshare", ["-rn", "ip", "link", "show"]).status === 0;
}
