/**
 * Another stack's SYNs: a client on lwIP (Debian's liblwip-dev, fetched and compiled here) connects through a tap device,
 * tcpdump captures it, and `readPorts()` names its counter.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { command } from "../support/harness.ts";
import { read } from "../support/port-captures.ts";

const PACKAGES = ["liblwip-dev", "liblwip0"];
const CLIENT = new URL("../support/programs/lwip-client.c", import.meta.url).pathname;
/** The address of the client, and that of this host on the other side of the tap device. Of TEST-NET-1. */
const [OWN, PEER] = ["192.0.2.2", "192.0.2.1"];
const ROUNDS = 150;
/** Dead, because the namespace is new. */
const PORTS = Array.from({ length: 4 }, (_, index) => String(9001 + index));
const RUNS = 20;

/** Arguments: the file, then the client's command. */
const CAPTURE = `set -e
ip tuntap add dev tap0 mode tap
ip addr add ${PEER}/24 dev tap0
ip link set tap0 up
file=$1; shift
: > "$file.log" # grep may come before tcpdump's shell.
tcpdump -Z root -B 4096 -s 128 --immediate-mode -i tap0 -U -w "$file" 'tcp[tcpflags] & tcp-syn != 0 and src ${OWN}' 2> "$file.log" &
dump=$!
until grep -q listening "$file.log"; do kill -0 $dump; sleep 0.05; done
PRECONFIGURED_TAPIF=tap0 "$@"
sleep 0.5
kill -INT $dump
wait $dump`;

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-lwip-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Why this machine cannot run it, or null. */
function lackOf(): string | null {
  if (process.getuid!() !== 0) return "needs root: tcpdump changes its user";
  const missing = ["cc", "tcpdump", "ip", "dpkg", "apt-get"].filter(
    (program) => spawnSync("which", [program]).status !== 0,
  );
  if (missing.length > 0) return `needs ${missing.join(", ")}`;
  const settings = ["-o", "APT::Sandbox::User=root"];
  const fetched = spawnSync("apt-get", [...settings, "download", ...PACKAGES], {
    cwd: folder,
    encoding: "utf8",
  });
  return fetched.status === 0 ? null : `apt-get download: ${fetched.stderr.trim().split("\n").at(-1)}`;
}

/** Compiles the client. Returns its file, and the folder of its library. */
async function compileClient(): Promise<{ client: string; library: string }> {
  for (const archive of readdirSync(folder).filter((file) => file.endsWith(".deb")))
    expect(spawnSync("dpkg", ["-x", archive, "lwip"], { cwd: folder }).status).toBe(0);
  const [library] = readdirSync(path.join(folder, "lwip/usr/lib")).filter((name) => name.includes("-linux-"));
  const libraries = path.join(folder, "lwip/usr/lib", library!);
  const client = path.join(folder, "client");
  const words = [`-I${folder}/lwip/usr/include/lwip`, CLIENT, "-o", client, `-L${libraries}`, "-llwip"];
  expect(await command("cc", words)).toMatchObject({ status: 0, stderr: "" });
  return { client, library: libraries };
}

test("lwIP is a counter that its peers share", { timeout: 300_000 }, async (context) => {
  const lack = lackOf();
  if (lack) return context.skip(lack);
  const { client, library } = await compileClient();
  const file = path.join(folder, "lwip.pcap");
  for (let run = 0; run < RUNS; run++) {
    const words = [file, "env", `LD_LIBRARY_PATH=${library}`, client, OWN, PEER, String(ROUNDS), ...PORTS];
    const { status, stdout, stderr } = await command("unshare", ["-n", "sh", "-c", CAPTURE, "sh", ...words]);
    expect(stderr).toBe("");
    expect([status, stdout]).toEqual([0, `${ROUNDS * PORTS.length} refused\n`]);
    const { sources } = await read(readFileSync(file));
    expect(sources).toMatchObject([{ host: OWN, peerCount: PORTS.length, verdict: { name: "sequential" } }]);
    if (run === 0) console.log(`${sources[0]!.syns} SYNs: ${sources[0]!.verdict.name}`);
  }
});
