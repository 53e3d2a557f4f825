/** Another host's kernel, over ssh: in a new network namespace there where that is allowed. */
import type { Machine } from "../machine.ts";
import { LIMITS, missingPrograms } from "../machine.ts";
import type { RemoteOptions, SshHost } from "../remote.ts";
import { quoteWord, REMOTE_NODE, remoteFile, sshLaunch } from "../remote.ts";
import { encodeTask } from "../task.ts";
import { IN_NAMESPACE } from "./host.ts";

export function sshMachine(host: SshHost, options: RemoteOptions): Machine {
  return {
    name: "ssh",
    title: host.name,
    missing: async () => missingForSsh(),
    isEmulated: () => Promise.resolve(false),
    async launch(task) {
      const command = (ownsKernel: boolean) => {
        const encoded = encodeTask({ ...task, ownsKernel });
        const guest = [REMOTE_NODE, remoteFile("dist/lab/guest.js"), quoteWord(encoded)];
        return ownsKernel ? [...IN_NAMESPACE.map(quoteWord), ...guest] : guest;
      };
      return sshLaunch(host, { nonce: task.nonce, command, totalMs: LIMITS.totalMs }, options);
    },
  };
}

/** What has to be installed first, or null. */
export function missingForSsh(): string | null {
  return missingPrograms({ ssh: "openssh-client", tar: "tar" });
}
