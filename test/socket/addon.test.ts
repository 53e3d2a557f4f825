/** Which file is the addon, and what a program is told that has none. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { AddonHost } from "../../lib/socket/addon.ts";
import { addonHost, placesFor, prebuildName, requireAddon } from "../../lib/socket/addon.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { packageFile } from "../../lib/socket/own-files.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-addon-"));
afterAll(() => rmSync(folder, { recursive: true }));

const built = packageFile("build/Release/selfconnect.node");
const thrownBy = (run: () => unknown): Error & { code?: string } => {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
};

describe("requireAddon", () => {
  it("loads the file that was built here, which is loadNative()'s", () => {
    expect(placesFor(prebuildName(addonHost()))).toContain(built);
    expect(requireAddon()).toBe(loadNative());
  });

  it("loads what SELFCONNECT_ADDON names, by a path from the working directory", () => {
    expect(requireAddon(addonHost(), path.relative(process.cwd(), built))).toBe(loadNative());
  });

  it("tries nothing else when SELFCONNECT_ADDON names a file that does not load", () => {
    const broken = path.join(folder, "selfconnect.node");
    writeFileSync(broken, "no addon");
    const error = thrownBy(() => requireAddon(addonHost(), broken));
    expect(error.code).toBe("ERR_ADDON_MISSING");
    expect(error.message).toMatch(
      /^selfconnect has no addon for linux-\w+ \((glibc [\d.]+|musl)\): .*too short/,
    );
    expect(error.message).toContain("SELFCONNECT_ADDON names this file, and no other is tried");
    expect(error.cause).toMatchObject({ code: "ERR_DLOPEN_FAILED" });
    const missing = path.join(folder, "missing.node");
    expect(thrownBy(() => requireAddon(addonHost(), missing)).message).toContain(`there is no ${missing};`);
  });

  it("names the host, the file that it lacks, what is shipped, and the command that compiles it", () => {
    const places = [path.join(folder, "prebuilds/linux-riscv64-musl/selfconnect.node")];
    const host: AddonHost = { platform: "linux", architecture: "riscv64", libc: "musl" };
    const { message } = thrownBy(() => requireAddon(host, undefined, places));
    expect(message).toContain(`no addon for linux-riscv64 (musl): there is no ${places[0]};`);
    expect(message).toMatch(/this package has (it for [\w, -]+|none prebuilt)\./);
    expect(message).toContain(`with a C++20 compiler: node ${packageFile("native/compile.mjs")}`);
  });

  it("names the flag of a Node that loads no addon", () => {
    const error = Object.assign(new Error("Cannot load native addon"), { code: "ERR_DLOPEN_DISABLED" });
    const { Module } = createRequire(import.meta.url)("node:module");
    const load = Module._extensions[".node"];
    const file = path.join(folder, "disabled.node");
    writeFileSync(file, "");
    Module._extensions[".node"] = () => {
      throw error;
    };
    try {
      const { message, cause } = thrownBy(() => requireAddon(addonHost(), file));
      expect(message).toContain("start Node without --no-addons");
      expect(cause).toBe(error);
    } finally {
      Module._extensions[".node"] = load;
    }
  });
});

describe("addonHost", () => {
  it("knows the C library by the program that runs", () => {
    const { glibcVersionRuntime } = (
      process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    ).header;
    expect(addonHost()).toEqual({
      platform: process.platform,
      architecture: process.arch,
      libc: glibcVersionRuntime ? "glibc" : "musl",
    });
  });

  it("is named as the folders of prebuilds/", () => {
    const names = [
      { platform: "linux", architecture: "x64", libc: "glibc" },
      { platform: "linux", architecture: "arm64", libc: "musl" },
      { platform: "darwin", architecture: "arm64", libc: "" },
    ] as const;
    expect(names.map(prebuildName)).toEqual(["linux-x64", "linux-arm64-musl", "darwin-arm64"]);
  });
});
