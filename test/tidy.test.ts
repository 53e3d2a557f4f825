/** Style is a test: the rules of CONTRIBUTING.md, each with the fix in its message. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { CALLS, LEFT_OUT } from "./support/reliability/calls.mjs";

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The rooms of lib/, lowest first: a file imports from its own room and from the rooms before it in this list. */
const LIBRARY_ROOMS = [
  "socket",
  "kernel",
  "guard",
  "loop",
  "packets",
  "ports",
  "audit",
  "lab",
  "fleet",
  "report",
];

/** Functions that no door exports, for the command line; each of these files needs no other room. */
const PLAIN_FILES = /^lib\/(report\/(escape|numbers|terminal)|kernel\/version|audit\/whole-file)\.ts$/;

/** Besides whole-file.ts: two write sysctls, the others into folders that only a rename puts in place. */
const WRITERS = /^lib\/(audit\/(whole-file|reserve)|lab\/(instruments|image|uml-package|machines\/uml))\.ts$/;

/** Words that we do not use (whole words, in any case), with the words to use instead. */
const BANNED_WORDS: readonly (readonly [RegExp, string])[] = [
  [/\bendpoints?\b/i, "write address"],
  [/\bclosed ports?\b/i, "write dead port"],
  [/\bhard close\b/i, "write reset"],
  [/\bdynamic ports?\b/i, "write ephemeral range"],
  [/\brandom ports?\b/i, "write autobind: at bind(0) or at connect"],
  [/\bloopback bug\b/i, "write self-connect"],
  [/\b(TODO|FIXME|XXX)\b(?!.*https:)/, "link the issue, or do it now"],
];

const ROOMS =
  /^(native|lib|test|benchmarks|docs|examples|\.ci|\.github\/workflows)\/|^(package(-lock)?|tsconfig|biome)\.json$|^binding\.gyp$|^(README|CONTRIBUTING|CHANGELOG|SECURITY)\.md$|^LICENSE$|^\.(gitignore|clang-format)$|^(build\.mjs|(vitest|stryker)\.config\.(ts|mjs))$/;
const NO_ROOMS = /(^|\/)(src|utils?|common|helpers?|types|misc|scripts)\//;

/** Tests of the whole project, and of stories across many files; the others are in a room's folder. */
const PROJECT_TESTS = ["all", "build", "census", "docs", "doors", "golden", "package", "tidy"];
const STORIES = ["clients", "containers", "databases", "restart", "suites", "workers"];

const MOST_LINES = 500;
const MOST_COLUMNS = 120;

/** A call of the C library: qualified by ::, or one of these. */
const SYSTEM_CALL = new RegExp(
  `(?<![\\w>])(?:::(\\w+)|(?<!:)(${[
    ...[
      "fcntl",
      "clock_gettime",
      "pthread_create",
      "ioctl",
      "dup[23]?",
      "openat",
      "statx?",
      "lseek",
      "readv",
      "writev",
    ],
    ...[
      "recvfrom",
      "sendto",
      "recvmmsg",
      "sendmmsg",
      "splice",
      "eventfd",
      "timerfd_\\w+",
      "prctl",
      "unshare",
      "ppoll",
      "select",
    ],
  ].join("|")}))\\(`,
  "g",
);

const rules: Record<string, (file: SourceFile) => string[]> = {
  layers: (file) => importsOf(file).flatMap((imported) => layerViolation(file.path, imported)),

  words: ({ path: where, text }) =>
    isProse(where) || isCode(where)
      ? lines(text, (line) => BANNED_WORDS.filter(([word]) => word.test(line)).map(([, fix]) => fix))
      : [],

  size: ({ path: where, text }) => {
    if (!isCode(where)) return [];
    const count = text.split("\n").length;
    const long = lines(text, (line) =>
      line.length > MOST_COLUMNS && !/https?:/.test(line) ? ["break the line"] : [],
    );
    return count > MOST_LINES
      ? [`${count} lines: give the file one purpose, at most ${MOST_LINES}`, ...long]
      : long;
  },

  rooms: ({ path: where }) => {
    if (NO_ROOMS.test(where)) return ["there is no such folder here: put the file into a room"];
    return ROOMS.test(where) ? [] : ["no new file at the top level without a reason: see CONTRIBUTING.md"];
  },

  names: ({ path: where }) => {
    const test = /^test\/(?<folder>.*\/)?(?<file>[^/.]+)[^/]*\.(test|deep|wide)\.ts$/.exec(where)?.groups;
    if (!test || isNamedAfterItsSubject(test.folder ?? "", test.file!)) return [];
    return ["it tests no file or folder of this name: name it after one, or list its story in tidy"];
  },

  helpers: ({ path: where }) => {
    const isHelper = /^test\/.*\.(ts|mjs)$/.test(where) && !/\.(test|deep|wide)\.ts$/.test(where);
    const isInPlace = /^test\/(support\/|(all|deep|wide)\.mjs$)/.test(where);
    return isHelper && !isInPlace ? ["put what tests share into test/support/"] : [];
  },

  core: ({ path: where, text }) =>
    where.startsWith("native/core/")
      ? lines(text, (line) =>
          /#include (<(napi|node|uv|v8)|"binding\/)/.test(line)
            ? ["the core includes neither Node's headers nor the binding's"]
            : [],
        )
      : [],

  faults: ({ path: where, text }) =>
    /^native\/core\/.*\.cc$/.test(where)
      ? lines(text, (line) =>
          [...line.replace(/\/\/.*/, "").matchAll(SYSTEM_CALL)]
            .map((call) => call[1] ?? call[2]!)
            .filter((name) => !Object.hasOwn(CALLS, name) && !Object.hasOwn(LEFT_OUT, name))
            .map(
              (name) =>
                `give ${name} a row in test/support/reliability/calls.mjs, so that it fails in the fault matrix`,
            ),
        )
      : [],

  binding: ({ path: where, text }) =>
    where.startsWith("native/binding/")
      ? lines(text, (line) =>
          /#include <(sys\/|netinet\/|arpa\/|unistd|fcntl|linux\/|uv)/.test(line)
            ? ["no system call and no libuv in the binding: call native/core"]
            : [],
        )
      : [],

  platforms: ({ path: where, text }) =>
    where.startsWith("native/") && !/core\/(option\.cc|option_numbers\.h|syscall\.cc)$/.test(where)
      ? lines(text, (line) =>
          /^\s*#\s*(if|ifdef|ifndef|elif)\b/.test(line)
            ? ["#ifdef only in option.cc, option_numbers.h and syscall.cc"]
            : [],
        )
      : [],

  constants: ({ path: where, text }) =>
    where.startsWith("lib/")
      ? lines(text, (line) => {
          const code = line.replace(/^\s*(\/?\*|\/\/).*/, "").replace(/"[^"]*"|`[^`]*`/g, "");
          return /\b(AF_INET6?|SOL_\w+|IPPROTO_\w+|SO_[A-Z]+|errno\s*[=!]==?\s*-?[1-9])/.test(code)
            ? ["kernel numbers stay with the compiler: names cross the boundary"]
            : [];
        })
      : [],

  ports: ({ path: where, text }) =>
    /^test\/(?!tidy).*\.ts$/.test(where)
      ? lines(text, (line) =>
          /(listen|connect)\((\{ port: )?[1-9]\d+|(127\.0\.0\.1|\[::1\]):[1-9]\d{3,4}\b(?!")/.test(line)
            ? ["no literal port: deadPort(), deadPeer() or withListener() of test/support/harness.ts"]
            : [],
        )
      : [],

  writers: ({ path: where, text }) =>
    where.startsWith("lib/") && !WRITERS.test(where)
      ? lines(text, (line) =>
          /\b(writeFile(Sync)?|appendFile(Sync)?|createWriteStream)\(/.test(line)
            ? ["a file is whole or absent: writeWhole() of lib/audit/whole-file.ts"]
            : [],
        )
      : [],

  places: ({ path: where, text }) =>
    where === "test/tidy.test.ts"
      ? []
      : lines(text, (line) =>
          /(^|[\s"'`(])\/(work|root|home\/\w+)\//.test(line) ? ["name no path of one machine"] : [],
        ),

  promises: ({ path: where, text }) =>
    where === "SECURITY.md"
      ? lines(text, (line) =>
          [...line.matchAll(/`(test\/[^`]+)`/g)]
            .filter(([, name]) => !existsSync(name!))
            .map(([, name]) => `${name} does not exist: name the test that holds this promise`),
        )
      : [],

  headings: ({ path: where, text }) => {
    if (!where.endsWith(".md")) return [];
    const headings = text.replace(/```[\s\S]*?```/g, "").match(/^# .+$/gm) ?? [];
    return headings.length === 1 ? [] : [`${headings.length} first-level headings: a page has one`];
  },
};

/** test/room/x.test.ts tests lib/room/x.ts, lib/room/x/ or the whole room x; x.aspect.test.ts one aspect of it. */
function isNamedAfterItsSubject(folder: string, file: string): boolean {
  if (folder === "") return PROJECT_TESTS.includes(file);
  if (folder === "stories/") return STORIES.includes(file);
  const room = folder.slice(0, -1);
  const subjects = file === room ? [room] : [`${room}/${file}.ts`, `${room}/${file}`];
  return subjects.some((subject) => existsSync(`lib/${subject}`) || existsSync(subject));
}

/** The path of each relative import, from the root of the project: import, export from, import() and require(). */
function importsOf(file: SourceFile): string[] {
  if (!/^(lib|benchmarks|examples|test)\/.*\.([cm]?ts|mjs|cjs)$/.test(file.path)) return [];
  return ts
    .preProcessFile(file.text, true, true)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => name.startsWith("."))
    .map((name) => path.normalize(path.join(path.dirname(file.path), name)));
}

function layerViolation(from: string, to: string): string[] {
  const isDoor = /^lib\/(\w+\/)?index\.ts$/.test(to);
  if (/^(lib\/cli|benchmarks|examples)\//.test(from)) {
    const isOfOthers = !/^(lib|dist|build)\//.test(to) || path.dirname(to) === path.dirname(from);
    const isPlain = from.startsWith("lib/cli/") && PLAIN_FILES.test(to);
    return isDoor || isOfOthers || isPlain ? [] : [`${to}: the front imports doors only`];
  }
  if (!from.startsWith("lib/") || /^lib\/(index|register)\.c?ts$/.test(from)) return [];
  if (isDoor) return [`${to} is for users: import the file itself`];
  const [own, other] = [roomOf(from), roomOf(to)];
  return other.level <= own.level
    ? []
    : [`${to}: ${other.name} stands above ${own.name} in the list of rooms: reverse the import`];
}

function roomOf(file: string): { level: number; name: string } {
  const name = path.dirname(file).split("/")[1] ?? "";
  const level = LIBRARY_ROOMS.indexOf(name);
  if (level < 0) throw new Error(`${file} is in no room: give it one in the list of test/tidy.test.ts`);
  return { level, name };
}

/** The paths that include each other in a circle; the first that is found, or none. */
function findCircle(importsByPath: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const walk = (name: string, trail: readonly string[]): string[] => {
    if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name];
    if (done.has(name)) return [];
    for (const next of importsByPath.get(name) ?? []) {
      const circle = walk(next, [...trail, name]);
      if (circle.length > 0) return circle;
    }
    done.add(name);
    return [];
  };
  for (const name of importsByPath.keys()) {
    const circle = walk(name, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

/** The path of each of our headers that a C++ file includes. */
function includesOf({ path: where, text }: SourceFile): string[] {
  if (!/^native\/.*\.(cc|h)$/.test(where)) return [];
  return [...text.matchAll(/^#include "([^"]+)"/gm)].map((match) => `native/${match[1]}`);
}

function lines(text: string, check: (line: string) => string[]): string[] {
  return text
    .split("\n")
    .flatMap((line, i) => check(line).map((fix) => `line ${i + 1}: ${fix}: ${line.trim()}`));
}

function isCode(where: string): boolean {
  return /^(native|lib|benchmarks|examples)\/.*\.([cm]?ts|[cm]?js|cc|c|h)$/.test(where);
}

function isProse(where: string): boolean {
  return where.endsWith(".md");
}

function projectFiles(): SourceFile[] {
  const listed = execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"],
    {
      encoding: "utf8",
    },
  );
  const deleted = execFileSync("git", ["ls-files", "--deleted"], { encoding: "utf8" }).split("\n");
  const names = listed.split("\n").filter((name) => name !== "" && !deleted.includes(name));
  const isText = (name: string) => !/\.(png|pcapng|ico|woff2?)$/.test(name);
  return names.filter(isText).map((name) => ({ path: name, text: readFileSync(name, "utf8") }));
}

describe("the house is tidy", () => {
  const files = projectFiles();

  it.each(Object.keys(rules))("rule %s", (rule) => {
    const violations = files.flatMap((file) => rules[rule]!(file).map((text) => `${file.path}: ${text}`));
    expect(violations).toEqual([]);
  });

  it("has no files that import each other in a circle", () => {
    const importsByPath = new Map(
      files.map((file) => [file.path, [...importsOf(file), ...includesOf(file)]]),
    );
    expect(findCircle(importsByPath)).toEqual([]);
  });

  it("has the rooms that CONTRIBUTING.md draws, in the order in which they import", () => {
    const contributing = readFileSync("CONTRIBUTING.md", "utf8");
    const picture = /```text\n(native\/[\s\S]*?)```/.exec(contributing)![1]!;
    const drawn = [...picture.matchAll(/^ *(?<folder>[\w/]+)\/ /gm)].map((match) => match.groups!.folder!);
    const folders = files
      .map(({ path: name }) => path.dirname(name))
      .filter((name) => /^(native|lib)\/\w+$|^(test|benchmarks|docs|examples)$/.test(name));
    expect([...new Set(drawn)].sort()).toEqual([...new Set(folders)].sort());
    expect(drawn.filter((name) => name.startsWith("lib/"))).toEqual(
      [...LIBRARY_ROOMS, "cli"].map((room) => `lib/${room}`),
    );
  });

  it("has no dead file in lib/", () => {
    const byPath = new Map(files.map((file) => [file.path, file]));
    const doors = files.map(({ path: name }) => name).filter((name) => /^lib\/(\w+\/)?index\.ts$/.test(name));
    const entries = [
      "lib/cli/start.ts",
      "lib/register.ts",
      "lib/guard/register.ts",
      "lib/lab/guest.ts",
      "lib/lab/tether.ts",
    ];
    const reached = new Set([...doors, ...entries]);
    for (const name of reached) {
      const file = byPath.get(name);
      if (file) for (const imported of importsOf(file)) reached.add(imported);
    }
    const dead = files
      .map((file) => file.path)
      .filter((name) => /^lib\/.*\.ts$/.test(name) && !reached.has(name));
    expect(dead, "no file imports them: remove them").toEqual([]);
  });

  it("builds every native source from one list", () => {
    const sourcesFor = (platform: string) =>
      execFileSync(process.execPath, ["native/sources.mjs", platform], { encoding: "utf8" })
        .trim()
        .split("\n");
    const [linux, others] = [sourcesFor("linux"), sourcesFor("darwin")];
    const there = files.map((file) => file.path).filter((name) => /^native\/.*\.cc$/.test(name));
    expect([...new Set([...linux, ...others])].sort()).toEqual(there.sort());
    // Each platform has one poller, and either the files of Linux or their stubs.
    const apart = (one: string[], other: string[]) => one.filter((name) => !other.includes(name));
    expect(apart(linux, others).filter((name) => !/_(linux|epoll)\.cc$/.test(name))).toEqual([]);
    expect(apart(others, linux).filter((name) => !/(_kqueue|_bsd|stubs)\.cc$/.test(name))).toEqual([]);
  });

  it("has a lockfile that names no registry", () => {
    expect(readFileSync("package-lock.json", "utf8")).not.toContain('"resolved"');
  });

  // prepare and build beyond the others: npm runs the one for an install from git, people type the other.
  it("has at most eleven scripts, and no runtime dependency", () => {
    const { scripts, dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
    expect(Object.keys(scripts).length).toBeLessThanOrEqual(11);
    expect(dependencies).toBeUndefined();
  });
});

/** Each rule must find a violation: a rule that cannot fail is worthless. */
describe("tidy itself", () => {
  it.each([
    ["an import of many lines", 'import {\n  one,\n  other,\n} from\n  "../kernel/host.ts";'],
    ["a type's import", 'import type { One } from "../kernel/host.ts";'],
    ["an import for its effects", 'import "../kernel/host.ts";'],
    ["an export", 'export * from "../kernel/host.ts";'],
    ["import()", 'const one = await import("../kernel/host.ts");'],
    ["import() of a template", "const one = await import(`../kernel/host.ts`);"],
    ["require()", 'const one = require("../kernel/host.ts");'],
    ["import = require()", 'import one = require("../kernel/host.ts");'],
  ])("reads %s", (_, text) => {
    for (const name of ["lib/socket/x.ts", "lib/socket/x.cts", "lib/socket/x.mjs"])
      expect(importsOf({ path: name, text })).toEqual(["lib/kernel/host.ts"]);
  });

  it("reads no import in a text or a comment", () => {
    const text = `const text = 'import "./a.ts"'; // import "./b.ts"\nimport "node:fs";`;
    expect(importsOf({ path: "lib/socket/x.ts", text })).toEqual([]);
  });

  it("finds a core that includes the binding", () => {
    const text = '#include "binding/value.h"';
    expect(rules.core!({ path: "native/core/x.cc", text })).not.toEqual([]);
  });

  it("finds a circle", () => {
    const circle = new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", ["b"]],
    ]);
    expect(findCircle(circle)).toEqual(["b", "c", "b"]);
  });

  const bad: Record<string, SourceFile> = {
    layers: { path: "lib/socket/address.ts", text: 'import { PortFacts } from "../kernel/host.ts";' },
    words: { path: "lib/x.ts", text: "// the endpoint of a client" },
    size: { path: "lib/x.ts", text: "\n".repeat(600) },
    rooms: { path: "lib/utils/x.ts", text: "" },
    names: { path: "test/socket/handshake.test.ts", text: "" },
    helpers: { path: "test/socket/servers.ts", text: "" },
    core: { path: "native/core/x.cc", text: "#include <napi.h>" },
    faults: { path: "native/core/x.cc", text: "return ::sendfile(fd);" },
    binding: { path: "native/binding/x.cc", text: "#include <sys/socket.h>" },
    platforms: { path: "native/core/burst.cc", text: "#ifdef __linux__" },
    constants: { path: "lib/x.ts", text: "if (errno === -111) return AF_INET;" },
    ports: { path: "test/x.test.ts", text: "server.listen(8080);" },
    writers: { path: "lib/x.ts", text: "writeFileSync(file, text);" },
    places: { path: "lib/x.ts", text: 'open("/root/x")' },
    promises: { path: "SECURITY.md", text: "| kept | `test/x.test.ts` |" },
    headings: { path: "docs/x.md", text: "# One\n# Two\n" },
  };

  it.each(Object.keys(rules))("rule %s finds its violation", (rule) => {
    expect(rules[rule]!(bad[rule]!)).not.toEqual([]);
  });

  it("prints the fix", () => {
    const fixes = Object.keys(rules).flatMap((rule) => rules[rule]!(bad[rule]!));
    expect(fixes).toMatchInlineSnapshot(`
      [
        "lib/kernel/host.ts: kernel stands above socket in the list of rooms: reverse the import",
        "line 1: write address: // the endpoint of a client",
        "601 lines: give the file one purpose, at most 500",
        "there is no such folder here: put the file into a room",
        "it tests no file or folder of this name: name it after one, or list its story in tidy",
        "put what tests share into test/support/",
        "line 1: the core includes neither Node's headers nor the binding's: #include <napi.h>",
        "line 1: give sendfile a row in test/support/reliability/calls.mjs, so that it fails in the fault matrix: return ::sendfile(fd);",
        "line 1: no system call and no libuv in the binding: call native/core: #include <sys/socket.h>",
        "line 1: #ifdef only in option.cc, option_numbers.h and syscall.cc: #ifdef __linux__",
        "line 1: kernel numbers stay with the compiler: names cross the boundary: if (errno === -111) return AF_INET;",
        "line 1: no literal port: deadPort(), deadPeer() or withListener() of test/support/harness.ts: server.listen(8080);",
        "line 1: a file is whole or absent: writeWhole() of lib/audit/whole-file.ts: writeFileSync(file, text);",
        "line 1: name no path of one machine: open("/root/x")",
        "line 1: test/x.test.ts does not exist: name the test that holds this promise: | kept | \`test/x.test.ts\` |",
        "2 first-level headings: a page has one",
      ]
    `);
  });
});
