// The part `fuzz` of check:deep: random values into every native and public function, random bytes into what decodes,
// random sequences of socket calls, random command lines. Every figure comes with its seed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { sourcesFor } from "../../../native/sources.mjs";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";
import { seededRandom } from "./random.mjs";

const VALUES = fileURLToPath(new URL("fuzz-values.mjs", import.meta.url));
const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const FILES = fileURLToPath(new URL("fuzz-files.mjs", import.meta.url));
/** How much for each of --minutes: about a minute's work. */
const EACH = {
  nativeCalls: 80_000,
  values: 3_000,
  files: 3_000,
  sequencesMs: 8_000,
  modelRuns: 800,
  decoderSeconds: 16,
  commandLines: 24,
};
/** A command that has not ended by then is stopped, as some run until Ctrl-C. */
const COMMAND_MS = 4000;

export async function attackByFuzz({ folder, seed, minutes }) {
  const much = Object.fromEntries(
    Object.entries(EACH).map(([name, count]) => [name, Math.ceil(count * minutes)]),
  );
  const facts = [];
  const red = [];
  const skipped = [];
  for (const attack of [fuzzNative, fuzzValues, fuzzFiles, fuzzSequences, fuzzDecoders, fuzzCommands]) {
    const result = await attack(seed, much, folder);
    facts.push(...(result.facts ?? []));
    red.push(...(result.red ?? []));
    if (result.skipped) skipped.push(result.skipped);
  }
  return { facts, red, skipped };
}

/** Wrong and right arguments into every function of the addon; a crash is the finding. */
async function fuzzNative(seed, much) {
  const program = fileURLToPath(new URL("../programs/fuzz.mjs", import.meta.url));
  const { status, output } = await runCommand([
    ...IN_NAMESPACE,
    process.execPath,
    program,
    String(seed),
    String(much.nativeCalls),
  ]);
  if (status !== 0) return { red: [`random native calls: ${output.slice(-500)}`] };
  const { functions } = JSON.parse(output.trim().split("\n").at(-1));
  return { facts: [[`random calls of the addon's ${functions} functions`, much.nativeCalls]] };
}

async function fuzzValues(seed, much) {
  const { ended, red } = await runProgram("random values", [VALUES, String(seed), String(much.values)]);
  if (!ended) return { red };
  return {
    facts: [[`random values into ${ended.functions} public functions and methods`, ended.calls]],
    red,
  };
}

/** Mutated results, captures and expectations into every reader of files; what one accepts must be rendered. */
async function fuzzFiles(seed, much) {
  const { ended, red } = await runProgram("mutated files", [FILES, String(seed), String(much.files)]);
  if (!ended) return { red };
  return {
    facts: [
      [`mutated files into ${ended.readers} readers`, ended.files],
      ["of these, read in spite of that, and rendered", ended.accepted],
    ],
    red,
  };
}

/** Runs a program that prints its findings, then what it did, as lines of JSON. */
async function runProgram(what, args) {
  const { status, output } = await runCommand([...IN_NAMESPACE, process.execPath, ...args]);
  const lines = output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  const red = lines
    .filter(({ finding }) => finding)
    .map(({ finding, values }) => `${finding}${values ? ` given ${values}` : ""}`);
  const ended = status === 0 ? lines.find(({ calls, files }) => calls ?? files) : undefined;
  if (!ended) red.push(`${what}: exit code ${status}: ${output.slice(-500)}`);
  return { ended, red };
}

/**
 * Sequences of calls on sockets: of every call, checked for what may never happen, and of those that a model has, each
 * compared with it, over IPv4 and over IPv6.
 */
async function fuzzSequences(seed, much) {
  const environment = { ...process.env, DEEP: "1", SEED: String(seed) };
  const env = { ...environment, FUZZ_MS: String(much.sequencesMs), MODEL_RUNS: String(much.modelRuns) };
  const files = ["test/socket/socket.fuzz.deep.ts", "test/socket/socket.model.test.ts"];
  const command = ["node_modules/.bin/vitest", "run", ...files];
  const { status, output } = await runCommand([...IN_NAMESPACE, ...command], { env });
  if (status !== 0) return { red: [`sequences of socket calls: ${output.slice(-800)}`] };
  return {
    facts: [
      ["milliseconds of random sequences of socket calls", much.sequencesMs],
      ["sequences of up to 30 calls, each compared with a model", 2 * much.modelRuns],
    ],
  };
}

/** libFuzzer over what the core decodes: test/native/fuzz.cc, under ASan and UBSan. */
async function fuzzDecoders(seed, much, folder) {
  if (spawnSync("clang++", ["--version"]).error)
    return { skipped: "decoders: no clang++ (Debian: apt-get install clang)" };
  const program = path.join(folder, "fuzz");
  const corpus = path.join(folder, "corpus");
  mkdirSync(corpus, { recursive: true });
  const sources = sourcesFor("linux").filter((name) => name.includes("/core/"));
  const wraps = ["recv", "recvmsg", "pread", "pread64"].map((name) => `-Wl,--wrap=${name}`);
  const sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"];
  const build = ["clang++", "-std=c++20", "-g", "-O1", ...sanitizers, "-Inative", ...wraps, "-pthread"];
  const built = await runCommand([...build, "-o", program, "test/native/fuzz.cc", ...sources]);
  if (built.status !== 0) {
    const isWithout = /libclang_rt|fuzzer/.test(built.output);
    return isWithout
      ? { skipped: "decoders: this clang++ has no libFuzzer" }
      : { red: [`decoders: ${built.output.slice(-800)}`] };
  }
  const flags = [
    `-seed=${seed}`,
    `-max_total_time=${much.decoderSeconds}`,
    "-max_len=4096",
    `-artifact_prefix=${folder}/`,
  ];
  const { status, output } = await runCommand([...IN_NAMESPACE, program, ...flags, corpus]);
  const runs = Number(/Done (\d+) runs/.exec(output)?.[1] ?? 0);
  if (status !== 0) return { red: [`decoders: ${output.slice(-1500)}`] };
  return { facts: [["inputs to the core's decoders and option codecs (libFuzzer, ASan, UBSan)", runs]] };
}

/** What commands are given. None changes the host: `free` and `reserve` get --dry-run. */
const COMMANDS = [
  "audit",
  "who",
  "predict",
  "ports",
  "dial",
  "reconnect",
  "trace",
  "report",
  "doctor",
  "free --dry-run",
  "reserve --dry-run",
];
const ARGUMENTS = [
  "127.0.0.1:9",
  "[::1]:9",
  "localhost:9",
  "9",
  "65536",
  "-1",
  "--json",
  "--watch",
  "--port",
  "--help",
  "--attempts",
].concat([
  "--deadline",
  "5",
  "1e99",
  "",
  "--",
  "--no-such-flag",
  "\u001b[31mred",
  "a".repeat(5000),
  "/dev/null",
  "/etc/hostname",
  "--html",
  "--strategy",
  "frehs",
]);

async function fuzzCommands(seed, much, folder) {
  const random = seededRandom(seed);
  const pick = (from) => from[Math.floor(random() * from.length)];
  const red = [];
  const codes = new Map();
  for (let i = 0; i < much.commandLines; i++) {
    const args = [
      ...pick(COMMANDS).split(" "),
      ...Array.from({ length: Math.floor(random() * 4) }, () => pick(ARGUMENTS)),
    ];
    const command = [...IN_NAMESPACE, process.execPath, MAIN, ...args];
    const { status, output } = await runCommand(command, {
      timeout: COMMAND_MS,
      killSignal: "SIGKILL",
      cwd: folder,
    });
    codes.set(status, (codes.get(status) ?? 0) + 1);
    const isCrash = /\n {4}at .*:\d+:\d+\)?(\n|$)/.test(output) || (status !== null && status > 4);
    if (isCrash)
      red.push(`selfconnect ${args.join(" ").slice(0, 200)}: exit code ${status}: ${output.slice(0, 400)}`);
  }
  for (const litter of ["--json", "5"])
    if (existsSync(path.join(folder, litter))) red.push(`a command wrote the file ${litter}`);
  return { facts: [["random command lines", much.commandLines]], red };
}
