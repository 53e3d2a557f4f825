/** Runs real servers on given ports: those of Debian's packages, and those of test/support/client-servers.mjs. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "vitest";
import { dial } from "../../lib/guard/dial.ts";
import { deadPort, LOOPBACK } from "./harness.ts";

const START_MS = 60_000;

interface Kind {
  readonly program: string;
  readonly packageName: string;
  /** The user that runs it when the tests run as root, which some servers refuse. */
  readonly user?: string;
  /** The signal that ends it at once: SIGKILL, unless that leaves children that prevent a restart. */
  readonly deadly?: NodeJS.Signals;
  prepare?(folder: string, run: (file: string, args: string[]) => void): void;
  command(folder: string, port: number): readonly [file: string, ...args: string[]];
  environment?(folder: string, port: number): Readonly<Record<string, string>>;
}

const SERVERS_OF_NODE = new URL("client-servers.mjs", import.meta.url).pathname;

/** A server that a client's own package has, or a script: in Node. `packages` is the folder that has the packages. */
function inNode(name: string, packages: string): Kind {
  const command: Kind["command"] = (_, port) => [
    process.execPath,
    SERVERS_OF_NODE,
    name,
    `${port}`,
    packages,
  ];
  return { program: process.execPath, packageName: "nodejs", command };
}

const KINDS = {
  redis: {
    program: "redis-server",
    packageName: "redis-server",
    command: (folder, port) => [
      "redis-server",
      "--port",
      `${port}`,
      "--bind",
      LOOPBACK[4],
      "--save",
      "",
      "--dir",
      folder,
    ],
  },
  postgres: {
    program: postgresProgram("postgres"),
    packageName: "postgresql",
    user: "postgres",
    deadly: "SIGQUIT",
    prepare: (folder, run) =>
      run(postgresProgram("initdb"), ["-D", `${folder}/data`, "-A", "trust", "-U", "tester", "--no-sync"]),
    command: (folder, port) => [
      postgresProgram("postgres"),
      "-D",
      `${folder}/data`,
      "-p",
      `${port}`,
      "-h",
      LOOPBACK[4],
      "-k",
      folder,
      "-F",
    ],
  },
  mariadb: {
    program: "mariadbd",
    packageName: "mariadb-server",
    user: "mysql",
    prepare: (folder, run) =>
      run("mariadb-install-db", ["--no-defaults", `--datadir=${folder}/data`, "--skip-test-db"]),
    command: (folder, port) => [
      "mariadbd",
      "--no-defaults",
      `--datadir=${folder}/data`,
      `--socket=${folder}/socket`,
      `--port=${port}`,
      `--bind-address=${LOOPBACK[4]}`,
      "--skip-grant-tables",
      "--skip-networking=0",
    ],
  },
  rabbitmq: {
    // The one in PATH drops the environment when it changes the user.
    program: "/usr/lib/rabbitmq/bin/rabbitmq-server",
    packageName: "rabbitmq-server",
    user: "rabbitmq",
    deadly: "SIGTERM", // It is a script, which then ends its server.
    command: () => ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
    environment: (folder, port) => ({
      HOME: folder,
      RABBITMQ_NODE_PORT: `${port}`,
      RABBITMQ_NODE_IP_ADDRESS: LOOPBACK[4],
      // The default is 20,000 above its port, which may be no port.
      RABBITMQ_DIST_PORT: `${port - 20_000}`,
      ERL_CRASH_DUMP: `${folder}/dump`,
      RABBITMQ_NODENAME: "selfconnect@localhost",
      RABBITMQ_CONFIG_FILE: `${folder}/none`,
      RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/plugins`,
      RABBITMQ_LOG_BASE: folder,
      RABBITMQ_MNESIA_BASE: folder,
    }),
  },
  nats: {
    program: "nats-server",
    packageName: "nats-server",
    command: (_, port) => ["nats-server", "--addr", LOOPBACK[4], "--port", `${port}`],
  },
  mosquitto: {
    program: "mosquitto",
    packageName: "mosquitto",
    prepare: (folder) => writeFileSync(`${folder}/none`, ""),
    // With a port, and without a listener in a file, it listens on loopback and takes anybody.
    command: (folder, port) => ["mosquitto", "-c", `${folder}/none`, "-p", `${port}`],
  },
  openssh: {
    program: "/usr/sbin/sshd",
    packageName: "openssh-server",
    prepare: (folder, run) => {
      run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${folder}/key`]);
      mkdirSync("/run/sshd", { recursive: true });
    },
    command: (folder, port) => [
      "/usr/sbin/sshd",
      "-De",
      ...["-f", "/dev/null", "-h", `${folder}/key`],
      ...["-o", `ListenAddress=${LOOPBACK[4]}`, "-o", `Port=${port}`, "-o", `PidFile=${folder}/pid`],
    ],
  },
} satisfies Record<string, Kind>;

export type ServiceName = keyof typeof KINDS;

/** A server that a test can kill and restart on its port. */
export class Service implements AsyncDisposable {
  readonly port: number;
  readonly #kind: Kind;
  readonly #folder: string;
  #child: ChildProcess | null = null;
  #output = "";

  /** Skips, with the install command, where the server is not installed. */
  constructor(name: ServiceName, context: TestContext);
  /** Any other name is one of test/support/client-servers.mjs, with the folder of its packages. */
  constructor(name: string, context: TestContext, packages: string, port?: number);
  constructor(name: string, context: TestContext, packages = "", port = deadPort()) {
    this.port = port;
    this.#kind = Object.hasOwn(KINDS, name) ? KINDS[name as ServiceName] : inNode(name, packages);
    const { program, packageName } = this.#kind;
    const isThere = spawnSync("sh", ["-c", 'command -v "$0"', program]).status === 0;
    if (!isThere) context.skip(`no ${name} here. On Debian: apt-get install ${packageName}`);
    this.#folder = mkdtempSync(path.join(os.tmpdir(), `selfconnect-${name.replaceAll(/\W/g, "-")}-`));
    chmodSync(this.#folder, 0o777);
    this.#kind.prepare?.(this.#folder, (file, args) => this.#run(file, args));
  }

  async start(): Promise<this> {
    this.#output = "";
    const [file, ...args] = this.#as(this.#kind.command(this.#folder, this.port));
    const env = { ...process.env, ...this.#kind.environment?.(this.#folder, this.port) };
    const child = spawn(file!, args, { stdio: ["ignore", "pipe", "pipe"], env });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (this.#output += text));
    this.#child = child;
    const died = new AbortController();
    child.once("exit", () => died.abort());
    const peer = { family: 4, host: LOOPBACK[4], port: this.port } as const;
    try {
      const { socket } = await dial(peer, {
        attempts: START_MS,
        retryOn: ["ECONNREFUSED"],
        backoff: { kind: "fixed", delayMs: 10 },
        deadlineMs: START_MS,
        signal: died.signal,
      });
      socket.close();
    } catch (error) {
      throw new Error(`${this.#kind.program} did not start on port ${this.port}:\n${this.#output}`, {
        cause: error,
      });
    }
    return this;
  }

  /** Kills it, with its connections open. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(this.#kind.deadly ?? "SIGKILL");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(file: string, args: string[]): void {
    const [first, ...rest] = this.#as([file, ...args]);
    const { status, stderr, stdout } = spawnSync(first!, rest, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${file} failed (${status}):\n${stdout}${stderr}`);
  }

  #as(command: readonly string[]): readonly string[] {
    const { user } = this.#kind;
    if (!user || process.getuid?.() !== 0) return command;
    return ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", ...command];
  }
}

/** Debian keeps PostgreSQL's programs out of PATH, by version. */
function postgresProgram(name: string): string {
  const versions = "/usr/lib/postgresql";
  try {
    return path.join(versions, readdirSync(versions).sort().at(-1)!, "bin", name);
  } catch {
    return name;
  }
}
