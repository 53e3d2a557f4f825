/** The docs agree with the program: they show what it prints, and their examples run. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { HOLDER_WORDS } from "../lib/audit/holder-words.ts";
import type { Holder } from "../lib/audit/holders.ts";
import type { OptionRow } from "../lib/socket/native.ts";
import { otherOptions } from "../lib/socket/option-access.ts";
import { optionTable } from "../lib/socket/supported.ts";
import { codeOf, readClients } from "./support/clients.mjs";
import { cli, command, MAIN, needsNamespaces, runInNamespace } from "./support/harness.ts";

const readme = readFileSync("README.md", "utf8");

/** The fenced blocks of one language. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    (match) => match[1]!,
  );
}

/** A holder without a peer, for its words. */
const HOLDER = { local: { family: 4, host: "0.0.0.0", port: 0 }, peer: null } as unknown as Holder;

/** Runs it in a new namespace, because the README's port may be taken on this host. */
function runModule(script: string) {
  return runInNamespace("32768 60999", process.execPath, ["--input-type=module", "-e", script]);
}

describe("docs/guard.md", () => {
  it("has blocks that run, and print what their comments say", async () => {
    const [refusal, undici] = blocks(readFileSync("docs/guard.md", "utf8"), "js");
    const printed = "ECONNREFUSED true ERR_SELF_CONNECT\n";
    expect(await runModule(refusal!)).toEqual({ status: 0, stderr: "", stdout: printed });
    expect(await runModule(undici!)).toEqual({ status: 0, stderr: "", stdout: "" });
  });
});

describe("docs/port-in-use.md", () => {
  const guide = readFileSync("docs/port-in-use.md", "utf8");

  it("has a block that runs", async () => {
    const [block] = blocks(guide, "js");
    expect(await runModule(block!)).toMatchObject({ status: 0, stderr: "" });
  });

  it("frees a stuck port with its two commands, and nothing else", async (context) => {
    needsNamespaces(context);
    const [who, free] = blocks(guide, "sh")[0]!
      .split("\n")
      .map((line) => line.replace(/ *#.*$/, ""));
    const run = (line: string) =>
      `${line.replace(/^selfconnect/, `${process.execPath} ${MAIN}`)}; echo "exit $?"`;
    // A process namespace of its own, which ends with the script: the owner of the port waits for its standard input.
    const script = `ip link set lo up
      (sleep 60 | ${process.execPath} test/support/programs/joined.mjs 50000 picked >/dev/null) &
      until grep -q ':C350 0100007F:C350 01' /proc/net/tcp; do sleep 0.05; done
      ${run(who!)}; ${run(free!)}; ${run(who!)}`;
    const { stdout } = await command("unshare", [
      "-rnpf",
      "--mount-proc",
      "--kill-child",
      "sh",
      "-c",
      script,
    ]);
    expect(stdout).toMatch(
      /127\.0\.0\.1:50000 is joined to itself \(ESTABLISHED\): pid \d+ \(node, user root\)\n/,
    );
    expect(stdout).toMatch(/^ {4}selfconnect free 127\.0\.0\.1:50000$/m);
    expect(stdout).toContain("the port is free\nexit 0\n");
    expect(stdout.match(/^exit \d+$/gm)).toEqual(["exit 3", "exit 0", "exit 0"]);
  });

  it("has a row for each thing that `who` says", () => {
    for (const kind of Object.keys(HOLDER_WORDS)) {
      const words = HOLDER_WORDS[kind as keyof typeof HOLDER_WORDS](HOLDER)
        .replace("nobody", "…")
        .replace(/ \(.*/, "");
      if (kind !== "unknown" && kind !== "accepted") expect(guide).toContain(`| \`${words}`);
    }
  });
});

describe("README.md", () => {
  it.each(
    blocks(readme, "js").map((block, i) => [i + 1, block] as const),
  )("block %i runs", async (_, block) => {
    expect(await runModule(block)).toMatchObject({ status: 0, stderr: "" });
  });

  it("has blocks that run", () => {
    expect(blocks(readme, "js").length).toBeGreaterThan(2);
  });

  it("and CHANGELOG.md count the socket options right", () => {
    for (const file of ["README.md", "CHANGELOG.md"]) {
      const [, count] = /(\d+)\s+(?:socket )?options(?:,| in one table)/.exec(readFileSync(file, "utf8"))!;
      expect(Number(count), file).toBe(optionTable().length);
    }
  });

  it("names every command", async () => {
    const { stdout } = await cli(["--help"]);
    const commands = [...stdout.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map((match) => match[1]!);
    expect(commands).toContain("reconnect");
    for (const name of commands.filter((one) => one !== "help"))
      expect(readme).toContain(`selfconnect ${name}`);
  });

  it("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1]!);
    expect(links.filter((link) => !existsSync(link))).toEqual([]);
  });
});

/** What each example prints. */
const EXAMPLES: Readonly<Record<string, RegExp>> = {
  "connect-latency.mjs": /^50 connects\np50 \d+ us, p99 \d+ us\n$/,
  "echo.mjs": /^hello\nERR_END_OF_STREAM 0\n$/,
  "hole-puncher.mjs": /^through the hole\n$/,
  "reuse-port-server.mjs": /^64 served, by each of 2: true\n$/,
  "scanner.mjs": /^found every listener: true\n$/,
  "simultaneous-open.mjs": /^through the hole\n$/,
  "source-address-proxy.mjs": /^127\.0\.0\.2 127\.0\.0\.3 127\.0\.0\.4\n$/,
  "source-port-client.mjs":
    /^connected from a port of the range: true\nconnected from the same port again: true\n$/,
  "who-is-in-the-way.mjs":
    /^(.*127\.0\.0\.1:\d+ listens: pid \d+ \(node, .*){1,2}(redis-server is not installed\n)?$/s,
};

describe("docs/register.md", () => {
  const page = readFileSync("docs/register.md", "utf8");

  it.each(
    blocks(page, "js").map((block, i) => [i + 1, block] as const),
  )("block %i runs", async (_, block) => {
    expect(await runModule(block)).toMatchObject({ status: 0, stderr: "" });
  });
});

describe("docs/clients.md", () => {
  const clients = readClients();

  it("has two lines of code for each client of its table, beside the imports", () => {
    expect(clients.length).toBeGreaterThan(15);
    for (const { name } of clients) {
      const code = codeOf(name).replace(/^import .*\n+/gm, "");
      expect([name, code.trim().split("\n").length]).toEqual([name, 2]);
    }
  });

  it("has the versions of those that are installed here", () => {
    const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
    const installed = clients.filter(({ name }) => name in devDependencies);
    expect(installed.length).toBeGreaterThan(2);
    for (const { name, version } of installed) expect([name, version]).toEqual([name, devDependencies[name]]);
  });
});

describe("examples", () => {
  it.each(Object.keys(EXAMPLES))("%s runs, and the README shows all of it if it shows it", async (name) => {
    const script = readFileSync(`examples/${name}`, "utf8");
    const { status, stdout, stderr } = await command(process.execPath, [`examples/${name}`]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(EXAMPLES[name]!);
    if (readme.includes(`examples/${name}`)) expect(blocks(readme, "js")).toContain(script);
  });

  it("transparent-proxy.mjs runs in a namespace of its own, and nowhere else", async (context) => {
    needsNamespaces(context);
    const file = "examples/transparent-proxy.mjs";
    const { stdout, stderr } = await runInNamespace("32768 60999", process.execPath, [file]);
    expect({ stdout, stderr }).toEqual({ stdout: "for 192.0.2.7\nhello, 198.51.100.5\n", stderr: "" });
  });

  it("are all tested", () => {
    expect(readdirSync("examples").sort()).toEqual(
      [...Object.keys(EXAMPLES), "transparent-proxy.mjs"].sort(),
    );
  });

  it("have the types that they say", () => {
    const files = readdirSync("examples").map((name) => `examples/${name}`);
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
      types: ["node"],
      allowJs: true,
      checkJs: true,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    });
    const found = ts.getPreEmitDiagnostics(program);
    expect(
      found.map(
        ({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
      ),
    ).toEqual([]);
  });
});

it("docs/options.md is made from the option table (npx vitest run --update writes it)", async () => {
  const row = (option: OptionRow) => {
    const notes = [
      option.access !== "read-write" && option.access,
      option.kind === "integer" && option.access !== "read-only" && `${option.low} to ${option.high}`,
      option.words.length > 0 && option.words.join(", "),
      option.ipv6Only && "IPv6 sockets only",
      option.capability && `needs ${option.capability}`,
      option.caveat,
    ];
    const cells = [`\`${option.name}\``, `\`${option.constant}\``, option.kind, option.since, option.manual];
    return `| ${[...cells, notes.filter(Boolean).join("; ")].join(" | ")} |`;
  };
  const page = `# Socket options

Every row of the one table, native/core/option.cc. \`supported(name)\` asks the kernel whether it has an option; units and
ranges are in the doc comments of \`SocketOptions\` in lib/socket/options.ts. "Since" is the Linux kernel that brought it.

| name | constant | kind | since | manual | notes |
|---|---|---|---|---|---|
${optionTable().map(row).join("\n")}

## Not in the table

The other options of tcp(7), ip(7), ipv6(7) and socket(7), and why. \`rawGetsockopt(level, name, length)\` and
\`rawSetsockopt(level, name, bytes)\` reach them; \`socketConstants()\` has their numbers.

| constant | why |
|---|---|
${Object.entries(otherOptions())
  .map(([constant, reason]) => `| \`${constant}\` | ${reason} |`)
  .join("\n")}
`;
  await expect(page).toMatchFileSnapshot("../docs/options.md");
});

it("docs/cli.md is what --help prints (npx vitest run --update writes it)", { timeout: 90_000 }, async () => {
  const { stdout } = await cli(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}(\w+) ((?:\[|<).*?) {2}/gm)];
  const sections: string[] = [];
  for (const [, name = "", usage] of commands.filter((match) => match[1] !== "help")) {
    const help = await cli([name, "--help"]);
    const itsUsage = help.stdout.split("\n")[0]!.replace(" [command]", "");
    expect(itsUsage, "the list says the same").toBe(`Usage: selfconnect ${name} ${usage}`);
    sections.push(`## selfconnect ${name}\n\n\`\`\`text\n${help.stdout.trimEnd()}\n\`\`\`\n`);
  }
  const page = `# The command line\n\n\`\`\`text\n${stdout.trimEnd()}\n\`\`\`\n\n${sections.join("\n")}`;
  await expect(page).toMatchFileSnapshot("../docs/cli.md");
});

it("docs/selfconnect.1 is made from the commands (npx vitest run --update writes it), and man(1) reads it", async () => {
  const { stdout } = await cli(["completion", "man"]);
  await expect(stdout).toMatchFileSnapshot("../docs/selfconnect.1");
  const isThere = spawnSync("groff", ["--version"]).error === undefined;
  if (!isThere) console.log("skipped: the warnings of groff (Debian: apt-get install groff)");
  const read =
    isThere && spawnSync("groff", ["-man", "-ww", "-z", "docs/selfconnect.1"], { encoding: "utf8" });
  if (read) expect({ status: read.status, warnings: read.stderr }).toEqual({ status: 0, warnings: "" });
});
