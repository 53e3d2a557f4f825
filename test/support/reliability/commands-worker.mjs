// `worker` in the part `commands`: node commands-worker.mjs QUEUE. A worker, whose calls may fail as this program's would,
// is asked by a lab and an audit that do not fail. Prints what all three say; the exit code is that of the first of them
// that did not end as it should.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { runCommand } from "../run-command.mjs";

const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const [queue] = process.argv.slice(2);
const { LD_PRELOAD, ...plain } = process.env;
const QUESTIONS = [
  ["audit", "--queue", queue, "--deadline", "20s"],
  ["lab", "--queue", queue, "--experiments", "bind-first", "--trials", "1", "--deadline", "20s"],
];

const worker = spawn(process.execPath, [MAIN, "worker", "--queue", queue], {
  stdio: ["ignore", "pipe", "pipe"],
});
const ended = once(worker, "close");
let said = "";
const listening = new Promise((resolve) => {
  for (const stream of [worker.stdout, worker.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      said += text;
      if (said.includes("takes orders")) resolve();
    });
  }
});
await Promise.race([listening, ended]);
const codes = [];
if (worker.exitCode === null) {
  for (const question of QUESTIONS) {
    const { status, output } = await runCommand([process.execPath, MAIN, ...question], { env: plain });
    console.log(output);
    codes.push(status);
  }
}
worker.kill("SIGINT");
const [status] = await ended;
console.log(said);
process.exitCode = [...codes, status].find((code) => code !== 0) ?? 0;
