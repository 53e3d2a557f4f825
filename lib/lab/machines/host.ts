/** The host's own kernel, in a network namespace of its own where that is allowed. */
import { spawnSync } from "node:child_process";
import type { Machine } from "../machine.ts";
import { GUEST } from "../machine.ts";
import { encodeTask } from "../task.ts";

const SET_UP = 'ip link set lo up && exec "$@"';

export function hostMachine(): Machine {
  return {
    name: "host",
    title: "host",
    isEmulated: false,
    missing: () => null,
    launch(task) {
      const guest = [process.execPath, GUEST, encodeTask(task)];
      if (!canUnshare()) return { file: guest[0]!, args: guest.slice(1) };
      return { file: "unshare", args: ["-rn", "sh", "-c", SET_UP, "sh", ...guest] };
    },
  };
}

/** unshare(1): without it the experiments that set sysctls say that they cannot. */
function canUnshare(): boolean {
  return spawnSync("unshare", ["-rn", "ip", "link", "show"]).status === 0;
}
