/**
 * Each guest captures its own SYNs by AF_PACKET, and `selfconnect ports --read` names the algorithm of its kernel from
 * the file, each time. The kernels are those in the cache and the host's.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Machine } from "../../lib/lab/index.ts";
import { KernelShelf, makeMachines } from "../../lib/lab/index.ts";
import { GUEST } from "../../lib/lab/machine.ts";
import type { PortsReading } from "../../lib/ports/index.ts";
import { supposeAlgorithm } from "../../lib/ports/index.ts";
import { cli, command } from "../support/harness.ts";
import { read } from "../support/port-captures.ts";

const CAPTURES = 20;
const MOST_BYTES = 40_000_000;
const PROGRAM = new URL("../support/programs/capture-guest.mjs", import.meta.url).pathname;
const shelf = new KernelShelf();
const kernels = shelf.listCached().filter(({ machine }) => machine === "uml");
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-captures-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Returns the captures of a guest of this machine. gVisor gives raw sockets to a guest only when it is asked to. */
async function capturesOf(machine: Machine): Promise<Buffer[]> {
  const task = { nonce: "captures", machine: machine.name, experiments: [], trials: CAPTURES };
  const launch = await machine.launch(task);
  const own = launch.args.map((argument) => argument.replace(GUEST, PROGRAM));
  const args = own.flatMap((argument) => (argument === "runsc" ? [argument, "--net-raw"] : [argument]));
  try {
    const { stdout } = await command(launch.file, args);
    expect(stdout.length).toBeLessThan(MOST_BYTES);
    const lines = stdout.split("\n").map((line) => line.trim());
    expect(lines, stdout.slice(-500)).toContain("@end");
    const after = (mark: string) =>
      lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length));
    expect(after("@refused ")).toEqual([]);
    return after("@capture ").map((text) => Buffer.from(text, "base64"));
  } finally {
    if (launch.folder) rmSync(launch.folder, { recursive: true, force: true });
  }
}

/** The only host in a capture. */
function nameOf({ sources }: PortsReading): string {
  expect(sources).toHaveLength(1);
  return sources[0]!.verdict.name;
}

async function readByCommand(capture: Uint8Array): Promise<string> {
  const file = path.join(folder, "guest.pcapng");
  writeFileSync(file, capture);
  const { stdout, stderr } = await cli(["ports", "--read", file, "--json"]);
  expect(stderr).toBe("");
  return nameOf(JSON.parse(stdout));
}

async function nameAll(machine: Machine, expected: string): Promise<void> {
  const captures = await capturesOf(machine);
  const names: string[] = [];
  for (const capture of captures) names.push(nameOf(await read(capture)));
  const right = names.filter((name) => name === expected).length;
  const bytes = Math.max(...captures.map(({ length }) => length));
  console.log(`${machine.title}: ${expected} in ${right} of ${CAPTURES} captures of up to ${bytes} bytes`);
  expect(names).toEqual(Array.from({ length: CAPTURES }, () => expected));
  expect(await readByCommand(captures[0]!)).toBe(expected);
}

test("the host", { timeout: 300_000 }, async () => {
  const [machine] = await makeMachines({ machines: ["host"], kernels: [] }, shelf);
  await nameAll(machine!, supposeAlgorithm("connect", os.release()).name);
});

test.skipIf(kernels.length === 0).each(kernels)(
  "User-mode Linux $release",
  { timeout: 600_000 },
  async ({ release }) => {
    const [machine] = await makeMachines({ machines: ["uml"], kernels: [release] }, shelf);
    const missing = await machine!.missing();
    if (missing) return console.log(`skipped: ${missing}`);
    await nameAll(machine!, supposeAlgorithm("connect", release).name);
  },
);

test("gVisor", { timeout: 300_000 }, async (context) => {
  const [machine] = await makeMachines({ machines: ["gvisor"], kernels: [] }, shelf);
  const missing = await machine!.missing();
  if (missing) return context.skip(missing);
  await nameAll(machine!, "hash-based");
});
