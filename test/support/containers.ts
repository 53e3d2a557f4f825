/** Containers of podman for tests, from an image that no registry is asked for: this Node and what it loads. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { CommandResult } from "./harness.ts";
import { command } from "./harness.ts";

/** The image without anything of ours. */
export const BASE = "localhost/node";
/** By their place in the image. Podman runs a probe by sh, and `env` runs the programs of node_modules/.bin. */
const PROGRAMS = { "/usr/bin/node": process.execPath, "/bin/sh": "/bin/sh", "/usr/bin/env": "/usr/bin/env" };
const BASE_LINES = "FROM scratch\nCOPY base /\nENV PATH=/usr/bin\n";
/** Podman asks for more than a container may have that has no CAP_SYS_RESOURCE. */
const ULIMITS = ["nofile=1024:1024", "nproc=1024:1024"];
/** From here on podman reads the sysctls of a Pod. */
const READS_POD_SYSCTLS = 4.6;

/** Podman with everything that it keeps below `folder`, whose owner removes it when its processes have ended. */
export class Podman implements AsyncDisposable {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.#write("storage.conf", "storage", {
      driver: "overlay",
      graphroot: this.#path("images"),
      runroot: this.#path("run"),
    });
  }

  /** Null, or why no container can be run here: nothing of ours is in this one. */
  async whyNot(): Promise<string | null> {
    const isThere = await this.run("--version");
    if (isThere.status !== 0) return "no podman here (Debian: apt-get install podman crun runc catatonit)";
    this.#copyPrograms();
    const built = await this.build(BASE, BASE_LINES);
    const ran =
      built.status === 0 ? await this.run("run", "--rm", "--network=none", BASE, "node", "--eval=0") : built;
    return ran.status === 0
      ? null
      : `podman cannot run a container here: ${ran.stderr.trim().split("\n").at(-1)}`;
  }

  /** Runs podman to its end. `sysctls` are those of all containers that it makes. */
  async #run(args: readonly string[], sysctls: readonly string[]): Promise<CommandResult> {
    // The host's systemd would check their health, on timers.
    const environment = [
      `CONTAINERS_CONF=${this.#configure(sysctls)}`,
      `CONTAINERS_STORAGE_CONF=${this.#path("storage.conf")}`,
      "DISABLE_HC_SYSTEMD=true",
    ];
    return await command("env", [...environment, "podman", ...args]);
  }

  run(...args: readonly string[]): Promise<CommandResult> {
    return this.#run(args, []);
  }

  /** Docker's format, because that of OCI has no HEALTHCHECK. */
  build(tag: string, dockerfile: string): Promise<CommandResult> {
    const file = path.join(mkdtempSync(this.#path("build-")), "Dockerfile");
    writeFileSync(file, dockerfile);
    return this.run("build", "--quiet", "--format=docker", `--tag=${tag}`, `--file=${file}`, this.#folder);
  }

  /** A container that runs until it is disposed; its network has loopback only. */
  async start(image: string, flags: readonly string[], ...program: readonly string[]): Promise<Container> {
    const { stdout } = await this.#must(
      this.run("run", "--detach", "--network=none", ...flags, image, ...program),
    );
    return new Container(this, stdout.trim());
  }

  /** The containers of a Pod by their names, which podman makes of the Pod's and theirs. */
  async play(yaml: string): Promise<Pod> {
    const file = path.join(mkdtempSync(this.#path("pod-")), "pod.yaml");
    writeFileSync(file, yaml);
    const { stdout } = await this.run("--version");
    const isRead = Number(/(\d+\.\d+)/.exec(stdout)![1]) >= READS_POD_SYSCTLS;
    const sysctls = isRead ? [] : readPodSysctls(yaml);
    await this.#must(this.#run(["kube", "play", "--network=none", file], sysctls));
    return new Pod(this, file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run("pod", "rm", "--all", "--force", "--time=0");
    await this.run("rm", "--all", "--force", "--time=0");
  }

  async #must(running: Promise<CommandResult>): Promise<CommandResult> {
    const result = await running;
    if (result.status !== 0) throw new Error(result.stderr);
    return result;
  }

  #copyPrograms(): void {
    for (const [place, file] of Object.entries(PROGRAMS)) {
      this.#copy(file, place);
      const libraries = execFileSync("ldd", [file], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
      for (const library of libraries) this.#copy(library, library);
    }
    mkdirSync(this.#path("base/tmp"), { recursive: true });
  }

  #copy(from: string, to: string): void {
    const copy = this.#path(path.join("base", to));
    mkdirSync(path.dirname(copy), { recursive: true });
    cpSync(realpathSync(from), copy);
  }

  #configure(sysctls: readonly string[]): string {
    const name = sysctls.length > 0 ? "sysctls" : "containers";
    const limits = { default_ulimits: ULIMITS, default_sysctls: sysctls };
    this.#write(`${name}.conf`, "containers", limits, "engine", {
      // Everywhere the same: not by systemd, nor by its journal. crun refuses to run where both versions of cgroups are.
      runtime: existsSync("/sys/fs/cgroup/unified") ? "runc" : "crun",
      cgroup_manager: "cgroupfs",
      events_logger: "none",
      lock_type: "file",
      tmp_dir: this.#path("tmp"),
      static_dir: this.#path("images/libpod"),
      volume_path: this.#path("images/volumes"),
    });
    return this.#path(`${name}.conf`);
  }

  /** TOML, of strings and lists of them. */
  #write(name: string, ...tables: readonly (string | Readonly<Record<string, unknown>>)[]): void {
    const lines = tables.flatMap((table) =>
      typeof table === "string"
        ? [`[${table}]`]
        : Object.entries(table).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
    );
    writeFileSync(this.#path(name), `${lines.join("\n")}\n`);
  }

  #path(name: string): string {
    return path.join(this.#folder, name);
  }
}

/** One container. */
export class Container implements AsyncDisposable {
  readonly #podman: Podman;
  readonly #name: string;

  constructor(podman: Podman, name: string) {
    this.#podman = podman;
    this.#name = name;
  }

  /** Runs a program in it, to its end unless `flags` have --detach. */
  exec(flags: readonly string[], ...program: readonly string[]): Promise<CommandResult> {
    return this.#podman.run("exec", ...flags, this.#name, ...program);
  }

  /** What its first program has printed. */
  async logs(): Promise<string> {
    const { stdout, stderr } = await this.#podman.run("logs", this.#name);
    return stdout + stderr;
  }

  /** Runs its check once: "healthy", or "unhealthy" and what the check printed last. */
  async health(): Promise<string> {
    const { status, stdout, stderr } = await this.#podman.run("healthcheck", "run", this.#name);
    if (status === 0) return "healthy";
    if (!stdout.includes("unhealthy")) throw new Error(stdout + stderr);
    const log = "{{(index .State.Health.Log (len (slice .State.Health.Log 1))).Output}}";
    return `unhealthy: ${(await this.#podman.run("inspect", "--format", log, this.#name)).stdout}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#podman.run("rm", "--force", "--time=0", this.#name);
  }
}

/** One Pod. */
export class Pod implements AsyncDisposable {
  readonly #podman: Podman;
  readonly #file: string;

  constructor(podman: Podman, file: string) {
    this.#podman = podman;
    this.#file = file;
  }

  container(name: string): Container {
    return new Container(this.#podman, `guide-${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#podman.run("kube", "down", this.#file);
  }
}

/** As `name=value`. Podman before 4.6 ignores them, and gets them as the defaults of all its containers. */
function readPodSysctls(yaml: string): string[] {
  return [...yaml.matchAll(/name: (net\.[\w.]+), value: "([^"]+)"/g)].map(
    ([, name, value]) => `${name}=${value}`,
  );
}
