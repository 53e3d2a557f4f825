// Runs test files on this machine as if it lacked something, and writes the table of docs/machines.md. A test may be
// skipped for what a machine lacks, with the reason, but it must not fail. npm run check:wide machines; --only names other
// files or folders than the default ones.
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { runCommand } from "./run-command.mjs";

const PAGE = "docs/machines.md";
/** From each room what asks most of a machine. */
const FILES = [
  "test/socket/socket.test.ts",
  "test/socket/pair.test.ts",
  "test/kernel/kernel.test.ts",
  "test/guard/dial.test.ts",
  "test/packets/packets.test.ts",
  "test/lab/machine.test.ts",
  "test/cli/who.test.ts",
];
const MOST_MS = 1_800_000;
const OWN_NETWORK = 'ip link set lo up && exec "$@"';
const NO_IPV6 = `echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && ${OWN_NETWORK}`;
const NO_KVM = 'mount --bind /dev/null /dev/kvm && exec "$@"';
const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
/** The programs of the lab that a machine may lack. */
const LAB_PROGRAMS = /^(qemu-|linux\.uml$|runsc$)/;

/** What is put before the command, and what else is done. `lacks` is why a machine cannot be made like that here. */
const MACHINES = [
  { name: "as it is", prefix: [] },
  { name: "an unprivileged user", prefix: ["setpriv", ...NOBODY] },
  { name: "a network namespace of its own", prefix: ["unshare", "--net", "sh", "-c", OWN_NETWORK, "sh"] },
  { name: "256 open files", prefix: ["prlimit", "--nofile=256"] },
  { name: "one processor", prefix: ["taskset", "-c", "0"] },
  { name: "every processor busy", prefix: [], isBusy: true },
  {
    name: "no /dev/kvm",
    prefix: ["unshare", "--mount", "sh", "-c", NO_KVM, "sh"],
    lacks: existsSync("/dev/kvm") ? null : "this machine has none: the first row",
  },
  { name: "no QEMU, User-mode Linux or gVisor", prefix: [], without: LAB_PROGRAMS },
  { name: "no IPv6", prefix: ["unshare", "--net", "sh", "-c", NO_IPV6, "sh"] },
];

/** Tests each kind of machine, and writes the page. Returns the names of those on which a test failed. */
export async function testMachines(files = FILES) {
  const rows = [];
  for (const machine of MACHINES) {
    console.log(`\n— ${machine.name}`);
    const row = machine.lacks ? { reasons: [machine.lacks] } : await testMachine(machine, files);
    rows.push({ name: machine.name, ...row });
    console.log(JSON.stringify(row));
    writeFileSync(PAGE, pageOf(rows, files));
  }
  return rows.filter(({ failed }) => failed?.length > 0).map(({ name }) => name);
}

async function testMachine({ prefix, isBusy = false, without }, files) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-machines-"));
  const busy = isBusy ? os.availableParallelism() : 0;
  const burners = Array.from({ length: busy }, () => spawn("sh", ["-c", "while :; do :; done"]));
  try {
    for (const name of ["tmp", "home"]) makeOpen(path.join(folder, name));
    chmodSync(folder, 0o755);
    const env = { ...process.env, TMPDIR: path.join(folder, "tmp"), NO_COLOR: "1" };
    if (without) env.PATH = pathWithout(without, folder);
    if (prefix[0] === "setpriv") env.HOME = path.join(folder, "home");
    const vitest = [
      "node_modules/.bin/vitest",
      "run",
      "--configLoader=runner",
      "--reporter=verbose",
      ...files,
    ];
    const { status, output } = await runCommand([...prefix, process.execPath, ...vitest], {
      env,
      timeout: MOST_MS,
    });
    return readOutput(status, output);
  } finally {
    for (const burner of burners) burner.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A folder in which every user may write. */
function makeOpen(folder) {
  mkdirSync(folder);
  chmodSync(folder, 0o1777);
}

/** A PATH of one folder, with a link to every program but those. */
function pathWithout(programs, folder) {
  const links = mkdtempSync(path.join(folder, "bin-"));
  for (const place of process.env.PATH.split(":").filter((one) => existsSync(one))) {
    for (const name of readdirSync(place)) {
      const link = path.join(links, name);
      if (!programs.test(name) && !existsSync(link)) symlinkSync(path.join(place, name), link);
    }
  }
  return links;
}

/** The names of failed tests, how many passed, and how many were skipped for each reason: "↓ file > name 5ms [reason]". */
function readOutput(status, output) {
  const lines = output.split("\n");
  const namesOf = (sign) => lines.filter((line) => line.startsWith(` ${sign} `)).map((line) => line.slice(3));
  const failed = namesOf("×");
  if (status !== 0 && failed.length === 0) failed.push(`no test: ${lines.filter(Boolean).at(-1)}`);
  const skipped = namesOf("↓");
  const reasons = new Map();
  for (const line of skipped) {
    const reason = /\[(.+)\]$/.exec(line)?.[1] ?? "no reason given";
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return {
    passed: namesOf("✓").length,
    failed,
    skipped: skipped.length,
    reasons: [...reasons].map(([reason, count]) => (count > 1 ? `${reason} (${count})` : reason)),
  };
}

function pageOf(rows, files) {
  const cells = ({ name, passed = "", failed = [], skipped = "", reasons }) =>
    [name, passed, passed === "" ? "" : failed.length, skipped, reasons.join("; ")].join(" | ");
  return `# The tests on machines that lack something

A test may be skipped where a machine lacks what it needs, and prints the reason. It does not fail. Tests that are made for
each family exist for IPv4 alone where there is no IPv6; a line says so.
\`npm run check:wide machines\` makes this page. It runs ${files.map((file) => `\`${file}\``).join(" ")}.
\`npm run check:wide -- machines --only test/\` runs all, for at most half an hour on each.

Linux ${os.release()}, Node ${process.version}, ${os.availableParallelism()} processors, as ${os.userInfo().username}:

| machine | passed | failed | skipped | why |
|---|---|---|---|---|
${rows.map((row) => `| ${cells(row)} |`).join("\n")}

## A CPU with AMX

User-mode Linux before 6.16, which is Debian's 5.10, 6.1 and 6.12, keeps a process's registers in memory of a fixed size, too
small for those of a CPU with AMX: Linux refuses to write back a part of them, and it ends with its first process. The lab
cures that with a ptrace(2) of its own, which completes them, where \`cc\` can compile it (lib/lab/uml-registers.ts). Elsewhere it
skips these kernels, with the reason, and runs 7.2 (\`selfconnect lab --machine uml --kernels newest\`); QEMU runs the older ones.
`;
}
