/** Behind a load balancer that rewrites connect(2) and getpeername(2) a name proves nothing; the kernel's four-tuple does. */
import type { TestContext } from "vitest";
import { describe, expect, it } from "vitest";
import { command } from "../support/harness.ts";

const program = (name: string) => new URL(`../support/programs/${name}`, import.meta.url).pathname;

const SERVICE = "10.96.0.10";
const BACKEND = 40_002;
const COUNT = 100;
/** What the setup exits with when this host has no permission for it, or no cgroup v2, BPF or python3. */
const UNAVAILABLE = 77;

/** Runs the clients in a namespace with eight ports that connect(2) picks, behind the balancer. */
async function runBalanced(context: TestContext, port: number): Promise<Record<string, number>> {
  const setUp = `
    mount --make-rprivate / && ip link set lo up && ip route add 10.96.0.0/16 dev lo || exit ${UNAVAILABLE}
    echo "40000 40015" > /proc/sys/net/ipv4/ip_local_port_range
    folder=$(mktemp -d) && mount -t cgroup2 none $folder || exit ${UNAVAILABLE}
    group=$folder/selfconnect-$$; mkdir $group || exit ${UNAVAILABLE}
    python3 "$1" $group ${SERVICE} ${port} ${BACKEND} || { rmdir $group; exit ${UNAVAILABLE}; }
    (sh -c 'echo $PPID' > $group/cgroup.procs; shift; exec "$@"); status=$?
    sleep 0.1; rmdir $group; umount $folder; rmdir $folder; exit $status`;
  const clients = [process.execPath, program("balanced.mjs"), SERVICE, String(port), String(COUNT)];
  const args = ["-nm", "bash", "-c", setUp, "bash", program("load-balancer.py"), ...clients];
  const { status, stdout, stderr } = await command("unshare", args);
  if (status === UNAVAILABLE || stderr.startsWith("unshare:"))
    context.skip(`no load balancer here: needs root, cgroup v2, BPF and python3 (${stderr.trim()})`);
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

describe.each([
  ["the port unchanged", BACKEND],
  ["another port", 80],
])("a service whose only backend is this host, with %s", (_what, port) => {
  it("hands out no socket that is joined to itself; control: without the guard it does", async (context) => {
    const found = await runBalanced(context, port);
    expect(found.off, "control").toBeGreaterThan(0);
    expect(found).toMatchObject({ prevent: 0, detect: 0, dial: 0, proven: 1 });
    expect(found.refusals, "each a refusal with its verdict").toBeGreaterThan(0);
  });
});
