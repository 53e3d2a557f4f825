// Runs npm test on this machine as if it lacked something, and writes the table of docs/machines.md. A test may be skipped
// for what a machine lacks, with the reason, but it must not fail. npm run check:wide machines. --only names machines, whose
// rows are made again, or test files and folders, which run instead, and then no page is written.
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { MEMORY_GROUP } from "./reliability/exhaustion.mjs";
import { runTests } from "./run-tests.mjs";
import { fetchRuntime, RUNTIMES } from "./runtimes.mjs";

const PAGE = "docs/machines.md";
/** What each run printed, in a file of the machine's name. */
const LOGS = path.join("build", "machines");
/** npm test takes six minutes where nothing is lacking. timeout(1) ends what it started too, also when this program ends. */
const BOUNDED = ["setpriv", "--pdeathsig=TERM", "timeout", "2400"];
const OWN_NETWORK = 'ip link set lo up && exec "$@"';
const NO_IPV6 = `echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && ${OWN_NETWORK}`;
const NO_KVM = 'mount --bind /dev/null /dev/kvm && exec "$@"';
const NOBODY = 65534;
const AS_NOBODY = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--no-new-privs"];
/** In a user namespace that permits no others below it. Its user has no capability left when the tests begin. */
const NO_NAMESPACES = [
  ...["unshare", "--user", `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, "--keep-caps", "sh", "-c"],
  'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"',
  "sh",
];
/** Without the programs of the lab: a layer of its own over the folder of programs. */
const NO_LAB = `mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work &&
  mount -t overlay none -o lowerdir=/usr/bin,upperdir=/mnt/upper,workdir=/mnt/work /usr/bin &&
  rm -f /usr/bin/qemu-* /usr/bin/linux.uml /usr/bin/runsc && exec "$@"`;

/** The shell stays, for it removes its group at the end. */
const LITTLE_MEMORY = `${MEMORY_GROUP(2 * 2 ** 30)}; "$@"`;
/** Runs the command by a script, in a namespace of its own. */
const inNamespace = (kind, script) => ["unshare", kind, "sh", "-c", script, "sh"];
/** Those that developing needs: with Node 20.12 npm test says so in a line. */
const NODES = RUNTIMES.filter(({ name }) => /^Node 2[2-9]/.test(name));

/** What is put before the command, and what else is done. `lacks` is why a machine cannot be made like that here. */
const MACHINES = [
  { name: "as it is", prefix: [] },
  { name: "an unprivileged user", prefix: ["setpriv", ...AS_NOBODY], owner: NOBODY },
  {
    name: "an unprivileged user without user namespaces",
    prefix: ["setpriv", ...AS_NOBODY, ...NO_NAMESPACES],
    owner: NOBODY,
  },
  {
    name: "no network: a network namespace of its own",
    prefix: inNamespace("--net", OWN_NETWORK),
  },
  {
    name: "no network and an empty cache",
    prefix: inNamespace("--net", OWN_NETWORK),
    isNewHome: true,
  },
  { name: "256 open files", prefix: ["prlimit", "--nofile=256"] },
  { name: "2 GiB of memory", prefix: inNamespace("--mount", LITTLE_MEMORY) },
  { name: "one processor", prefix: ["taskset", "-c", "0"] },
  { name: "every processor busy", prefix: [], isBusy: true },
  {
    name: "no /dev/kvm",
    prefix: inNamespace("--mount", NO_KVM),
    lacks: existsSync("/dev/kvm") ? null : "this machine has none: the first row",
  },
  {
    name: "no QEMU or User-mode Linux or gVisor",
    prefix: inNamespace("--mount", NO_LAB),
  },
  { name: "no IPv6", prefix: inNamespace("--net", NO_IPV6) },
  ...NODES.map((runtime) => ({ name: runtime.name, prefix: [], runtime })),
];

/** Tests each kind of machine, and writes the page. Returns the names of those on which a test failed. */
export async function testMachines(only) {
  const files = only.filter((name) => !MACHINES.some((machine) => machine.name === name));
  const wanted = files.length < only.length ? MACHINES.filter(({ name }) => only.includes(name)) : MACHINES;
  const failed = [];
  mkdirSync(LOGS, { recursive: true });
  for (const machine of wanted) {
    console.log(`\n— ${machine.name}`);
    const row = machine.lacks ? { reasons: [machine.lacks] } : await testMachine(machine, files);
    console.log(JSON.stringify(row));
    if (row.failed?.length > 0) failed.push(machine.name);
    if (files.length === 0) writePage(machine.name, row);
  }
  return failed;
}

/** The page with a row made anew; the others stay as they are. "I did not look" is not "all is well". */
function writePage(name, row) {
  const before = readFileSync(PAGE, "utf8").split("\n");
  const rows = MACHINES.map((machine) => {
    if (machine.name === name) return rowOf(name, row);
    const kept = before.find((line) => line.startsWith(`| ${machine.name} |`));
    return kept ?? rowOf(machine.name, { reasons: ["not run"] });
  });
  writeFileSync(PAGE, pageOf(rows));
}

function rowOf(name, { passed = "", failed, skipped, reasons }) {
  return `| ${[name, passed, failed?.length ?? "", skipped?.length ?? "", reasons.join("; ")].join(" | ")} |`;
}

async function testMachine({ name, prefix, isBusy, isNewHome, owner, runtime }, only) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-machines-"));
  const busy = isBusy ? os.availableParallelism() : 0;
  const burners = Array.from({ length: busy }, () => spawn("sh", ["-c", "while :; do :; done"]));
  try {
    for (const one of ["tmp", "home"]) makeOpen(path.join(folder, one));
    chmodSync(folder, 0o755);
    const env = { ...process.env, TMPDIR: path.join(folder, "tmp"), NO_COLOR: "1" };
    const node = runtime ? copyNode(runtime, path.join(folder, "node")) : process.execPath;
    // For programs that begin with #!/usr/bin/env node.
    env.PATH = `${path.dirname(node)}:${env.PATH}`;
    if (owner || isNewHome) env.HOME = path.join(folder, "home");
    const cwd = owner ? copyTree(path.join(folder, "tree"), owner) : ".";
    const log = createWriteStream(path.join(LOGS, `${name.replaceAll(/\W+/g, "-")}.log`));
    const onText = (text) => log.write(text);
    const row = await runTests(only, { prefix: [...BOUNDED, ...prefix], node, env, cwd, onText });
    log.end();
    row.failed.push(...leftIn(env.TMPDIR));
    return row;
  } finally {
    for (const burner of burners) burner.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Node in a folder that every user can read, as a distribution's is: the cache lies in a home. */
function copyNode(runtime, folder) {
  const program = fetchRuntime(runtime);
  execFileSync("cp", ["-a", path.dirname(path.dirname(program)), folder]);
  return path.join(folder, "bin", path.basename(program));
}

/** This tree as one of that user, without what cmake has made: it knows the path that it was made in. */
function copyTree(folder, owner) {
  execFileSync("cp", ["-a", ".", folder]);
  rmSync(path.join(folder, "build", "asan"), { recursive: true, force: true });
  execFileSync("chown", ["-R", `${owner}:${owner}`, folder]);
  return folder;
}

/** What a run has left behind: files in its temporary folder, and processes, which have the folder's name in their environment. */
function leftIn(folder) {
  const files = readdirSync(folder).map((name) => `left in the temporary folder: ${name}`);
  const processes = readdirSync("/proc").filter(
    (pid) => /^\d+$/.test(pid) && readProcess(pid, "environ").includes(folder),
  );
  return [
    ...files,
    ...processes.map((pid) => `left running: ${readProcess(pid, "cmdline").replaceAll("\0", " ")}`),
  ];
}

/** Empty for a process that has ended meanwhile. */
function readProcess(pid, file) {
  try {
    return readFileSync(path.join("/proc", pid, file), "utf8");
  } catch {
    return "";
  }
}

/** A folder in which every user may write. */
function makeOpen(folder) {
  mkdirSync(folder);
  chmodSync(folder, 0o1777);
}

function pageOf(rows) {
  return `# The tests on machines that lack something

A test may be skipped where a machine lacks what it needs, and prints the reason. It does not fail. Tests that are made for
each family exist for IPv4 alone where there is no IPv6; a line says so.
\`npm run check:wide machines\` makes this page: it runs \`npm test\` on each.

Linux ${os.release()}, Node ${process.version}, ${os.availableParallelism()} processors, as ${os.userInfo().username}:

| machine | passed | failed | skipped | why |
|---|---|---|---|---|
${rows.join("\n")}

## A CPU with AMX

User-mode Linux before 6.16, which is Debian's 5.10, 6.1 and 6.12, keeps a process's registers in memory of a fixed size, too
small for those of a CPU with AMX: Linux refuses to write back a part of them, and it ends with its first process. The lab
cures that with a ptrace(2) of its own, which completes them, where \`cc\` can compile it (lib/lab/uml-registers.ts). Elsewhere it
skips these kernels, with the reason, and runs 7.2 (\`selfconnect lab --machine uml --kernels newest\`); QEMU runs the older ones.
`;
}
