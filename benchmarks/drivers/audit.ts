/**
 * The CPU time of `selfconnect audit` and of ss -tanp while very many sockets are open: one of each for every round.
 * Arguments: port and milliseconds (not used), how many sockets, by how many processes, how many rounds. A process of
 * the crowd: "crowd", its loopback address, how many connections.
 */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { TcpSocket } from "../../lib/index.ts";

const HERE = fileURLToPath(import.meta.url);
const AUDIT = [
  process.execPath,
  fileURLToPath(new URL("../../cli/start.js", import.meta.url)),
  "audit",
  "--json",
];
const SS = ["ss", "-tanp"];
/** proc(5): the times of ended children are in hundredths of a second (USER_HZ). */
const NS_PER_TICK = 10_000_000;
const LARGEST_OUTPUT = 2 ** 30;
/** What a listener's queue may hold, because nothing accepts the connections. */
const BACKLOG = 65_535;

const [, , task, ...rest] = process.argv;
if (task === "crowd") openCrowd(rest[0]!, Number(rest[1]));
else await compare(...(rest.slice(1).map(Number) as [sockets: number, processes: number, rounds: number]));

/** Connects to a listener of its own, which never accepts, and stays until its standard input ends. */
function openCrowd(host: string, count: number): void {
  const listener = TcpSocket.open(4).bind({ family: 4, host, port: 0 }).listen(BACKLOG);
  const crowd = [listener];
  for (let made = 0; made < count; made++) crowd.push(TcpSocket.open(4));
  for (const client of crowd.slice(1)) client.connect(listener.getsockname());
  console.log("ready");
  process.stdin.resume().on("end", () => process.exit(crowd.length > 0 ? 0 : 1));
}

async function compare(sockets: number, processes: number, rounds: number): Promise<void> {
  writeFileSync("/proc/sys/net/core/somaxconn", String(BACKLOG));
  const crowds: ChildProcess[] = [];
  const [auditNs, ssNs]: [number[], number[]] = [[], []];
  try {
    for (let at = 1; at <= processes; at++) crowds.push(await startCrowd(at, sockets / 2 / processes));
    for (let round = 0; round < rounds; round++) {
      // Every second round runs in reverse order, so that a drift within rounds cancels out.
      const both = [() => auditNs.push(measure(AUDIT, isAudit)), () => ssNs.push(measure(SS, isWhole))];
      for (const one of round % 2 === 0 ? both : both.reverse()) one();
    }
  } finally {
    for (const { stdin } of crowds) stdin!.end();
  }
  console.log(JSON.stringify({ auditNs, ssNs }));

  function isAudit(stdout: string): boolean {
    return JSON.parse(stdout).listeners.length === processes;
  }

  function isWhole(stdout: string): boolean {
    return stdout.split("\n").length > sockets;
  }
}

async function startCrowd(at: number, count: number): Promise<ChildProcess> {
  const args = [HERE, "crowd", `127.0.0.${at}`, String(count)];
  const crowd = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  const failed = once(crowd, "exit").then(() => Promise.reject(new Error("a process could not connect")));
  await Promise.race([once(crowd.stdout, "data"), failed]);
  failed.catch(() => undefined); // It ends when the trial is over.
  return crowd;
}

/** The CPU time of a program. Throws when it does not see every socket. */
function measure([file, ...args]: readonly string[], sees: (stdout: string) => boolean): number {
  const before = readChildrenNs();
  const { stdout, stderr, error } = spawnSync(file!, args, { encoding: "utf8", maxBuffer: LARGEST_OUTPUT });
  const spent = readChildrenNs() - before;
  if (error) throw new Error(`${file} is not installed (${error.message})`);
  if (!sees(stdout))
    throw new Error(`${[file, ...args].join(" ")} does not see all of the sockets: ${stderr}`);
  return spent;
}

/** proc(5), /proc/self/stat: cutime and cstime, the 16th and 17th field; the second one, a name, may have spaces. */
function readChildrenNs(): number {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)!.split(" ");
  return (Number(fields[13]) + Number(fields[14])) * NS_PER_TICK;
}
