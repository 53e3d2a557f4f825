/** reserve(): the list now and after a reboot, and what a reservation does to other ports. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { pickedPorts } from "../../lib/audit/reserve.ts";
import type { CommandResult } from "../support/harness.ts";
import { cli, command, MAIN, needsNamespaces } from "../support/harness.ts";

const schema = JSON.parse(readFileSync(new URL("../../docs/schema/reserve-1.json", import.meta.url), "utf8"));
const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(schema);

/** Runs a script where /etc/sysctl.d, the network namespace and its range are its own; $S is the command line. */
function runAlone(range: string, script: string): Promise<CommandResult> {
  const setUp = `set -e
    ip link set lo up
    mount -t tmpfs none /etc/sysctl.d
    echo "${range}" > /proc/sys/net/ipv4/ip_local_port_range
    LIST=/proc/sys/net/ipv4/ip_local_reserved_ports
    S="${process.execPath} ${MAIN}"
    ${script}`;
  return command("unshare", ["-rnm", "sh", "-c", setUp]);
}

/** The last port of a range of five ports. */
const LAST = 50_004;

function pick(range: string, reserved: string): number[] {
  const [low, high] = range.split("-").map(Number);
  const ranges = reserved.split(",").filter(Boolean).map(Number);
  const list = ranges.map((port) => ({ low: port, high: port }));
  return [...pickedPorts({ low: low!, high: high! }, list)];
}

describe("which ports plain connects get", () => {
  test.each([
    ["50000-50005", "", [50_000, 50_002, 50_004]],
    ["50001-50006", "", [50_001, 50_003, 50_005]],
    ["50000-50004", "", [50_000, 50_002]],
    ["50000-50004", "50002", [50_000, 50_004]],
    ["50000-50004", "50000", [50_002]],
    ["50000-50003", "50000,50002", [50_001, 50_003]],
    ["50000-50000", "", [50_000]],
    ["50000-50000", "50000", []],
  ])("of %s with %j reserved", (range, reserved, picked) => {
    expect(pick(range, reserved)).toEqual(picked);
  });

  test("the kernel agrees: reserving the neighbour of an odd range's last port makes that port reachable", async (context) => {
    needsNamespaces(context);
    const attempt = `$S reconnect 127.0.0.1:${LAST} --attempts 3000 --json >/dev/null || echo never`;
    const before = await runAlone("50000 50004", attempt);
    expect(before, "control").toMatchObject({ status: 0, stdout: "never\n" });
    const after = await runAlone("50000 50004", `$S reserve 50002; ${attempt}`);
    expect(after.stdout).toContain("the kernel now picks ports that it did not pick: 50004\n");
    expect(after).toMatchObject({ status: 0, stdout: expect.not.stringContaining("never") });
  });
});

describe("selfconnect reserve", () => {
  test("adds to the list, takes back, and a dry run changes nothing", async (context) => {
    needsNamespaces(context);
    const script = `echo 40000-40002 > $LIST
      $S reserve 40003 --dry-run; cat $LIST
      $S reserve 40003; cat $LIST
      $S reserve 40001 --undo; cat $LIST
      $S reserve 50000; $S reserve 50000; $S reserve 50000 --undo; $S reserve 99`;
    const { status, stdout, stderr } = await runAlone("40000 60999", script);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const key = "net.ipv4.ip_local_reserved_ports";
    expect(stdout.split("\n")).toEqual([
      `would set ${key}: 40000-40002 -> 40000-40003`,
      "40000-40002",
      `${key}: 40000-40002 -> 40000-40003`,
      "40000-40003",
      `${key}: 40000-40003 -> 40000,40002-40003`,
      "40000,40002-40003",
      `${key}: 40000,40002-40003 -> 40000,40002-40003,50000`,
      "port 50002 is picked 2 times as often as others, in place of the reserved ports before it",
      `${key}: 40000,40002-40003,50000, as before`,
      "port 50002 is picked 2 times as often as others, in place of the reserved ports before it",
      `${key}: 40000,40002-40003,50000 -> 40000,40002-40003`,
      `${key}: 40000,40002-40003 -> 99,40000,40002-40003`,
      "the kernel picks ports of 40000-60999 only: 99 needs no reservation",
      "",
    ]);
  });

  test("says when no port is left, and the kernel agrees", async (context) => {
    needsNamespaces(context);
    const script = "$S reserve 50000; $S dial 127.0.0.1:9 --attempts 1 || true";
    const { status, stdout, stderr } = await runAlone("50000 50000", script);
    expect(status).toBe(0);
    expect(stdout).toContain("no port is left: a connect that binds no port fails with EADDRNOTAVAIL");
    expect(stdout + stderr).toContain("EADDRNOTAVAIL 127.0.0.1:9");
  });

  test("--persist writes the list of the files, not that of the moment, and --undo removes it; both agree", async (context) => {
    needsNamespaces(context);
    const script = `echo "net.ipv4.ip_local_reserved_ports = 45000" > /etc/sysctl.d/10-first.conf
      echo 46000 > $LIST
      $S reserve 50000 --persist >/dev/null; tail -1 /etc/sysctl.d/zz-selfconnect.conf; cat $LIST
      $S reserve 50000 --persist --undo >/dev/null; ls /etc/sysctl.d; cat $LIST
      echo "net.ipv4.ip_local_reserved_ports=1" > /etc/sysctl.d/zzz.conf
      text=$($S reserve 50000 --persist) || echo "exit $?"; echo "$text" | tail -2
      mount -o remount,bind,ro /etc/sysctl.d
      $S reserve 40000 --persist 2>/dev/null || cat $LIST`;
    const { status, stdout, stderr } = await runAlone("32768 60999", script);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.split("\n")).toEqual([
      "net.ipv4.ip_local_reserved_ports = 45000,50000",
      "46000,50000",
      "10-first.conf",
      "46000",
      "exit 1",
      "/etc/sysctl.d/zzz.conf sets the same key, is read later, and wins",
      "the next boot does not do what was asked",
      "46000,50000",
      "",
    ]);
  });

  test("exits with 3 when a listener is at risk that was not, and --json conforms to its schema", async (context) => {
    needsNamespaces(context);
    const listen = `require("net").createServer().listen(${LAST}, "127.0.0.1", () => console.error("up"))`;
    const script = `${process.execPath} -e '${listen}' & OWNER=$!
      for i in $(seq 100); do $S who 127.0.0.1:${LAST} >/dev/null || break; done
      $S reserve 50002 --json || echo "$?" >&2
      kill $OWNER`;
    const { stdout, stderr } = await runAlone("50000 50004", script);
    const report = JSON.parse(stdout);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report).toMatchObject({
      effects: { nowPicked: [{ low: 50_004, high: 50_004 }], endangered: [{ port: 50_004 }] },
      isDone: true,
    });
    expect(stderr.split("\n")).toContain("3");
  });

  test("says what is missing where it may not write", async () => {
    const asOther = process.getuid!() === 0 ? ["setpriv", "--reuid=65534", "--clear-groups"] : ["env"];
    const [file, ...args] = [...asOther, process.execPath, MAIN, "reserve", "50000"];
    const { status, stderr } = await command(file!, args);
    expect(status).toBe(1);
    expect(stderr).toContain("EACCES");
  });

  test("checks the port", async () => {
    expect((await cli(["reserve", "0"])).status).toBe(2);
    expect((await cli(["reserve"])).status).toBe(2);
  });
});
