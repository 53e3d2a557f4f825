/** Real sshd for tests: with keys and settings of the test's own, in a folder that is removed with them. */
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "vitest";
import { vi } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { needsRoot } from "./harness.ts";

const SSHD = "/usr/sbin/sshd";

/** How one host of a test differs from others. */
export interface SshdHost {
  /** Where its sshd listens; absent: ssh starts one for each connection (sshd -i), and nothing listens. */
  readonly address?: Address;
  /** More of sshd_config. */
  readonly sshd?: readonly string[];
  /** More of the environment there. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Skips, with the reason, where there is no sshd, or nobody may start it. */
export function needsSshd(context: TestContext): void {
  if (!existsSync(SSHD) || spawnSync("ssh", ["-V"]).status !== 0)
    context.skip("no sshd here (Debian: apt-get install openssh-server openssh-client)");
  needsRoot(context, "sshd");
}

export class SshdHosts implements AsyncDisposable {
  /** For ssh -F: the hosts by their names. */
  readonly config: string;
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-sshd-"));
  readonly #servers: ChildProcess[] = [];
  readonly #names: readonly string[];

  constructor(hosts: Readonly<Record<string, SshdHost>>) {
    this.config = this.#path("ssh_config");
    this.#names = Object.keys(hosts);
    mkdirSync("/run/sshd", { recursive: true }); // sshd does not start without it.
    for (const key of ["host_key", "user_key"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", this.#path(key)]);
    writeFileSync(this.#path("known_hosts"), `* ${readFileSync(this.#path("host_key.pub"), "utf8")}`);
    writeFileSync(
      this.config,
      Object.entries(hosts)
        .map(([name, host]) => this.#configure(name, host))
        .join(""),
    );
  }

  /** Returns when all that listen do. */
  async listening(): Promise<void> {
    await Promise.all(
      this.#servers.map((server) => new Promise((resolve) => server.stderr!.once("data", resolve))),
    );
  }

  /** The folder for temporary files on a host. */
  temporary(name: string): string {
    return this.#path(`tmp-${name}`);
  }

  /** The pids of all that runs on a host: its folder for temporary files, or one in that, is in their environment. */
  processesOn(name: string): number[] {
    const marks = ["\0", "/"].map((end) => `TMPDIR=${this.temporary(name)}${end}`);
    const isThere = (pid: string) => {
      const environment = readOrEmpty(`/proc/${pid}/environ`);
      return marks.some((mark) => environment.includes(mark));
    };
    return readdirSync("/proc")
      .filter((pid) => /^\d+$/.test(pid) && isThere(pid))
      .map(Number);
  }

  /** Waits until nothing is left of those who were on a host. */
  async expectNothingLeft(name: string): Promise<void> {
    await vi.waitFor(
      () => {
        const left = [...readdirSync(this.temporary(name)), ...this.processesOn(name)];
        if (left.length > 0) throw new Error(`left on ${name}: ${left}`);
      },
      { timeout: 60_000 },
    );
  }

  /** Ends the processes of sshd that serve the connections to a host. */
  breakConnections(name: string): void {
    for (const pid of this.processesOn(name)) {
      const session = sessionOf(pid);
      if (session !== null) process.kill(session, "SIGKILL");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGKILL");
      await ended;
    }
    // A command of sshd's configuration may not end with its connection.
    for (const pid of this.#names.flatMap((name) => this.processesOn(name))) process.kill(pid, "SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(name: string): string {
    return path.join(this.#folder, name);
  }

  /** Returns the part of ssh_config for a host. */
  #configure(name: string, { address, sshd = [], environment = {} }: SshdHost): string {
    mkdirSync(this.temporary(name));
    const all = { TMPDIR: this.temporary(name), ...environment };
    const listen = address ? [`ListenAddress ${address.host}`, `Port ${address.port}`] : [];
    const lines = [
      ...listen,
      ...[`HostKey ${this.#path("host_key")}`, `AuthorizedKeysFile ${this.#path("user_key.pub")}`],
      ...["StrictModes no", "UsePAM no", "PidFile none", "PermitRootLogin yes", "PasswordAuthentication no"],
      `SetEnv ${Object.entries(all)
        .map(([key, value]) => `${key}=${value}`)
        .join(" ")}`,
      ...sshd,
    ];
    const file = this.#path(`sshd_config-${name}`);
    writeFileSync(file, `${lines.join("\n")}\n`);
    if (address)
      this.#servers.push(spawn(SSHD, ["-D", "-e", "-f", file], { stdio: ["ignore", "ignore", "pipe"] }));
    const way = address
      ? [`HostName ${address.host}`, `Port ${address.port}`]
      : [`ProxyCommand ${SSHD} -i -f ${file}`];
    const settings = [
      ...[...way, "HostKeyAlias test", "User root", `IdentityFile ${this.#path("user_key")}`],
      ...["IdentitiesOnly yes", `UserKnownHostsFile ${this.#path("known_hosts")}`],
    ];
    return [`Host ${name}`, ...settings.map((line) => `  ${line}`), ""].join("\n");
  }
}

/** The nearest sshd above a process; null where it has ended. */
function sessionOf(pid: number): number | null {
  for (let at = pid; at > 1; ) {
    const [, name, parent] = /\((.*)\) \S (\d+)/s.exec(readOrEmpty(`/proc/${at}/stat`)) ?? [];
    if (name === undefined) return null;
    if (name.startsWith("sshd")) return at;
    at = Number(parent);
  }
  return null;
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // It has ended.
  }
}
