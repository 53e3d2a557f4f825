/** The docs agree with the program: they show what it prints, and their examples run. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { HOLDER_WORDS } from "../lib/audit/holder-words.ts";
import type { Holder } from "../lib/audit/holders.ts";
import type { OptionRow } from "../lib/socket/native.ts";
import { otherOptions } from "../lib/socket/option-access.ts";
import { optionTable } from "../lib/socket/supported.ts";
import { codeOf, readClients } from "./support/clients.mjs";
import { cli, command, needsNamespaces, runInNamespace } from "./support/harness.ts";
import { anchorsOf, blocksOf, linksOf } from "./support/pages.ts";

const readme = readFileSync("README.md", "utf8");
const sockets = readFileSync("docs/sockets.md", "utf8");

/** A holder without a peer, for its words. */
const HOLDER = { local: { family: 4, host: "0.0.0.0", port: 0 }, peer: null } as unknown as Holder;

describe("docs/guides/port-in-use.md", () => {
  it("has a row for each thing that `who` says", () => {
    const guide = readFileSync("docs/guides/port-in-use.md", "utf8");
    const cells = guide.split("\n").map((row) => row.split("|")[1] ?? "");
    for (const kind of Object.keys(HOLDER_WORDS)) {
      for (const direction of ["outgoing", "accepted", null] as const) {
        const words = HOLDER_WORDS[kind as keyof typeof HOLDER_WORDS]({ ...HOLDER, direction })
          .replace("nobody", "…")
          .replace(/ \(.*/, "");
        if (kind !== "unknown" && kind !== "accepted")
          expect(cells, words).toContainEqual(expect.stringContaining(`\`${words}`));
      }
    }
  });
});

describe("docs/guides/guard-a-service.md", () => {
  it("loads the file that the package has, in a container, a unit and a Pod", () => {
    const guide = readFileSync("docs/guides/guard-a-service.md", "utf8");
    const settings = [...guide.matchAll(/--require (\/app\/node_modules\/selfconnect\/[\w./]+)/g)];
    const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
    const file = path.join("/app/node_modules/selfconnect", exports["./register"].require.default);
    expect(settings.map((match) => match[1])).toEqual([file, file, file]);
  });

  it("has a unit that systemd takes", (context) => {
    const [, unit = ""] = /```ini\n([\s\S]*?)```/.exec(
      readFileSync("docs/guides/guard-a-service.md", "utf8"),
    )!;
    const installed = unit.replaceAll(
      /\/app\/node_modules\/\.bin\/selfconnect|\/usr\/bin\/node/g,
      process.execPath,
    );
    const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-unit-"));
    const verify = (text: string) => {
      const file = path.join(folder, "app.service");
      writeFileSync(file, text);
      return spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    };
    try {
      const { error, stderr } = verify(installed);
      if (error) context.skip("no systemd-analyze here (Debian: systemd)");
      expect(stderr).not.toContain("app.service");
      // The control: a misspelt setting is named.
      expect(verify(installed.replace("ExecStartPre", "ExecStrtPre")).stderr).toContain("ExecStrtPre");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("every page", () => {
  const list = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--deduplicate", "*.md"], {
    encoding: "utf8",
  });
  const pages = list
    .split("\n")
    .filter((name) => existsSync(name))
    .map((name) => ({ name, text: readFileSync(name, "utf8") }));
  const anchors = new Map(pages.map(({ name, text }) => [name, anchorsOf(text)]));

  it("links only to files and headings that exist", () => {
    const broken = pages.flatMap(({ name, text }) =>
      linksOf(text)
        .filter((link) => {
          const [file = "", anchor] = link.split("#");
          const target = file === "" ? name : path.join(path.dirname(name), file);
          const isHeading = anchor === undefined || anchors.get(target)?.includes(anchor);
          return !existsSync(target) || !isHeading;
        })
        .map((link) => `${name}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  it("names only files of this project that exist, and commands' options that --help has", () => {
    const help = readFileSync("docs/cli.md", "utf8");
    const wrong = pages
      .filter(({ name }) => name !== "CHANGELOG.md")
      .flatMap(({ name, text }) => {
        const files = [
          ...text.matchAll(/`((?:lib|native|test|examples|benchmarks)\/(?!room\/)[\w./-]*\.\w+)`/g),
        ]
          .map((match) => match[1]!)
          .filter((file) => !existsSync(file));
        const flags = [...text.matchAll(/\bselfconnect (\w+)((?: [^ \n`#|;&]+)*)/g)].flatMap(
          ([, of, rest = ""]) => {
            const section = help.split(`## selfconnect ${of}\n`)[1]?.split("\n## ")[0];
            const given = rest.split(/ -- |\b(?:node|npm|npx) /)[0]!.match(/(?<= )--[a-z][a-z-]+/g) ?? [];
            return given
              .filter((flag) => section && !section.includes(` ${flag} `) && !section.includes(` ${flag}\n`))
              .map((flag) => `selfconnect ${of} ${flag}`);
          },
        );
        return [...files, ...flags].map((what) => `${name}: ${what}`);
      });
    expect(wrong).toEqual([]);
  });

  it("of docs/guides has its title in README.md, with a link", () => {
    const guides = pages.filter(({ name }) => name.startsWith("docs/guides/"));
    expect(guides.length).toBeGreaterThan(10);
    const links = guides.map(({ name, text }) => `[${/^# (.+)/.exec(text)![1]}](${name})`);
    expect(links.filter((link) => !readme.includes(link))).toEqual([]);
  });
});

describe("README.md", () => {
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
});

/** What each example prints. */
const EXAMPLES: Readonly<Record<string, RegExp>> = {
  "connect-latency.mjs": /^50 connects\n(?:(?:connect|round trip): p50 \d+ us, p99 \d+ us\n){2}$/,
  "echo.mjs": /^hello\nERR_END_OF_STREAM 0\n$/,
  "guard-metrics.mjs": /^selfconnect_connects_total\{end="connected"\} 1$/m,
  "health-check.mjs": /^healthy, at attempt 1\n$/,
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
  const programs = readdirSync("examples").filter((name) => name.endsWith(".mjs"));

  it("are in the index", () => {
    const index = readFileSync("examples/README.md", "utf8");
    for (const name of programs) expect(index).toContain(`[${name}](${name})`);
  });

  it.each(
    Object.keys(EXAMPLES),
  )("%s runs, and docs/sockets.md shows all of it if it shows it", async (name) => {
    const script = readFileSync(`examples/${name}`, "utf8");
    const { status, stdout, stderr } = await command(process.execPath, [`examples/${name}`]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(EXAMPLES[name]!);
    if (sockets.includes(`(../examples/${name}):`) || sockets.includes(`(../examples/${name})):`))
      expect(blocksOf(sockets, "js").map(({ text }) => text)).toContain(script);
  });

  it("transparent-proxy.mjs runs in a namespace of its own, and nowhere else", async (context) => {
    needsNamespaces(context);
    const file = "examples/transparent-proxy.mjs";
    const { stdout, stderr } = await runInNamespace("32768 60999", process.execPath, [file]);
    expect({ stdout, stderr }).toEqual({ stdout: "for 192.0.2.7\nhello, 198.51.100.5\n", stderr: "" });
  });

  it("are all tested", () => {
    expect(programs.sort()).toEqual([...Object.keys(EXAMPLES), "transparent-proxy.mjs"].sort());
  });

  it("have the types that they say", () => {
    const files = programs.map((name) => `examples/${name}`);
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

it("docs/selfconnect.1 is made from the commands (npx vitest run --update writes it), and man(1) reads it", async () => {
  const { stdout } = await cli(["completion", "man"]);
  await expect(stdout).toMatchFileSnapshot("../docs/selfconnect.1");
  const isThere = spawnSync("groff", ["--version"]).error === undefined;
  if (!isThere) console.log("skipped: the warnings of groff (Debian: apt-get install groff)");
  const read =
    isThere && spawnSync("groff", ["-man", "-ww", "-z", "docs/selfconnect.1"], { encoding: "utf8" });
  if (read) expect({ status: read.status, warnings: read.stderr }).toEqual({ status: 0, warnings: "" });
});
