// The platforms of `npm run check:wide platforms`: the addon of each, compiled and checked as a release does, and what
// the package does with it on the runtimes that run here.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { checkTarget, compileTarget, describeTarget, TARGETS, zigProgram } from "../../.ci/release.mjs";
import { fetchPackages } from "../../build.mjs";
import { sourcesFor } from "../../native/sources.mjs";
import { MUSL_LOADER, makeMuslLibraries } from "./musl.mjs";
import { runCommand } from "./run-command.mjs";
import { fetchRuntime, RUNTIMES, runInNamespace } from "./runtimes.mjs";

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
const PROGRAM = path.join(root, "test/support/programs/platform.mjs");
const SYSROOT = "/usr/aarch64-linux-gnu";
const QEMU = ["qemu-aarch64-static", "-L", SYSROOT];

const node = (architecture, version, flags = []) => ({
  name: `Node ${version}`,
  package: `node-linux-${architecture}@${version}`,
  program: `node-linux-${architecture}/bin/node`,
  flags,
  run: [],
});

/** The only runtime with musl that npm has. */
const BUN_MUSL = {
  name: "Bun 1.4.5 for musl",
  package: "@oven/bun-linux-x64-musl@1.4.5",
  program: "@oven/bun-linux-x64-musl/bin/bun",
  flags: ["--force"],
  run: [],
};

/**
 * What runs the addon of a target here. `prefix` is put before its command; `needs` are files, each with its Debian
 * package; `libraries` are made for LD_LIBRARY_PATH.
 */
export const HOSTS = [
  { target: "linux-x64", runtimes: RUNTIMES, prefix: [] },
  {
    target: "linux-x64-musl",
    runtimes: [BUN_MUSL],
    prefix: [],
    libraries: makeMuslLibraries,
    needs: [[MUSL_LOADER, "musl"]],
  },
  {
    target: "linux-arm64",
    runtimes: [node("arm64", "20.20.2", ["--force"]), node("arm64", "24.21.0", ["--force"])],
    prefix: QEMU,
    by: "qemu-user",
    needs: [
      ["/usr/bin/qemu-aarch64-static", "qemu-user-static"],
      [`${SYSROOT}/lib/libc.so.6`, "libc6-arm64-cross"],
      [`${SYSROOT}/lib/libstdc++.so.6`, "libstdc++6-arm64-cross"],
    ],
  },
];

/** What a host lacks, with the command that installs it; null when it lacks nothing. */
function lackOf({ needs = [] }) {
  if (process.arch !== "x64") return "this machine is not x64";
  const missing = needs.filter(([file]) => !existsSync(file)).map(([, name]) => name);
  return missing.length > 0 ? `apt-get install ${missing.join(" ")}` : null;
}

/** The cache's folder of the addons that are made from these sources; each is compiled when it is not there. */
function addonsFolder() {
  const hash = createHash("sha256");
  for (const folder of ["native", "native/core", "native/binding", ".ci"])
    for (const name of readdirSync(folder).sort())
      if (/\.\w+$/.test(name)) hash.update(name).update(readFileSync(path.join(folder, name)));
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "selfconnect");
  return path.join(cache, `addons-${hash.digest("hex").slice(0, 16)}`);
}

/** The path of Zig; npm fetches it first if it is not in the cache. Throws where npm cannot. */
function fetchZig() {
  return zigProgram(fetchPackages);
}

/** Compiles a target's addon unless the cache has it. Returns its path, what is wrong with it, and a line about it. */
function makeAddon(target, zig) {
  const folder = addonsFolder();
  const file = path.join(folder, target.name, "selfconnect.node");
  if (!existsSync(file)) compileTarget(target, zig, folder);
  return { file, problems: checkTarget(target, file), line: describeTarget(target, file) };
}

/** Runs the package's checks with an addon: what each of them lacks, "" for nothing. */
export async function checkRuntime(runtime, { prefix, libraries }, addon) {
  const program = fetchRuntime(runtime);
  const env = { LIBRARY: root, SELFCONNECT_ADDON: addon };
  if (libraries) {
    const folder = path.join(path.dirname(addon), "libraries");
    env.LD_LIBRARY_PATH = libraries(program, fetchZig(), folder);
  }
  const command = [...prefix, program, ...runtime.run, PROGRAM];
  const { status, stdout, stderr } = await runInNamespace("32768 60999", command, env);
  const rows = stdout.split("\n").filter((line) => line.startsWith("{"));
  return { status, stderr, checks: rows.map((line) => JSON.parse(line)) };
}

/** The core's own tests, linked with musl and nothing else. */
async function testMuslCore(zig) {
  const output = path.join(addonsFolder(), "core_test-musl");
  const core = sourcesFor("linux").filter((source) => source.startsWith("native/core/"));
  const flags = [
    "-target",
    "x86_64-linux-musl",
    "-static",
    "-std=c++20",
    "-O1",
    "-fno-sanitize=all",
    "-Inative",
  ];
  const build = [zig, "c++", ...flags, ...core, "test/native/core_test.cc", "-o", output];
  const built = existsSync(output) ? { status: 0 } : await runCommand(build);
  return built.status === 0 ? await runCommand([output]) : built;
}

/**
 * Compiles and checks every addon, and runs the package's checks where one runs here. `check(name, isTrue, seen)` and
 * `skip(reason)` report. Writes two sections of docs/platforms.md, unless something was skipped.
 */
export async function testPlatforms(check, skip) {
  const zig = fetchZig();
  const addons = new Map();
  for (const target of TARGETS) {
    try {
      addons.set(target.name, makeAddon(target, zig));
    } catch (error) {
      check(`${target.name} compiles`, false, error.message.split("\n")[0].slice(0, 200));
      continue;
    }
    const { line, problems } = addons.get(target.name);
    console.log(line);
    check(`${target.name} asks no more than Node does`, problems.length === 0, problems.join("; "));
  }
  const core = await testMuslCore(zig);
  check("the core's tests with musl", core.status === 0, core.output.slice(-2000));
  const rows = [];
  for (const host of HOSTS) rows.push(...(await testHost(host, addons.get(host.target), check, skip)));
  if (rows.includes(null)) return;
  writeSection("Addons", addonsTable(addons));
  writeSection("Runtimes", table(["platform", "runtime", "checks", "lacks"], rows));
}

/** Null stands for a row that was skipped. */
async function testHost(host, addon, check, skip) {
  const lack = addon ? lackOf(host) : "there is no addon";
  if (lack) {
    skip(`${host.target}: ${lack}`);
    return [null];
  }
  const rows = [];
  for (const runtime of host.runtimes) {
    const name = `${host.target}, ${runtime.name}${host.by ? `, ${host.by}` : ""}`;
    console.log(`\n— ${name}`);
    const { status, stderr, checks } = await checkRuntime(runtime, host, addon.file);
    for (const { check: what, lack: reason } of checks) if (reason) console.log(`lacks: ${what}: ${reason}`);
    const lacking = checks.filter(({ lack: reason }) => reason);
    const unexpected = lacking.filter((one) => !isAbsence(one.lack));
    check(`${name}: the program ends`, status === 0 && checks.length > 10, stderr.slice(-1000));
    check(
      `${name}: what fails is what the platform lacks`,
      unexpected.length === 0,
      JSON.stringify(unexpected),
    );
    const lacks = lacking.map((one) => `${one.check}: ${one.lack.split(":")[0]}`).join("; ");
    rows.push([
      host.target,
      runtime.name + (host.by ? ` (${host.by})` : ""),
      `${checks.length - lacking.length} of ${checks.length}`,
      lacks,
    ]);
  }
  return rows;
}

/** An answer of a kernel or an emulator that does not have something. */
function isAbsence(lack) {
  return /^(ENOSYS|ENOPROTOOPT|ENOTSUP|EOPNOTSUPP|EAFNOSUPPORT|EPROTONOSUPPORT|EINVAL)\b/.test(lack);
}

function addonsTable(addons) {
  const howRun = new Map(
    HOSTS.map(({ target, by }) => [target, by ? `built, and run by ${by}` : "built and run here"]),
  );
  const rows = [...addons].map(([name, { line }]) => [
    `\`${name}\``,
    line.slice(name.length + 2),
    howRun.get(name) ?? "built, not run",
  ]);
  return table(["platform", "addon", "tested"], rows);
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Replaces the table below a heading of docs/platforms.md. */
export function writeSection(title, text) {
  const page = path.join(root, "docs/platforms.md");
  const before = readFileSync(page, "utf8");
  const section = new RegExp(`(^## ${title}\\n[\\s\\S]*?)^\\|[\\s\\S]*?(?=\\n\\n|\\n?$(?![\\s\\S]))`, "m");
  if (!section.test(before)) throw new Error(`docs/platforms.md has no table below "## ${title}"`);
  writeFileSync(
    page,
    before.replace(section, (_, head) => head + text),
  );
}
