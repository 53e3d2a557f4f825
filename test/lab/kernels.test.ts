/** Kernels by name and as files, and sysctls as an axis. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Machine } from "../../lib/lab/index.ts";
import { KernelShelf, makeMachines, parseSysctlAxis, runLab, spreadSysctls } from "../../lib/lab/index.ts";
import { hostMachine } from "../../lib/lab/machines/host.ts";
import { versionLimits } from "../../lib/lab/uml-package.ts";
import { needsNamespaces } from "../support/harness.ts";

const PATH = process.env.PATH!;
const LIMIT_MS = versionLimits.totalMs;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-kernels-"));
  mkdirSync(path.join(folder, "bin"));
  for (const name of ["ip", "qemu-system-x86_64", "busybox", "cpio"]) standIn(name, "exit 0");
  process.env.PATH = `${folder}/bin:${PATH}`;
});

afterEach(() => {
  process.env.PATH = PATH;
  versionLimits.totalMs = LIMIT_MS;
  rmSync(folder, { recursive: true, force: true });
});

function standIn(name: string, script: string): void {
  writeFileSync(path.join(folder, "bin", name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

function fileOf(name: string, content: Buffer | string): string {
  const file = path.join(folder, name);
  writeFileSync(file, content, { mode: 0o755 });
  return file;
}

function bzImage(): string {
  const content = Buffer.alloc(1024);
  content.write("HdrS", 0x202);
  return fileOf("bzImage", content);
}

const shelf = () =>
  new KernelShelf({ cacheFolder: path.join(folder, "cache"), mirror: "http://mirror.example" });
const titlesOf = (machines: readonly Machine[]) => machines.map(({ title }) => title);

describe("a kernel's file", () => {
  it("names its machine, and then no other is asked", async () => {
    const [image, uml] = [bzImage(), fileOf("linux", "\x7fELF …  uml_dir=<directory>")];
    const machines = await makeMachines({ kernels: [image, uml] }, shelf());
    expect(titlesOf(machines)).toEqual([`qemu ${image}`, `uml ${uml}`]);
  });

  it.each([
    ["vmlinux", "\x7fELF Linux version 6.1", /arch\/x86\/boot\/bzImage instead of vmlinux/],
    ["notes.txt", "no kernel at all", /is no kernel: give a vmlinuz/],
  ])("%s is reported as what it is not", async (name, content, reason) => {
    const [machine] = await makeMachines({ kernels: [fileOf(name, content)] }, shelf());
    expect(await machine!.missing()).toMatch(reason);
  });

  it("that is absent is reported, and nothing is fetched for it", async () => {
    standIn("apt-get", "exit 1");
    const [machine] = await makeMachines({ kernels: [`${folder}/none`] }, shelf());
    expect(await machine!.missing()).toMatch(/ENOENT/);
  });
});

describe("User-mode Linux by name", () => {
  /** Stands for the package: a program that prints its release, and with an old C library does not run. */
  function offer(program: string): void {
    const line = (name: string, version: string) =>
      `${name} | ${version} | http://mirror.example sid/main amd64 Packages`;
    const [kernel, library] = [line("user-mode-linux", "9.8um1"), line("libc6", "9.9-1")];
    const cases = `*"madison libc6") echo '${library}';; *madison*) echo '${kernel}';;`;
    standIn("apt-cache", `case "$*" in ${cases} esac`);
    standIn("apt-get", `case "$*" in *download*) for name; do :; done; echo "$name" > "$name.deb";; esac`);
    standIn("dpkg-deb", 'cat "$2"');
    const unpack = `cat > "$3/got"
      case $(cat "$3/got") in
      user-mode-linux*) printf '%s\\0' '${program}' > "$3/linux"; chmod +x "$3/linux";;
      *) touch "$3/library";;
      esac`;
    standIn("tar", unpack);
  }

  it("is unpacked into the cache, with the release that it reports, and found there the next time", async () => {
    offer("#!/bin/sh\necho 9.8.7\n#");
    const kernel = await shelf().get("9.8", "uml");
    expect(kernel.release).toBe("9.8.7");
    standIn("apt-get", "exit 1");
    expect(await shelf().get("9.8", "uml")).toEqual(kernel);
    expect(shelf().listCached()).toEqual([
      { machine: "uml", release: "9.8.7", version: "9.8um1", suite: "cache", isCached: true },
    ]);
  });

  it("is given the loader and the C library of its suite where it does not run without", async () => {
    // Runs only with the loader beside it: what the patch writes in place of the system's.
    const script = "#!/bin/sh\ntest -e library && grep -q '^#\\./ld-linux' linux && echo 9.8.7 || exit 1\n";
    const quoted = `${script}#/lib64/ld-linux-x86-64.so.2`.replaceAll("'", `'"'"'`);
    offer(quoted);
    expect((await shelf().get("newest", "uml")).release).toBe("9.8.7");
  });

  it("that hangs when asked for its release is ended", async () => {
    versionLimits.totalMs = 1000;
    const file = path.join(folder, "pid");
    offer(`#!/bin/sh\nread -r pid _ < /proc/self/stat; echo $pid > ${file}; sleep 1000\n#`);
    const [machine] = await makeMachines({ machines: ["uml"], kernels: ["newest"] }, shelf());
    expect(await machine!.missing()).not.toBeNull();
    const pid = readFileSync(file, "utf8").trim();
    await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false));
  });

  it("that does not run at all is missing with the reason, and leaves nothing in the cache", async () => {
    offer("#!/bin/sh\nexit 1\n#/lib64/ld-linux-x86-64.so.2");
    const [machine] = await makeMachines({ machines: ["uml"], kernels: ["newest"] }, shelf());
    expect(await machine!.missing()).toMatch(/does not run here, with its own C library either/);
    expect(shelf().listCached()).toEqual([]);
  });
});

describe("--sysctl", () => {
  it("makes a machine for every combination of values", () => {
    const axes = ["net.ipv4.tcp_tw_reuse=0,1", "net.ipv4.ip_local_port_range=1024 2048,4096 8192"];
    const machines = spreadSysctls([hostMachine()], axes.map(parseSysctlAxis));
    expect(titlesOf(machines)).toEqual([
      "host tcp_tw_reuse=0 ip_local_port_range=1024 2048",
      "host tcp_tw_reuse=0 ip_local_port_range=4096 8192",
      "host tcp_tw_reuse=1 ip_local_port_range=1024 2048",
      "host tcp_tw_reuse=1 ip_local_port_range=4096 8192",
    ]);
  });

  it.each([
    "kernel.panic=1",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4/../../kernel/panic=1",
    "net.ipv4.x=a\nb",
  ])("%j is refused", (text) => {
    expect(() => parseSysctlAxis(text)).toThrow(/use a name of net\.ipv4/);
  });

  it("is set in the guest, which reports it; one that cannot be set is not here", async (context) => {
    needsNamespaces(context);
    const axes = ["net.ipv4.tcp_tw_reuse=0,1", "net.ipv4.no_such_name=1"].map(parseSysctlAxis);
    const [off, on] = spreadSysctls([hostMachine()], axes.slice(0, 1));
    const [unknown] = spreadSysctls([hostMachine()], axes.slice(1));
    const machines = [off!, on!, unknown!];
    const result = await runLab({ machines, experiments: ["bind-first"], trials: 1 });
    const set = result.kernels.map(({ environment }) => environment!.sysctls["net.ipv4.tcp_tw_reuse"]);
    expect(set.slice(0, 2)).toEqual(["0", "1"]);
    const statusOf = ({ title }: Machine) => result.findings.find(({ kernel }) => kernel === title)?.status;
    expect(machines.map(statusOf)).toEqual(["answered", "answered", "not-here"]);
  });
});
