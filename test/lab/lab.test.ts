/** The lab: guests that hang, die and lie; cells saved and resumed; then real machines where they are installed. */
import { chmodSync, chownSync, copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { buildSync } from "esbuild";
import type { TestContext } from "vitest";
import { describe, expect, it } from "vitest";
import type { LabResult, Machine } from "../../lib/lab/index.ts";
import { findExperiments, KernelShelf, makeMachines, runLab } from "../../lib/lab/index.ts";
import { Instruments } from "../../lib/lab/instruments.ts";
import type { Task } from "../../lib/lab/task.ts";
import { encodeTask } from "../../lib/lab/task.ts";
import { readMessage, writeMessage } from "../../lib/lab/transcript.ts";
import { command, MAIN, needsNamespaces, needsRoot, runInNamespace } from "../support/harness.ts";
import { temporaryFile } from "../support/temporary.ts";

const LIMITS = { silenceMs: 20_000, totalMs: 25_000, outputBytes: 100_000 };
/** Translated guests boot in 10 s on an idle machine: many times that where other work runs beside them. */
const REAL = { silenceMs: 200_000, totalMs: 220_000, outputBytes: 1_000_000 };
const NOBODY = 65534;
const QUICK = ["steps", "bind-first", "closing"];
/** Enough for a probe that hangs, followed by a guest. */
const DEADLINE_MS = 280_000;

/** lib/lab/transcript.ts in JavaScript: dist has it only as a part of the real guest. */
const TRANSCRIPT = buildSync({
  entryPoints: ["lib/lab/transcript.ts"],
  bundle: true,
  platform: "node",
  format: "esm",
  write: false,
}).outputFiles[0]!.text;

/** Creates a machine whose guest is a line of JavaScript, which can use `send`, `hello`, `find` and `task`. */
function fakeMachine(script: string, more: Partial<Machine> = {}): Machine {
  return {
    name: "host",
    title: "fake",
    isEmulated: async () => false,
    missing: async () => null,
    launch: async (task: Task) => {
      const program = `${TRANSCRIPT}
        const task = ${JSON.stringify(task)};
        const send = (message) => process.stdout.write(writeMessage(message, task.nonce) + "\\n");
        const environment = { kernel: "1.2.3", upstream: "1.2.3", architecture: "x64", cpus: 1, node: "v20",
          version: "0", ephemeralRange: "1-2", sysctls: {} };
        const hello = () => send({ kind: "hello", environment });
        const find = (experiment, answer = "yes") => send({ kind: "finding",
          finding: { experiment, status: "answered", answer, counts: { one: 1 }, elapsedMs: 1 } });
        ${script}`;
      return { file: process.execPath, args: ["--input-type=module", "-e", program] };
    },
    ...more,
  };
}

async function notesOf(
  machine: Machine,
  experiments: readonly string[],
  limits = LIMITS,
): Promise<Record<string, string>> {
  const result = await runLab({ machines: [machine], experiments, limits });
  return Object.fromEntries(
    result.findings.map((finding) => [finding.experiment, finding.note ?? finding.answer ?? ""]),
  );
}

describe("a guest is not trusted", () => {
  it("is killed when it hangs, and its cell reports that", async () => {
    const hang = fakeMachine("hello(); setInterval(() => {}, 1000);");
    const notes = await notesOf(hang, ["steps"], { ...LIMITS, silenceMs: 800 });
    expect(notes.steps).toMatch(/sent no message/);
  });

  it("continues after the experiment that kills it", async () => {
    const script = `hello(); for (const name of task.experiments) {
      if (name === "steps") { console.log("Kernel panic - not syncing: steps"); process.exit(3); }
      find(name);
    } send({ kind: "end" });`;
    const notes = await notesOf(fakeMachine(script), ["order", "steps", "rate"]);
    expect(notes).toEqual({ order: "yes", steps: expect.stringMatching(/died.*Kernel panic/), rate: "yes" });
  });

  it("is killed when it floods", async () => {
    const notes = await notesOf(fakeMachine(`hello(); for (;;) process.stdout.write("x".repeat(65536));`), [
      "steps",
    ]);
    expect(notes.steps).toMatch(/printed too much/);
  });

  it("is killed when it sends an invalid answer", async () => {
    const script = `hello(); send({ kind: "finding", finding: { experiment: "steps", status: "answered",
      answer: { html: "<b>" }, counts: {}, elapsedMs: 1 } });`;
    expect((await notesOf(fakeMachine(script), ["steps"])).steps).toMatch(/answer is not a short text/);
  });

  it("is killed when it reports another kernel than the one booted", async () => {
    const notes = await notesOf(fakeMachine("hello(); find('steps');", { release: "6.1.0" }), ["steps"]);
    expect(notes.steps).toMatch(/not the one booted/);
  });

  it("is killed when it sends a finding that was not requested", async () => {
    expect((await notesOf(fakeMachine("hello(); find('closing');"), ["steps"])).steps).toMatch(
      /not requested/,
    );
  });

  it("is ignored without the nonce, and refused when a line is damaged", () => {
    const line = writeMessage({ kind: "begin", experiment: "steps" }, "abc");
    expect(readMessage(line, "abc")).toEqual({ kind: "begin", experiment: "steps" });
    expect(readMessage(`[    1.2] ${line}\r`, "abc")).toEqual({ kind: "begin", experiment: "steps" });
    expect(readMessage(line, "other")).toBeNull();
    expect(() => readMessage(line.replace("steps", "stops"), "abc")).toThrow(/damaged/);
  });
});

describe("cells", () => {
  it("are saved one by one, and not run again on resume", async () => {
    const saved: number[] = [];
    const save = (result: LabResult) => saved.push(result.findings.length);
    const script = `hello(); for (const name of task.experiments) find(name, String(task.experiments.length));
      send({ kind: "end" });`;
    const first = await runLab({
      machines: [fakeMachine(script)],
      experiments: ["steps", "order"],
      limits: LIMITS,
      save,
    });
    expect(saved).toEqual(expect.arrayContaining([0, 1, 2]));
    const resume = { ...first, findings: first.findings.slice(0, 1) };
    const second = await runLab({
      machines: [fakeMachine(script)],
      experiments: ["steps", "order"],
      limits: LIMITS,
      resume,
    });
    expect(second.findings.map(({ answer }) => answer)).toEqual(["2", "1"]);
  });

  it("report an unexpected answer, and null where none is expected", async () => {
    const script = `hello(); find("bind-first", "no: connected"); find("rate", "counted"); send({ kind: "end" });`;
    const result = await runLab({
      machines: [fakeMachine(script)],
      experiments: ["bind-first", "rate"],
      limits: LIMITS,
    });
    expect(result.findings.map(({ isAsExpected }) => isAsExpected)).toEqual([false, null]);
  });

  it("of a missing machine are not run, and the others are", async () => {
    const absent = fakeMachine("", { title: "absent", missing: async () => "needs a tool" });
    const present = fakeMachine("hello(); find('steps'); send({ kind: 'end' });");
    const result = await runLab({ machines: [absent, present], experiments: ["steps"], limits: LIMITS });
    expect(result.kernels.map(({ missing }) => missing)).toEqual(["needs a tool", null]);
    expect(result.findings).toHaveLength(1);
  });

  it("are returned as far as they are when the lab is interrupted", async () => {
    const abort = new AbortController();
    const result = await runLab({
      machines: [fakeMachine("hello(); find('steps'); setInterval(() => {}, 1000);")],
      experiments: ["steps", "order"],
      limits: REAL,
      signal: abort.signal,
      save: ({ findings }) => findings.length > 0 && abort.abort(),
    });
    expect(result.endedAt).toBeNull();
    expect(result.findings.map(({ experiment }) => experiment)).toEqual(["steps"]);
  });

  it("do not set the host's sysctls", async () => {
    const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
    const use = () => Promise.reject(new Error("it was set"));
    await expect(new Instruments(1, false).withRange({ low: 40_000, high: 40_999 }, use)).rejects.toThrow(
      /is the host's here/,
    );
    expect(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")).toBe(range);
  });

  it("have known names: a misspelt one leads to a suggestion", async () => {
    await expect(findExperiments(["stepz"])).rejects.toThrow(/did you mean "steps"/);
  });
});

describe("experiments", () => {
  it.for([
    ["reserved", "never picked, can be bound"],
    ["peers", "127.0.0.1, 0.0.0.0, ::1, ::ffff:127.0.0.1"],
    ["exhaustion", "other parity, then EADDRNOTAVAIL"],
  ] as const)("%s uses no port of another socket", async ([name, answer], context) => {
    needsNamespaces(context);
    const task = { nonce: "here", machine: "host", experiments: [name], trials: 1 } as const;
    // Stands for sockets that an earlier experiment leaves in TIME-WAIT: every tenth port of this range is bound.
    const program = `
      import { execFileSync } from "node:child_process";
      import { TcpSocket } from ${JSON.stringify(path.resolve("dist/index.js"))};
      const held = [];
      for (let port = 40000; port < 40100; port += 10) held.push(TcpSocket.open(6, { ipv6Only: false }).bind({ family: 6, host: "::", port }));
      const guest = ${JSON.stringify([path.resolve("dist/lab/guest.js"), encodeTask(task)])};
      process.stdout.write(execFileSync(process.execPath, guest));`;
    const { stdout, stderr } = await runInNamespace("40000 40999", process.execPath, [
      "--input-type=module",
      "-e",
      program,
    ]);
    expect(stderr).toBe("");
    const messages = stdout.split("\n").map((line) => readMessage(line, task.nonce));
    const finding = expect.objectContaining({ experiment: name, answer });
    expect(messages).toContainEqual({ kind: "finding", finding });
  });
});

describe("real machines", () => {
  it.for(["host", "uml", "gvisor"])(
    "%s answers as expected",
    { timeout: DEADLINE_MS },
    async (name, context) => {
      if (name === "host") needsNamespaces(context); // Elsewhere it asks the host's range, and answers less.
      const [machine] = await makeMachines({ machines: [name], kernels: [] }, new KernelShelf());
      await expectAnswers(machine!, context);
    },
  );

  it("uml answers to a user without privileges", { timeout: DEADLINE_MS }, async (context) => {
    needsRoot(context, "to become another user");
    const [machine] = await makeMachines({ machines: ["uml"], kernels: [] }, new KernelShelf());
    const missing = await machine!.missing(context.signal);
    if (missing) context.skip(missing);
    const { kernels, findings } = await labAsNobody(process.execPath, ["uml"]);
    const reason = kernels[0]!.missing;
    if (reason?.includes(process.execPath)) context.skip(reason);
    expect(findings).toMatchObject([{ experiment: QUICK[0], status: "answered" }]);
  });

  it("are missing for a user who cannot use this Node, with the reason", async (context) => {
    needsRoot(context, "to become another user");
    const node = temporaryFile("node"); // setpriv(1) starts it before it drops the last of root's rights.
    copyFileSync(process.execPath, node);
    chmodSync(path.dirname(node), 0o700);
    const { kernels, findings } = await labAsNobody(node, ["host", "uml", "gvisor"]);
    expect(findings).toEqual([]);
    for (const { missing } of kernels)
      expect(missing).toMatch(/this user cannot use .*node \(EACCES\)|needs .* apt-get/);
    expect(kernels[0]!.missing).toContain(node);
  });

  it("qemu boots a kernel of Debian", { timeout: DEADLINE_MS }, async (context) => {
    const shelf = new KernelShelf({ suites: ["bookworm"] });
    const kernel = shelf.listCached().find(({ machine }) => machine === "qemu");
    const [machine] = await makeMachines({ machines: ["qemu"], kernels: [kernel?.release ?? "6.1"] }, shelf);
    await expectAnswers(machine!, context);
  });
});

async function labAsNobody(node: string, machines: readonly string[]): Promise<LabResult> {
  const home = temporaryFile("");
  chownSync(home, NOBODY, NOBODY);
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const kernels = ["--machine", machines.join(","), "--kernels", "", "--cache", home];
  const asked = ["lab", ...kernels, "--experiments", QUICK[0]!, "--json"];
  return JSON.parse((await command("setpriv", [...user, node, MAIN, ...asked])).stdout);
}

async function expectAnswers(machine: Machine, context: TestContext): Promise<void> {
  const { signal } = context;
  const missing = await machine.missing(signal);
  if (missing) context.skip(missing);
  const result = await runLab({ machines: [machine], experiments: QUICK, trials: 2, limits: REAL, signal });
  const statuses = result.findings.map(
    ({ experiment, status, note }) => `${experiment} ${status} ${note ?? ""}`,
  );
  expect(statuses.map((status) => status.trim())).toEqual(QUICK.map((name) => `${name} answered`));
  expect(result.findings.filter(({ isAsExpected }) => isAsExpected === false)).toEqual([]);
}
