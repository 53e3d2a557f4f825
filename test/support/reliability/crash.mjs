// The part `crash` of check:deep: kill -9 at random moments of the commands that write files. A file is whole or absent,
// nothing temporary stays, no guest of the lab lives on, and --resume goes on from what was written.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";
import { seededRandom } from "./random.mjs";

const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
/** How often each command is killed: at a random moment of the time that it takes without, up to this. */
const KILLS = 10;
const MOST_MS = 15_000;
/** A guest ends with its lab; it notices within this time. */
const GUEST_ENDS_MS = 3000;

/** `files`: what it writes, and whether a text is a whole one. */
const COMMANDS = {
  lab: {
    args: (file) => [
      "lab",
      "--machine",
      "host",
      "--trials",
      "3",
      "--output",
      file("lab.json"),
      "--html",
      file("lab.html"),
    ],
    whole: { "lab.json": isJson, "lab.html": isPage },
  },
  ports: {
    args: (file) => ["ports", "--count", "3000", "--html", file("ports.html"), "--ports", file("ports.txt")],
    whole: { "ports.html": isPage, "ports.txt": (text) => text.endsWith("\n") },
  },
  trace: {
    args: (file) => [
      "trace",
      "--html",
      file("trace.html"),
      "--svg",
      file("trace.svg"),
      "--write",
      file("trace.pcapng"),
    ],
    whole: {
      "trace.html": isPage,
      "trace.svg": (text) => text.trimEnd().endsWith("</svg>"),
      "trace.pcapng": (text) => text.length > 100,
    },
  },
  reconnect: {
    args: (file) => ["reconnect", "--attempts", "5000", "--html", file("run.html")],
    whole: { "run.html": isPage },
  },
};

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isPage(text) {
  return text.trimEnd().endsWith("</html>");
}

export async function attackByCrash({ seed }) {
  const random = seededRandom(seed);
  const red = [];
  const rows = [];
  for (const [name, command] of Object.entries(COMMANDS)) {
    let [killed, wrote] = [0, 0];
    const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-crash-"));
    try {
      const began = performance.now();
      await killOnce(command, folder, MOST_MS);
      const takesMs = performance.now() - began;
      inspectFolder(command, folder);
      for (let i = 0; i < KILLS; i++) {
        const ended = await killOnce(command, folder, random() * takesMs);
        if (ended === "SIGKILL") killed++;
        const { found, faults } = inspectFolder(command, folder);
        wrote += found;
        red.push(...faults.map((fault) => `${name}, kill ${i + 1} of seed ${seed}: ${fault}`));
      }
      if (name === "lab") red.push(...(await resumeLab(folder)));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    rows.push([name, KILLS, killed, wrote]);
  }
  const kills = rows.reduce((sum, [, , killed]) => sum + killed, 0);
  return {
    facts: [["commands killed with SIGKILL at a random moment", kills]],
    head: ["command", "runs", "killed", "whole files found"],
    rows,
    red,
  };
}

function killOnce({ args }, folder, afterMs) {
  return new Promise((resolve) => {
    const given = args((name) => path.join(folder, name));
    const environment = { ...process.env, TMPDIR: folder };
    const [program, ...set] = [...IN_NAMESPACE, process.execPath, MAIN, ...given];
    const child = spawn(program, set, { stdio: "ignore", env: environment });
    const timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
    child.on("exit", (_, signal) => {
      clearTimeout(timer);
      resolve(signal);
    });
  });
}

/** What is there: whole files of the command, and nothing that is not one of them. */
function inspectFolder({ whole }, folder) {
  const faults = [];
  let found = 0;
  for (const name of readdirSync(folder)) {
    const check = whole[name];
    if (check === undefined) {
      // A process that is killed cannot remove what it was writing: it has another name, and is no file of that name.
      if (/^(ports|run|trace|lab)\.(html|svg|json|txt|pcapng)$/.test(name)) faults.push(`unexpected ${name}`);
      rmSync(path.join(folder, name), { recursive: true, force: true });
    } else if (check(readFileSync(path.join(folder, name), "latin1"))) found++;
    else faults.push(`${name} is half written`);
  }
  return { found, faults };
}

/** The lab goes on from what the last kill left, and none of its guests lives. */
async function resumeLab(folder) {
  const red = [];
  await sleep(GUEST_ENDS_MS);
  const file = path.join(folder, "lab.json");
  const more = existsSync(file) ? ["--resume"] : [];
  const args = ["lab", "--machine", "host", "--trials", "3", "--output", file, ...more];
  const { status, output } = await runCommand([...IN_NAMESPACE, process.execPath, MAIN, ...args]);
  if (status !== 0) red.push(`lab ${more.join(" ")}: exit code ${status}: ${output.slice(-400)}`);
  const guests = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isGuestOf(pid, folder));
  if (guests.length > 0) red.push(`guests live on: ${guests.join(" ")}`);
  return red;
}

function isGuestOf(pid, folder) {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(folder);
  } catch {
    return false;
  }
}
