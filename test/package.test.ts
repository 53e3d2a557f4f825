/** The package as npm publishes it: no install script, no runtime dependency, and it works where it is installed. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatAddress } from "../lib/socket/address.ts";
import { deadPeer } from "./support/harness.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-package-"));
const installed = path.join(folder, "node_modules", "selfconnect");
const run = (file: string, args: string[]) => execFileSync(file, args, { cwd: folder, encoding: "utf8" });

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
    rmSync("prebuilds", { recursive: true });
  });

  it("has the addon prebuilt, and nothing that npm would build or run", () => {
    expect(readdirSync(installed)).not.toContain("binding.gyp");
    const manifest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8"));
    for (const script of ["preinstall", "install", "postinstall"])
      expect(manifest.scripts[script]).toBeUndefined();
    expect(manifest.dependencies).toBeUndefined();
    expect(readdirSync(path.join(installed, "prebuilds"))).toEqual([`${process.platform}-${process.arch}`]);
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

  it("is used from CommonJS by require() where Node can require a module, else by import()", () => {
    const script = 'import("selfconnect").then(({ supported }) => console.log(supported("noDelay")))';
    expect(run(process.execPath, ["-e", script])).toBe("true\n");
  });
});
