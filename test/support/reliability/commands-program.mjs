// Runs each command once for each system call that it makes through the addon, and lets that call fail: a program of its
// own, in a namespace of its own. node commands-program.mjs LIBRARY CONTROL FOLDER. Prints one JSON object a line:
// {id, verdict, …} for each run. In the namespace a server is at risk, and a socket is joined to itself.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { TcpSocket } from "../../../dist/index.js";
import { runCommand } from "../run-command.mjs";
import { ROWS } from "./calls.mjs";
import { Faults } from "./preload.mjs";

const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));
/** Longer than any of these commands takes on a busy machine; one that has not ended by then hangs. */
const HANGS_AFTER_MS = 240_000;
/** What each call fails with: the first of these that its manual page has. */
const PREFERRED = ["ENOMEM", "ENOBUFS", "EMFILE", "EPERM", "EACCES", "EIO", "EINVAL", "EBADF"];

const [library, control, folder] = process.argv.slice(2);
const faults = new Faults(control);
const server = net.createServer((stream) => stream.on("error", () => {}).resume()).listen(0, "127.0.0.1");
await once(server, "listening");
const joined = TcpSocket.open(4).bind("127.0.0.1:0");
joined.connect(joined.getsockname());
await joined.connected();
const served = String(server.address().port);
const held = String(joined.getsockname().port);
const socket = path.join(folder, "redis.sock");

/** None changes the host. `report` and `completion` make no call. A name of a file is a program of ours, not a command. */
const COMMANDS = {
  audit: ["audit"],
  who: ["who", held],
  free: ["free", "--dry-run", held],
  reserve: ["reserve", "--dry-run", served],
  dial: ["dial", `127.0.0.1:${served}`, "--deadline", "2s"],
  "dial, nobody": ["dial", "127.0.0.1:9", "--attempts", "1", "--deadline", "2s"],
  predict: ["predict", `127.0.0.1:${served}`],
  ports: ["ports", "--count", "1500"],
  reconnect: ["reconnect", "--attempts", "300", "--duration", "2s"],
  "reconnect, range": ["reconnect", "--strategy", "range", "--trials", "2", "--duration", "2s"],
  trace: ["trace"],
  doctor: ["doctor"],
  lab: [
    ...["lab", "--machine", "host", "--experiments", "bind-first", "--trials", "1"],
    ...["--output", path.join(folder, "lab.json")],
  ],
  bench: ["bench", "--rounds", "1", "--cell", "50ms", "--only", "attempts"],
  run: ["run", process.execPath, pathOf("commands-guarded.mjs"), served],
  worker: [pathOf("commands-worker.mjs"), `unix://${socket}`],
};

/** What these print of an errno is their answer: what another program would get, or what the kernel said. */
const ANSWERS = { who: /cannot start: /, lab: /: no: / };

const documented = await readExitCodes();
const redis = await startRedis();
if (!redis) delete COMMANDS.worker;
for (const [name, args] of Object.entries(COMMANDS)) await attack(name, args);
redis?.kill();
process.exit(0);

async function attack(name, args) {
  faults.disarm();
  faults.clear();
  const plain = await run(args);
  const seen = faults.seen();
  const wrong = judgeAnyway(plain);
  if (wrong) print({ id: name, verdict: "red", why: `without a fault: ${wrong}` });
  for (const row of ROWS) {
    if (seen[row.row] === 0) continue;
    const code = PREFERRED.find((one) => row.errnos.includes(one)) ?? row.errnos[0];
    faults.arm(row, code);
    const ended = await run(args);
    const id = `${name} | ${row.name} ${code} for ever`;
    const common = { id, command: name, call: row.name, status: ended.status };
    if (faults.injected() === 0) print({ ...common, verdict: "none" });
    else print({ ...common, ...judge(row, code, plain, ended, ANSWERS[name]) });
  }
}

function run(args) {
  const env = { ...process.env, ...faults.environment(library), NO_COLOR: "1" };
  const program = args[0].endsWith(".mjs") ? [] : [MAIN];
  return runCommand([process.execPath, ...program, ...args], {
    env,
    timeout: HANGS_AFTER_MS,
    killSignal: "SIGKILL",
    cwd: folder,
  });
}

/** What no end of a command may be. */
function judgeAnyway({ status, output }) {
  if (status === null) return `killed, or hangs: ${output.slice(-300)}`;
  if (!documented.includes(status)) return `exit code ${status} is not documented: ${output.slice(-300)}`;
  const trace = /\n {4}at .*:\d+:\d+\)?/.exec(output);
  return trace ? `a stack trace: ${output.slice(Math.max(0, trace.index - 300), trace.index + 100)}` : null;
}

/** A fault is named with its call or its errno, or it made no difference to how the command ends. */
function judge(row, code, plain, ended, answer) {
  const wrong = judgeAnyway(ended);
  if (wrong) return { verdict: "red", why: wrong };
  const names = [row.name, row.of, "sock_diag", ...(row.reports ?? [])].filter(Boolean);
  const codes = [code, row.becomes?.[code]].filter(Boolean);
  const words = ended.output.split(/\W+/);
  const isOfAnswer = answer?.test(ended.output) ?? false;
  const isCallNamed = isOfAnswer || names.some((one) => words.includes(one));
  const isNamed = isCallNamed && codes.some((one) => words.includes(one));
  if (isNamed) return { verdict: "said" };
  if (ended.status === plain.status) return { verdict: "went on" };
  return {
    verdict: "red",
    why: `exit code ${ended.status} instead of ${plain.status} without naming ${row.name} ${code}: ${ended.output.slice(-400)}`,
  };
}

/** The queue of `worker`, on a socket of the file system; null where there is no redis-server. */
async function startRedis() {
  if (spawnSync("redis-server", ["--version"]).error) return null;
  const where = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""];
  const child = spawn("redis-server", where, { stdio: "ignore" });
  while (!existsSync(socket) && child.exitCode === null) await sleep(20);
  return child;
}

async function readExitCodes() {
  const { output } = await runCommand([process.execPath, MAIN, "--help"]);
  const [, table] = output.split("Exit codes:\n");
  return [...table.matchAll(/^ {2}(\d+) /gm)].map(([, status]) => Number(status));
}

function print(object) {
  console.log(JSON.stringify(object));
}
