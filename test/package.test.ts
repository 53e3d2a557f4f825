/** The package as npm publishes it: no install script, no runtime dependency, and it works after an install. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addonHost, prebuildName } from "../lib/socket/addon.ts";
import { formatAddress } from "../lib/socket/address.ts";
import { deadPeer } from "./support/harness.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-package-"));
const installed = path.join(folder, "node_modules", "selfconnect");
const run = (file: string, args: string[]) => execFileSync(file, args, { cwd: folder, encoding: "utf8" });

/** A release may have left its addons there. */
const hadPrebuilds = existsSync("prebuilds");

const manifest = () => JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8"));

describe("the published package", () => {
  beforeAll(() => {
    const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], {
      encoding: "utf8",
    });
    const tarball = path.join(folder, packed.trim().split("\n").at(-1)!);
    run("npm", ["install", "--silent", "--no-save", "--offline", "--prefix", folder, tarball]);
  }, 120_000);

  afterAll(() => {
    rmSync(folder, { recursive: true });
    if (!hadPrebuilds) rmSync("prebuilds", { recursive: true });
  });

  it("contains the addon prebuilt, and nothing that npm would build or run", () => {
    expect(readdirSync(installed)).not.toContain("binding.gyp");
    const { scripts, dependencies } = manifest();
    for (const script of ["preinstall", "install", "postinstall"]) expect(scripts[script]).toBeUndefined();
    expect(dependencies).toBeUndefined();
    expect(readdirSync(path.join(installed, "prebuilds"))).toContain(prebuildName(addonHost()));
    // What native/compile.mjs compiles where no prebuilt addon fits.
    for (const file of ["native/compile.mjs", "native/core/syscall.cc", "dist/include/napi.h"])
      expect(existsSync(path.join(installed, file)), file).toBe(true);
  });

  it("contains the manual page, and everything that its README links to and shows", () => {
    const readme = readFileSync(path.join(installed, "README.md"), "utf8");
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1]!);
    expect(links).toEqual(expect.arrayContaining(["docs/trace.svg", "docs/stability.md", "CHANGELOG.md"]));
    const files = [...links, manifest().man, "docs/schema/doctor-1.json"];
    expect(files.filter((file) => !existsSync(path.join(installed, file)))).toEqual([]);
  });

  it("names what it contains of other people, with the licences, and as a bill of materials", () => {
    const notices = readFileSync(path.join(installed, "dist/THIRD-PARTY-NOTICES.md"), "utf8");
    const bill = JSON.parse(readFileSync(path.join(installed, "dist/sbom.cdx.json"), "utf8"));
    const names = bill.components.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["commander", "node-addon-api", "node-api-headers"]);
    for (const name of names) {
      const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
      expect(notices).toContain(`| ${name} | ${version} | MIT |`);
      expect(bill.components).toContainEqual(expect.objectContaining({ name, version }));
    }
    expect(notices.match(/Permission is hereby granted/g)).toHaveLength(names.length);
    // The command line's parser is in there as text, so the list cannot be one of what was there once.
    const chunks = readdirSync(path.join(installed, "dist/chunks")).map((name) =>
      readFileSync(path.join(installed, "dist/chunks", name), "utf8"),
    );
    expect(chunks.some((text) => text.includes("node_modules/commander/"))).toBe(true);
  });

  it("opens a socket and runs its command line", () => {
    const script = `
      import { TcpSocket } from "selfconnect";
      const self = ${JSON.stringify(deadPeer())};
      const socket = TcpSocket.open(4).bind(self);
      socket.connect(self);
      console.log(socket.isSelfConnected());
      socket.reset();`;
    expect(run(process.execPath, ["--input-type=module", "-e", script])).toBe("true\n");
    expect(
      run("node_modules/.bin/selfconnect", ["reconnect", formatAddress(deadPeer()), "--strategy", "bind"]),
    ).toContain("joined to itself");
  });

  it("names the packages that a queue needs, where they are not installed", () => {
    const args = ["worker", "--queue", "redis://lab:s3cret@127.0.0.1"];
    const { status, stderr } = spawnSync("node_modules/.bin/selfconnect", args, {
      cwd: folder,
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([1, expect.stringContaining("npm install bullmq ioredis\n")]);
    expect(stderr).not.toContain("s3cret");
  });

  it("is available in CommonJS by require() where Node can require a module, else by import()", () => {
    const script = 'import("selfconnect").then(({ supported }) => console.log(supported("noDelay")))';
    expect(run(process.execPath, ["-e", script])).toBe("true\n");
  });

  it("opens its doors, with their types, and nothing else", { timeout: 120_000 }, () => {
    const doors = Object.keys(manifest().exports)
      .filter((door) => door !== "./package.json")
      .map((door) => door.replace(".", "selfconnect"));
    const uses = doors.map(
      (door, i) => `import * as door${i} from "${door}"; export type D${i} = typeof door${i};`,
    );
    writeFileSync(path.join(folder, "uses.mts"), uses.join("\n"));
    const tsc = [
      path.resolve("node_modules/typescript-7/bin/tsc"),
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
    ];
    const node = ["--types", "node", "--typeRoots", path.resolve("node_modules/@types")];
    const resolution = ["--module", "nodenext", "--moduleResolution", "nodenext"];
    expect(run(process.execPath, [...tsc, ...node, ...resolution, "uses.mts"])).toBe("");
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" })
      .map((name) => name.split(path.sep).join("/"))
      .filter((name) => name !== "package.json");
    const rooms = files.flatMap((name) => /^dist\/([^.]+)\.js$/.exec(name)?.[1] ?? []);
    const inside = [...files, ...rooms, "socket", "guard", "loop", "cli", "socket/native"]
      .map((name) => `selfconnect/${name}`)
      .filter((name) => !doors.includes(name));
    expect(inside).toEqual(expect.arrayContaining(["selfconnect/dist/index.js", "selfconnect/kernel/index"]));
    const script = `
      const codeOf = (name) => { try { import.meta.resolve(name); return name; } catch (error) { return error.code; } };
      const codes = ${JSON.stringify(inside)}.map(codeOf);
      const counts = [];
      for (const door of ${JSON.stringify(doors)}) counts.push(Object.keys(await import(door)).length);
      console.log(JSON.stringify({ codes: [...new Set(codes)], counts }));`;
    const { codes, counts } = JSON.parse(run(process.execPath, ["--input-type=module", "-e", script]));
    expect(codes).toEqual(["ERR_PACKAGE_PATH_NOT_EXPORTED"]);
    // The preload exports nothing; every other door does.
    const empty = doors.filter((_, index) => counts[index] === 0);
    expect(empty).toEqual(["selfconnect/register"]);
  });

  it("has one native loader and one SocketError, whatever is imported; the preload has copies of its own", () => {
    const dist = path.join(installed, "dist");
    const scripts = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\.c?js$/.test(name),
    );
    const textOf = (name: string) => readFileSync(path.join(dist, name), "utf8");
    expect(scripts).toEqual(expect.arrayContaining(["cli/main.js", "benchmarks/run.js"]));
    const havers = (isThere: (text: string) => boolean) => scripts.filter((name) => isThere(textOf(name)));
    const once = [expect.stringMatching(/^chunks\//), "guard/register.cjs"];
    expect(havers((text) => /\bclass SocketError\b|\bSocketError\w* = class\b/.test(text)).sort()).toEqual(
      once,
    );
    expect(
      havers((text) => /createRequire\w*\)?\(/.test(text) && text.includes("selfconnect.node")).sort(),
    ).toEqual(once);
    // What finds files of the package does so from two folders down; a driver of the benchmark is started where it is.
    const finders = havers((text) => text.includes("import.meta.url"));
    const others = finders.filter((name) => !name.startsWith("benchmarks/drivers/"));
    expect(others.filter((name) => name.split("/").length !== 2)).toEqual([]);
  });

  it("loads its preload by name, by --require and by --import", () => {
    const script = 'console.log(Symbol.for("selfconnect.registered") in globalThis)';
    for (const flag of ["--require", "--import"])
      expect(run(process.execPath, [flag, "selfconnect/register", "-e", script])).toBe("true\n");
  });
});
