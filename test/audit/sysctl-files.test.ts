/** The files that set the reserved ports at a boot: their order, what hides what, and files that are wrong. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { planFile, SYSCTL_FILE, withFile } from "../../lib/audit/sysctl-files.ts";
import { reserveText } from "../../lib/report/index.ts";
import { formatPortList } from "../../lib/socket/port-range.ts";
import { catchError } from "../support/harness.ts";

const KEY = "net.ipv4.ip_local_reserved_ports";
let root = "";

beforeEach(() => {
  root = mkdtempSync(path.join(os.tmpdir(), "selfconnect-root-"));
});

afterEach(() => rmSync(root, { recursive: true }));

/** Writes a file below the root: a list of ports, or a whole text. */
function write(file: string, list: string): void {
  const place = path.join(root, file);
  mkdirSync(path.dirname(place), { recursive: true });
  writeFileSync(place, /[=#\n]/.test(list) ? list : `${KEY} = ${list}\n`);
}

function writeAll(files: Readonly<Record<string, string>>): void {
  for (const [file, list] of Object.entries(files)) write(file, list);
}

/** The list before and after, as texts. */
function plan(port: number, undo = false) {
  const { reservation, content } = planFile(port, undo, root);
  const [before, after] = [reservation.before, reservation.after].map(formatPortList);
  return { ...reservation, before, after, content: content && formatPortList(content) };
}

describe("the list that the next boot sets", () => {
  test.each([
    ["nothing", {}, ""],
    ["a distribution's file", { "/usr/lib/sysctl.d/50-a.conf": "1" }, "1"],
    ["an administrator's file", { "/usr/local/lib/sysctl.d/50-a.conf": "2" }, "2"],
    ["a file of /lib", { "/lib/sysctl.d/50-a.conf": "3" }, "3"],
    ["a file of /run", { "/run/sysctl.d/50-a.conf": "4" }, "4"],
    [
      "the last name, whatever its folder",
      { "/etc/sysctl.d/10-a.conf": "1", "/usr/lib/sysctl.d/20-b.conf": "2" },
      "2",
    ],
    [
      "a file of /etc, which hides that of the same name in /run",
      { "/etc/sysctl.d/50-a.conf": "1", "/run/sysctl.d/50-a.conf": "2" },
      "1",
    ],
    [
      "a file of /run, which hides that of the same name in /usr/local/lib",
      { "/run/sysctl.d/50-a.conf": "2", "/usr/local/lib/sysctl.d/50-a.conf": "3" },
      "2",
    ],
    [
      "a file of /usr/local/lib, which hides that in /usr/lib and /lib",
      {
        "/usr/local/lib/sysctl.d/5.conf": "3",
        "/usr/lib/sysctl.d/5.conf": "4",
        "/lib/sysctl.d/5.conf": "5",
      },
      "3",
    ],
    [
      "an empty file, which hides one that sets the key",
      { "/etc/sysctl.d/50-a.conf": "# nothing\n", "/usr/lib/sysctl.d/50-a.conf": "2" },
      "",
    ],
    ["/etc/sysctl.conf, which is last", { "/etc/sysctl.conf": "7", "/etc/sysctl.d/zzz.conf": "8" }, "7"],
    ["no file with another ending", { "/etc/sysctl.d/50-a.conf.bak": "1" }, ""],
    ["the last line of a file", { "/etc/sysctl.d/a.conf": `${KEY}=1\n${KEY}=2-3\n` }, "2-3"],
    ["a line with slashes and a dash", { "/etc/sysctl.d/a.conf": `-${KEY.replaceAll(".", "/")} = 5\n` }, "5"],
    ["no comment", { "/etc/sysctl.d/a.conf": `# ${KEY} = 1\n;${KEY} = 2\n` }, ""],
    ["no value of the next line", { "/etc/sysctl.d/a.conf": `${KEY} =\n1\n` }, ""],
  ])("is that of %s", (_, files, before) => {
    writeAll(files);
    expect(plan(50_000).before).toBe(before);
  });

  test.each(["abc", "1-70000", "9-5", "1, 2", "1,,2"])("is not %j, which the kernel refuses", (list) => {
    writeAll({ "/etc/sysctl.d/10-a.conf": "7", "/etc/sysctl.d/20-b.conf": list });
    const found = plan(50_000);
    expect(found).toMatchObject({ before: "7", after: "7,50000", refused: ["/etc/sysctl.d/20-b.conf"] });
    const text = textOf(50_000);
    expect(text).toContain("/etc/sysctl.d/20-b.conf has a list that the kernel refuses");
    expect(text).not.toContain("NaN");
  });
});

function textOf(port: number, undo = false): string {
  const { reservation: persistent } = planFile(port, undo, root);
  const effects = { nowPicked: [], endangered: [], heir: null, leavesNoPort: false };
  const ephemeralRange = { low: 32_768, high: 60_999 };
  return reserveText({
    ...{ port, ephemeralRange, before: [], after: [], isChange: false, isDone: true, persistent, effects },
  });
}

test("a later file that lacks the port wins, and is named", () => {
  writeAll({ "/etc/sysctl.conf": "1" });
  expect(plan(50_000)).toMatchObject({ overriddenBy: ["/etc/sysctl.conf"], isLasting: false });
  expect(textOf(50_000)).toContain("/etc/sysctl.conf sets the same key, is read later, and wins\n");
  writeAll({ "/etc/sysctl.conf": "1,50000" });
  expect(plan(50_000)).toMatchObject({ overriddenBy: ["/etc/sysctl.conf"], isLasting: true });
});

describe("undo", () => {
  test("removes the file where the others give the same", () => {
    writeAll({ "/etc/sysctl.d/10-a.conf": "1", [SYSCTL_FILE]: "1,50000" });
    expect(plan(50_000, true)).toMatchObject({ after: "1", content: null, isLasting: true, alsoIn: [] });
  });

  test("of a port of another file names that file, and overrides it where a list is left", () => {
    writeAll({ "/etc/sysctl.d/10-a.conf": "1,2" });
    const file = "/etc/sysctl.d/10-a.conf";
    expect(plan(1, true)).toMatchObject({ after: "2", content: "2", alsoIn: [file], isLasting: true });
    expect(textOf(1, true)).toContain(`the port is in ${file} too: the new file overrides it`);
  });

  test("of the only port of another file cannot be written, and says so", () => {
    writeAll({ "/usr/lib/sysctl.d/10-a.conf": "1", [SYSCTL_FILE]: "1,2" });
    withFile(planFile(2, true, root).content, () => {}, root);
    const file = "/usr/lib/sysctl.d/10-a.conf";
    expect(plan(1, true)).toMatchObject({ after: "1", content: null, alsoIn: [file], isLasting: false });
    const text = textOf(1, true);
    expect(text).toContain(`the port is in ${file} too: take it out there`);
    expect(text).toContain("the next boot does not do what was asked");
  });
});

describe("withFile()", () => {
  const { dir, base } = path.parse(SYSCTL_FILE);
  const read = () => readFileSync(path.join(root, SYSCTL_FILE), "utf8");

  test("creates the folder, writes, and then acts", () => {
    let seen = "";
    const act = () => {
      seen = read();
    };
    withFile(planFile(50_000, false, root).content, act, root);
    expect(seen).toMatch(/^# .*\nnet\.ipv4\.ip_local_reserved_ports = 50000\n$/);
    expect(readdirSync(path.join(root, dir))).toEqual([base]);
    expect(plan(50_000)).toMatchObject({ before: "50000", after: "50000" });
  });

  test.each([
    ["there was one", "40000"],
    ["there was none", null],
  ])("takes the file back when the act throws; %s", (_, list) => {
    if (list !== null) write(SYSCTL_FILE, list);
    const before = list === null ? null : read();
    const act = () => {
      expect(read(), "control: it was written").toContain("50000");
      throw new Error("EPERM");
    };
    const { content } = planFile(50_000, false, root);
    expect(catchError(() => withFile(content, act, root))).toMatchObject({ message: "EPERM" });
    expect(existsSync(path.join(root, SYSCTL_FILE)) ? read() : null).toBe(before);
  });

  test("does not act when the file cannot be written", () => {
    write("/etc/sysctl.d", "no folder");
    let isActed = false;
    const act = () => {
      isActed = true;
    };
    const { content } = planFile(50_000, false, `${root}/none`);
    expect(catchError(() => withFile(content, act, root))).toMatchObject({ code: "EEXIST" });
    expect(isActed).toBe(false);
  });
});
