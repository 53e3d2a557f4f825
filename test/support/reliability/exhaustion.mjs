// The part `exhaustion` of check:deep: each command where something is missing or used up. It must say in words what it
// lacks, exit with the documented code, and leave no half-written file.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../run-command.mjs";

const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const NO_THREAD = fileURLToPath(new URL("../programs/no-thread.mjs", import.meta.url));
const NO_DESCRIPTORS = fileURLToPath(new URL("../programs/no-descriptors.mjs", import.meta.url));
const COMMAND = `"${process.execPath}" "${MAIN}"`;
/** A full disk: a file system of one page, in a mount namespace. */
const FULL_DISK =
  "mount -t tmpfs -o size=4k,nr_inodes=8 none /mnt && head -c 4096 /dev/zero > /mnt/full 2>/dev/null";
const RANGE = (range) => `echo "${range}" > /proc/sys/net/ipv4/ip_local_port_range`;
const REFUSE = (verdict) =>
  `nft add table ip t && nft add chain ip t out '{ type filter hook output priority 0; }' && nft add rule ip t out tcp dport 9 ${verdict}`;
/** A group of cgroup(7), version 1 or 2, for the shell and what it starts: its memory cannot grow beyond the bytes. */
export const MEMORY_GROUP = (bytes) => `
at=$([ -d /sys/fs/cgroup/memory ] && echo /sys/fs/cgroup/memory || echo /sys/fs/cgroup)
group=$at/selfconnect-$(cat /proc/sys/kernel/random/uuid); trap 'echo $$ > $at/cgroup.procs; rmdir $group' EXIT
mkdir $group || exit 99; limit=$(ls $group/memory.max $group/memory.limit_in_bytes 2>/dev/null)
[ "$limit" ] && echo ${bytes} > $limit || exit 99
for swap in memory.swappiness memory.swap.max; do [ ! -e $group/$swap ] || echo 0 > $group/$swap; done
echo $$ > $group/cgroup.procs || exit 99; mount -t tmpfs none /mnt`;
/** The kernel tracks connections, and its table of them is full: of some that never were, which it may not forget. */
const FULL_CONNTRACK = `
nft add table ip t && nft add chain ip t out '{ type filter hook output priority 0; }' && nft add rule ip t out ct state new accept
awk -v most=$(cat /proc/sys/net/netfilter/nf_conntrack_max) 'BEGIN { for (i = 0; i <= most; i++) printf "-A -s 127.0.%d.%d -d 127.1.0.1 -p tcp --sport %d --dport 9 --state ESTABLISHED --timeout 600 -u ASSURED,SEEN_REPLY\\n", int(i / 250) % 250, i % 250 + 1, 1024 + int(i / 62500) }' |
conntrack --load-file - > /dev/null 2>&1; [ $(cat /proc/sys/net/netfilter/nf_conntrack_count) -ge $(cat /proc/sys/net/netfilter/nf_conntrack_max) ] || exit 99`;
/** The clock of the day jumps: clock.c. */
const WITH_JUMPS = `LD_PRELOAD="$CLOCK"`;

/**
 * Each is a shell command in namespaces of its own (network, mounts, processes), with loopback up. `words`: what it must
 * print; `codes`: how it may end. `needs`: a program without which it is skipped.
 */
const SITUATIONS = {
  // With fewer Node itself cannot load a program.
  "no descriptors (ulimit -n 64): 200 connects at once": {
    run: `ulimit -n 64; "${process.execPath}" "${NO_DESCRIPTORS}"`,
    words: /EMFILE/,
    codes: [0],
  },
  "no thread (RLIMIT_NPROC): loop, connected(), meet()": {
    run: `"${process.execPath}" "${NO_THREAD}"`,
    words: /no thread can be created|null/,
    codes: [0],
  },
  "little memory (ulimit -v): reconnect": {
    run: `ulimit -v 1500000; ${COMMAND} reconnect --attempts 200 --duration 2s 127.0.0.1:9`,
    words: /attempts in|out of memory|Fatal/i,
    codes: [0, 1, 3, 133, 134],
  },
  "memory of 24 MiB (cgroup): ports --html": {
    run: `${MEMORY_GROUP(24 * 2 ** 20)}; ${COMMAND} ports --count 2000 --html /mnt/x.html`,
    // The kernel kills what would grow: it can say nothing, and leaves nothing.
    words: /Killed|ENOMEM|out of memory/i,
    codes: [1, 134, 137],
    absent: "x.html",
    needs: "memory cgroup",
  },
  "the clock jumps by a day: reconnect": {
    run: `${WITH_JUMPS} ${COMMAND} reconnect --duration 1s --strategy reuse 127.0.0.1:9`,
    words: /attempts in (9\d\d ms|1\.\d s)/,
    codes: [1],
    needs: "cc",
  },
  "the clock jumps by a day: dial --wait": {
    run: `${WITH_JUMPS} ${COMMAND} dial 127.0.0.1:9 --wait 1s`,
    words: /failed after 1\.\d s/,
    codes: [1],
    needs: "cc",
  },
  "the clock jumps by a day: lab": {
    run: `${WITH_JUMPS} ${COMMAND} lab --machine host --experiments peers`,
    words: /127\.0\.0\.1, 0\.0\.0\.0/,
    codes: [0],
    needs: "cc",
  },
  "one local port, and it is in use: dial": {
    run: `${RANGE("40001 40001")}; "${process.execPath}" -e 'require("net").createServer().listen(40001, "127.0.0.1")' & sleep 1; ${COMMAND} dial 127.0.0.1:40001 --attempts 2 --deadline 2s`,
    words: /EADDRNOTAVAIL|port/,
    codes: [0, 1],
  },
  "only reserved ports: dial": {
    run: `${RANGE("40000 40003")}; echo 40000-40003 > /proc/sys/net/ipv4/ip_local_reserved_ports; ${COMMAND} dial 127.0.0.1:9 --attempts 1`,
    words: /EADDRNOTAVAIL|reserved/,
    codes: [1],
  },
  "only reserved ports: predict": {
    run: `${RANGE("40000 40003")}; echo 40000-40003 > /proc/sys/net/ipv4/ip_local_reserved_ports; ${COMMAND} predict 127.0.0.1:40002`,
    words: /reserved|never/i,
    codes: [0, 1, 3],
  },
  "nftables drops: dial": {
    run: `${REFUSE("drop")}; ${COMMAND} dial 127.0.0.1:9 --attempts 1 --deadline 1s`,
    words: /EPERM|ERR_DEADLINE|deadline|1 ?s/i,
    codes: [1],
    needs: "nft",
  },
  "nftables rejects: dial": {
    run: `${REFUSE("reject")}; ${COMMAND} dial 127.0.0.1:9 --attempts 1 --deadline 2s`,
    words: /ECONNREFUSED|EHOSTUNREACH|EPERM/,
    codes: [1],
    needs: "nft",
  },
  "nftables drops: reconnect": {
    run: `${REFUSE("drop")}; ${COMMAND} reconnect --attempts 50 --duration 1s 127.0.0.1:9`,
    words: /EPERM|deadline|0 |no reply/i,
    codes: [0, 1, 3],
    needs: "nft",
  },
  "full table of connections: dial": {
    run: `${FULL_CONNTRACK}; ${COMMAND} dial 127.0.0.1:9 --attempts 1 --deadline 2s`,
    words: /not connected .* within 2000 ms|EPERM/,
    codes: [1],
    needs: "conntrack",
  },
  "full table of connections: reconnect": {
    run: `${FULL_CONNTRACK}; ${COMMAND} reconnect --attempts 200 --duration 2s 127.0.0.1:9`,
    words: /1 attempt in .*deadline 1|EPERM/,
    codes: [1],
    needs: "conntrack",
  },
  "loopback down: dial": {
    run: `ip link set lo down; ${COMMAND} dial 127.0.0.1:9 --attempts 1`,
    words: /ENETUNREACH|EADDRNOTAVAIL|route|deadline/,
    codes: [1],
  },
  "/proc hidden: audit": {
    run: `mount -t tmpfs none /proc; ${COMMAND} audit`,
    words: /\/proc|unknown|cannot|ENOENT/,
    codes: [0, 1, 3],
  },
  "/proc hidden: reconnect": {
    run: `mount -t tmpfs none /proc; ${COMMAND} reconnect --attempts 200 --duration 2s 127.0.0.1:9`,
    words: /attempts|\/proc/,
    codes: [0, 1, 3],
  },
  "/proc hidden: dial": {
    run: `mount -t tmpfs none /proc; ${COMMAND} dial 127.0.0.1:9 --attempts 1`,
    words: /ECONNREFUSED/,
    codes: [1],
  },
  "/proc/sys read-only: reserve": {
    run: `mount -o bind,ro /proc/sys /proc/sys; ${COMMAND} reserve 40000`,
    words: /EROFS|read-only|EACCES|EPERM/i,
    codes: [1],
  },
  "no CAP_NET_RAW: trace": {
    run: `capsh --drop=cap_net_raw -- -c '${COMMAND} trace'`,
    words: /CAP_NET_RAW|EPERM/,
    codes: [0],
    needs: "capsh",
  },
  "no CAP_NET_ADMIN, not root: free": {
    run: `setpriv --reuid 65534 --regid 65534 --clear-groups ${COMMAND} free 9`,
    words: /nothing was changed/,
    codes: [1],
    needs: "setpriv",
  },
  "full disk: ports --html": {
    run: `${FULL_DISK}; ${COMMAND} ports --count 200 --html /mnt/x.html`,
    words: /ENOSPC/,
    codes: [1],
    absent: "x.html",
  },
  "full disk: ports --ports": {
    run: `${FULL_DISK}; ${COMMAND} ports --count 2000 --ports /mnt/x.txt`,
    words: /ENOSPC/,
    codes: [1],
    absent: "x.txt",
  },
  "full disk: trace --write": {
    run: `${FULL_DISK}; ${COMMAND} trace --write /mnt/x.pcapng`,
    words: /ENOSPC/,
    codes: [1],
    absent: "x.pcapng",
  },
  "full disk: reconnect --html": {
    run: `${FULL_DISK}; ${COMMAND} reconnect --attempts 200 --duration 2s --html /mnt/x.html`,
    words: /ENOSPC/,
    codes: [1],
    absent: "x.html",
  },
  "full disk: lab --output": {
    run: `${FULL_DISK}; ${COMMAND} lab --machine host --experiments peers --output /mnt/lab.json`,
    words: /ENOSPC/,
    codes: [1],
    absent: "lab.json",
  },
  "no folder: ports --html": {
    run: `${COMMAND} ports --count 200 --html /mnt/no/x.html`,
    words: /ENOENT/,
    codes: [1, 2],
  },
  "stdout full: audit --json": {
    run: `${COMMAND} audit --json > /dev/full`,
    words: /ENOSPC|write/,
    codes: [1],
  },
  "stdout full: help": { run: `${COMMAND} --help > /dev/full`, words: /ENOSPC|write/, codes: [1] },
  "stdout closed by its reader: ports --json": {
    run: `${COMMAND} ports --count 20000 --json | head -c 1`,
    words: /\{/,
    codes: [0],
  },
  "stdout not open: doctor": { run: `${COMMAND} doctor --json >&-`, words: /^[\s\S]*$/, codes: [0, 1, 3] },
  "SIGSTOP for a minute: reconnect": {
    run: `${COMMAND} reconnect --attempts 1000000 --duration 4s --strategy reuse 127.0.0.1:9 & sleep 1.5; kill -STOP $!; sleep 60; kill -CONT $!; wait $!`,
    words: /attempts/,
    codes: [0, 1, 3],
  },
};

const WAIT_MS = 150_000;
/** What the shell prints last: which files /mnt has, seen from inside the namespace. */
const LIST = '; code=$?; echo "[files: $(ls /mnt)] [code $code]"';

export async function attackByExhaustion({ folder }) {
  const lacks = findLacks();
  const env = { ...process.env, CLOCK: lacks.has("cc") ? "" : buildClock(folder) };
  const red = [];
  const skipped = [];
  const rows = [];
  for (const [name, { run, words, codes, absent, needs }] of Object.entries(SITUATIONS)) {
    if (lacks.has(needs)) {
      skipped.push(`${name}: ${lacks.get(needs)}`);
      continue;
    }
    const script = `ip link set lo up; ${run}${LIST}`;
    const command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
    const { output } = await runCommand(command, { timeout: WAIT_MS, killSignal: "SIGKILL", env });
    const [, files = "", code = "none"] = /\[files: ([\s\S]*?)\] \[code (\d+)\]/.exec(output) ?? [];
    const said = output.replace(/\[files:[\s\S]*$/, "").trim();
    const why = findFault({ said, code: Number(code), files: files.split(/\s+/) }, { words, codes, absent });
    if (why) red.push(`${name}: ${why}: ${said.slice(-400)}`);
    rows.push([name, code, why ? "red" : "said"]);
  }
  return { facts: [["situations", rows.length]], head: ["situation", "exit code", ""], rows, red, skipped };
}

function findFault({ said, code, files }, { words, codes, absent }) {
  if (!codes.includes(code)) return `exit code ${code}`;
  if (/\n {4}at .*:\d+:\d+\)?(\n|$)/.test(said)) return "a stack trace";
  if (!words.test(said)) return `does not say ${words}`;
  const isLeft = absent && files.some((file) => file.includes(absent));
  return isLeft ? `leaves a half-written file (${files.join(" ")})` : null;
}

/** Why situations that need something cannot be made here, by what they need. */
function findLacks() {
  const needed = new Set(Object.values(SITUATIONS).flatMap(({ needs }) => needs ?? []));
  const lacks = new Map();
  for (const one of needed) {
    if (one === "memory cgroup") {
      if (!canLimitMemory()) lacks.set(one, "no group of cgroup(7) can be made");
    } else if (!isInstalled(one)) lacks.set(one, `${one} is not installed`);
  }
  return lacks;
}

function canLimitMemory() {
  const script = `${MEMORY_GROUP(2 ** 30)}; true`;
  return spawnSync("unshare", ["--mount", "sh", "-c", script], { stdio: "ignore" }).status === 0;
}

/** Compiles clock.c into `folder`, and returns the library's path. */
function buildClock(folder) {
  mkdirSync(folder, { recursive: true });
  const library = path.resolve(folder, "clock.so");
  const source = fileURLToPath(new URL("clock.c", import.meta.url));
  execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]);
  return library;
}

function isInstalled(program) {
  const folders = (process.env.PATH ?? "").split(":").filter((folder) => existsSync(folder));
  return folders.some((folder) => readdirSync(folder).includes(program));
}
