/** A sample of the fault matrix, whose whole is `npm run check:deep -- faults`: test/support/reliability/faults.mjs. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { Capture } from "../../lib/packets/capture.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { needsNamespaces, needsRoot } from "../support/harness.ts";
import { runMatrix } from "../support/reliability/faults.mjs";

it("a system call that fails is an error that names it, and leaves no descriptor open", async (context) => {
  if (process.platform !== "linux") context.skip("the library that lets calls fail is for Linux");
  if (spawnSync("cc", ["--version"]).error) context.skip("no C compiler here: apt-get install gcc");
  needsRoot(context, "for a namespace with an address of its own");
  needsNamespaces(context);
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-faults-"));
  try {
    // A joined socket was said to be none, pair() left one open, the ring a descriptor, and a scope was said not to
    // exist, each for one of these.
    const paths = "isSelfConnected;bind;bind scope;pair;loop bind;loop fresh, io_uring";
    const calls = "bind;if_nametoindex;getpeername;io_uring_enter";
    const faults = await runMatrix(folder, ["--only", paths, "--calls", calls, "--most", "150"]);
    expect(faults.filter(({ verdict }) => verdict === "red")).toEqual([]);
    expect(faults.filter(({ verdict }) => verdict === "error").length).toBeGreaterThan(50);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it.each(["socket", "if_nametoindex", "setsockopt", "bind"])("a capture that fails by %s says so", (call) => {
  const native = loadNative();
  const { EPERM } = os.constants.errno;
  const captureOpen = (...values: Parameters<typeof native.captureOpen>) => {
    values[5][0] = native.captureCalls.indexOf(call);
    return -EPERM;
  };
  const open = () => Capture.open(1, 1, 4096, { ...native, captureOpen });
  expect(open).toThrow(expect.objectContaining({ syscall: call, code: "EPERM" }));
  // Only without the socket a privilege is missing.
  if (call === "socket") expect(open).toThrow("CAP_NET_RAW");
  else expect(open).not.toThrow("CAP_NET_RAW");
});
