// The runtimes of `npm run check:wide`: npm's packages with their programs, at exact versions, in a cache.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import path from "node:path";
import { createInterface } from "node:readline";
import { fetchPackages } from "../../build.mjs";
import { PORT } from "./contract.mjs";

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
export const REGISTER = path.join(root, "dist/register.cjs");
const CONTRACT = path.join(root, "test/support/contract.mjs");
export const INSIDES = path.join(root, "test/support/insides.mjs");

const arch = process.arch;
const node = (version) => ({
  name: `Node ${version}`,
  package: `node-linux-${arch}@${version}`,
  program: `node-linux-${arch}/bin/node`,
  run: [],
  preload: ["--require", REGISTER],
});

/** Each with its name, the package that has it, its program in there, and how it runs and preloads a file. */
export const RUNTIMES = [
  node("20.12.0"),
  node("22.23.3"),
  node("24.21.0"),
  node("26.10.0"),
  {
    name: "Bun 1.4.5",
    package: `@oven/bun-linux-${bunArch()}@1.4.5`,
    program: `@oven/bun-linux-${bunArch()}/bin/bun`,
    run: [],
    preload: ["--preload", REGISTER],
  },
  {
    name: "Deno 2.9.6",
    package: `@deno/linux-${arch}-glibc@2.9.6`,
    program: `@deno/linux-${arch}-glibc/deno`,
    run: ["run", "-A"],
    preload: ["--preload", REGISTER],
  },
];

/** Bun's name of an architecture. */
function bunArch() {
  return arch === "arm64" ? "aarch64" : arch;
}

/** The runtime that runs this. */
export const THIS_NODE = { ...node(process.versions.node), path: process.execPath };

/**
 * The path of a runtime's program; npm fetches it first if it is not in the cache. `flags` are npm's, for a runtime of
 * another machine.
 */
export function fetchRuntime({ package: name, program, flags = [] }) {
  const folder = fetchPackages(path.join("runtimes", name.replaceAll("/", "+")), [...flags, name]);
  return path.join(folder, "node_modules", program);
}

/** As fetchPackages(), in a folder of its own for these versions. */
export function fetchVersions(name, packages) {
  const hash = createHash("sha256").update(packages.join()).digest("hex").slice(0, 16);
  return fetchPackages(`${name}-${hash}`, packages);
}

/** The flags of unshare(1): new namespaces of the network and of processes, which end with their first one. */
const UNSHARE = [
  ...(process.getuid?.() === 0 ? [] : ["--map-root-user"]),
  ...["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
];

/** Before a command: it runs in namespaces of its own, with a loopback, and what it leaves running ends with it. */
export const ALONE = ["unshare", ...UNSHARE, ...["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]];

/** The kernel's default, and one in which a plain connect to PORT is joined to itself. */
const RANGES = { usual: "32768 60999", small: `${PORT} ${PORT + 1}` };

/**
 * Runs a program in a new network namespace, without TIME-WAIT. What it leaves running ends with it. Calls `onLine` with
 * each line that it prints to stdout, at once.
 */
export function runInNamespace(range, command, env, onLine = () => {}) {
  const sysctl = "/proc/sys/net/ipv4";
  const setUp = [
    "ip link set lo up",
    `echo "${range}" > ${sysctl}/ip_local_port_range`,
    `echo 0 > ${sysctl}/tcp_max_tw_buckets`,
    'exec "$@"',
  ];
  const args = [...UNSHARE, "sh", "-c", setUp.join(" && "), "sh", ...command];
  return new Promise((resolve, reject) => {
    const child = spawn("unshare", args, { env: { ...process.env, NODE_OPTIONS: "", ...env } });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (text) => (output.stdout += text));
    createInterface(child.stdout).on("line", onLine);
    child.stderr.on("data", (text) => (output.stderr += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...output }));
  });
}

/** What the rows of the contract say on this runtime, by row; `how` is "ways", "program" or "control". */
export async function askContract(runtime, how) {
  const preload = how === "program" ? runtime.preload : [];
  const what = how === "ways" ? "ways" : "program";
  const command = [runtime.path, ...runtime.run, ...preload, CONTRACT, what];
  const { stdout, stderr } = await runInNamespace(RANGES.small, command);
  const rows = stdout.split("\n").filter((line) => line.startsWith("{"));
  const verdicts = Object.fromEntries(
    rows.map((line) => JSON.parse(line)).map((each) => [each.row, each.verdict]),
  );
  return { verdicts, stderr };
}

/** What happens when the guard is strict: the status of an empty program, and what it printed to stderr. */
export function askStrictly(runtime) {
  const command = [runtime.path, ...runtime.run, ...runtime.preload, INSIDES, "nothing"];
  return runInNamespace(RANGES.usual, command, { SELFCONNECT_GUARD: "strict" });
}

/** Runs the checks of Node's insides. */
export function askInsides(runtime) {
  return runInNamespace(RANGES.usual, [runtime.path, ...runtime.run, INSIDES]);
}

/** Preloads the guard by the name of the package, which Node resolves by its exports. Prints whether it is there. */
export function askByName(runtime) {
  const code = 'Symbol.for("selfconnect.registered") in globalThis';
  return runInNamespace(RANGES.usual, [runtime.path, "--require", "selfconnect/register", "--print", code]);
}
