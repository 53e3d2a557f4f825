/** Other hosts: names that are no options, what a host may say, and what is left there. test/lab/remote.wide.ts has more. */
import { describe, expect, it, vi } from "vitest";
import { runLab } from "../../lib/lab/lab.ts";
import type { Conversation } from "../../lib/lab/leash.ts";
import type { Machine } from "../../lib/lab/machine.ts";
import { CannotRun, runGuest, runLaunch } from "../../lib/lab/machine.ts";
import { sshMachine } from "../../lib/lab/machines/ssh.ts";
import { runOnHosts } from "../../lib/lab/on-hosts.ts";
import { parseSshHost, sshLaunch } from "../../lib/lab/remote.ts";
import { hostsText } from "../../lib/report/hosts.ts";
import { addonHost } from "../../lib/socket/addon.ts";
import { needsSshd, SshdHosts } from "../support/sshd.ts";

const NONCE = "abc";
const LIMITS = { silenceMs: 60_000, totalMs: 60_000, outputBytes: 100_000 };
const WORK = { nonce: NONCE, command: () => ["true"], totalMs: LIMITS.totalMs };
const TASK = { nonce: NONCE, machine: "ssh", experiments: [], trials: 1 } as const;

describe("the name of a host", () => {
  it.for([
    ["ssh:db1", "db1", null],
    ["ssh:me@db-1.example.org", "me@db-1.example.org", null],
    ["ssh:me@[fe80::1%eth0]:2222", "me@fe80::1%eth0", "2222"],
    ["ssh:10.0.0.1:22", "10.0.0.1", "22"],
  ] as const)("%s is one", ([name, destination, port]) => {
    expect(parseSshHost(name)).toEqual({ name, destination, port });
  });

  it.for([
    ...[
      "ssh:",
      "ssh:-oProxyCommand=id",
      "ssh:me@-oProxyCommand=id",
      "ssh:-l@db1",
      "ssh:$(id)",
      "ssh:`id`@db1",
    ],
    ...[
      "ssh:db1;id",
      "ssh:db1 -v",
      "ssh:db1\n",
      "ssh:me@db1:70000",
      "ssh:me@@db1",
      "db1",
      "ssh:[::1]x",
      "ssh:a'b",
    ],
  ])("%j is none: it never becomes an option or a word of a shell", (name) => {
    expect(() => parseSshHost(name)).toThrow(expect.objectContaining({ code: "ERR_SSH_HOST" }));
  });

  it("comes after the options, and no setting of the user skips the check of a host key", () => {
    const { file, args } = sshLaunch(parseSshHost("ssh:me@db1:2222"), WORK, { sshConfig: "/my/config" });
    expect(file).toBe("ssh");
    expect(args.slice(-3)).toEqual(["--", "me@db1", "exec /bin/sh"]);
    expect(args.join(" ")).toMatch(
      /-o BatchMode=yes -o StrictHostKeyChecking=yes .*-F \/my\/config -p 2222 --/,
    );
  });
});

describe("what a host says before it is sent anything", () => {
  function introduction(remoteNode?: string): Conversation {
    return sshLaunch(parseSshHost("ssh:db1"), WORK, remoteNode === undefined ? {} : { remoteNode })
      .conversation!;
  }

  function hello(about: object | string, nonce = NONCE): string {
    const json = typeof about === "string" ? about : JSON.stringify(about);
    return `motd@selfconnect ${nonce} host own Linux-x86_64 ${json}`;
  }

  const { platform, architecture, libc } = addonHost();
  const ABOUT = { node: process.versions.node, platform, architecture, libc };

  it("with the nonce of this connection, is answered with the size of the package, the command and the package", () => {
    const conversation = introduction();
    expect(conversation.answer("Last login: yesterday")).toBeNull();
    expect(conversation.answer(hello(ABOUT, "other"))).toBeNull();
    expect(conversation.hasBegun).toBe(false);
    const [size, words, ...archive] = Buffer.from(conversation.answer(hello(ABOUT))!)
      .toString("latin1")
      .split("\n");
    expect(words).toBe("true");
    expect(archive.join("\n")).toHaveLength(Number(size));
    expect(conversation.hasBegun).toBe(true);
  });

  it.for([
    ["no Node", "", /^it has no Node that runs \(Linux-x86_64\): install Node 20\.12 or later there/],
    ["an old Node", { ...ABOUT, node: "18.20.0" }, /^its Node 18\.20\.0 is too old: install Node 20\.12/],
    ["no version", { ...ABOUT, node: "new" }, /too old/],
    [
      "a platform that is not shipped",
      { ...ABOUT, architecture: "riscv64" },
      /no addon for linux-riscv64.*: it has it/,
    ],
    ["a path", { ...ABOUT, architecture: "../../x64" }, /no addon for linux-\.\.\.\.x64/],
    ["a terminal's commands", { ...ABOUT, node: "18\u001b[2J" }, /^its Node 182J is too old/],
    ["no JSON", "{", /JSON/],
    ["too much", { ...ABOUT, node: "1".repeat(1000) }, /not a short text/],
  ] as const)("%s: the reason is that column's", ([, about, reason]) => {
    const conversation = introduction();
    expect(() => conversation.answer(hello(about))).toThrow(reason);
    expect(conversation.hasBegun).toBe(false);
  });

  it("without the Node that was named says which", () => {
    expect(() => introduction("/opt/none").answer(hello(""))).toThrow(/no Node at \/opt\/none that runs/);
  });
});

/** A host that says this, and what runGuest() makes of it. */
function say(script: string, silenceMs: number): Promise<unknown> {
  const machine = {
    ...sshMachine(parseSshHost("ssh:db1"), {}),
    launch: async () => {
      const { conversation } = sshLaunch(parseSshHost("ssh:db1"), WORK);
      return { file: "sh", args: ["-c", script], conversation: conversation! };
    },
  } satisfies Machine;
  return runGuest(machine, TASK, () => {}, { limits: { ...LIMITS, silenceMs, outputBytes: 10_000_000 } });
}

it.for([
  [
    "ends",
    "echo ssh: no way >&2; exit 255",
    LIMITS.silenceMs,
    "it did not begin (exit code 255): ssh: no way",
  ],
  ["hangs", "exec sleep 1000", 1000, "it sent no message for 1 s"],
  ["floods", "exec yes", LIMITS.silenceMs, "it printed too much"],
] as const)("a host that %s before it begins cannot run here", async ([, script, silenceMs, reason]) => {
  await expect(say(script, silenceMs)).rejects.toThrow(new CannotRun(reason));
});

it("a host that cannot run here keeps the answers of the others, and is asked again by --resume", async () => {
  const unreachable: Machine = {
    ...sshMachine(parseSshHost("ssh:db1"), {}),
    missing: () => Promise.resolve(null),
    launch: () => Promise.reject(new CannotRun("no way")),
  };
  const first = await runLab({ machines: [unreachable], experiments: ["steps", "peers"], limits: LIMITS });
  expect(first).toMatchObject({ kernels: [{ missing: "no way" }], findings: [] });
  const again = vi.fn(() => Promise.reject(new CannotRun("still none")));
  const machines = [{ ...unreachable, launch: again }];
  await runLab({ machines, experiments: ["steps"], resume: first, limits: LIMITS });
  expect(again).toHaveBeenCalledOnce();
});

it("what another host returns is a host's failure where it has another form, and is escaped", () => {
  const results = [
    { host: "ssh:a", status: 0, result: { schema: "selfconnect.audit/1", verdict: 1, unseen: "\u001b[2J" } },
    {
      host: "ssh:b",
      status: 0,
      result: { environment: { kernel: "\u001b[2J" }, unseen: ["\u001b[2J"], verdict: "unknown" },
    },
    { host: "ssh:c", status: null, error: "no\u001b[2J way" },
  ];
  const text = hostsText("audit", results);
  expect(text).not.toContain("\u001b");
  const [one, other, last] = text.split("\n");
  expect(one).toMatch(/^ssh:a .*no result: it has another form/);
  expect(other).toMatch(/^ssh:b {2}\\x1b\[2J .*could not see \\x1b/);
  expect(last).toMatch(/^ssh:c .*no result: no\\x1b/);
});

describe("a real sshd", { timeout: 120_000 }, () => {
  it("leaves nothing behind when the connection breaks", async (context) => {
    needsSshd(context);
    await using hosts = new SshdHosts({ one: {} });
    const work = { ...WORK, command: () => ["sh", "-c", "'sleep 1000 & echo begun; exec sleep 1000'"] };
    const launch = sshLaunch(parseSshHost("ssh:one"), work, { sshConfig: hosts.config });
    const readLine = (line: string) => {
      if (line !== "begun") return "noise";
      expect(hosts.processesOn("one").length).toBeGreaterThan(2);
      hosts.breakConnections("one");
      return "message";
    };
    expect(await runLaunch(launch, readLine, LIMITS)).toMatch(/^it died/);
    await hosts.expectNothingLeft("one");
  });

  it("runs a command, returns its object and leaves nothing behind", async (context) => {
    needsSshd(context);
    await using hosts = new SshdHosts({ one: {} });
    const [one] = await runOnHosts(["ssh:one"], ["who", "1"], { sshConfig: hosts.config });
    expect(one).toMatchObject({ host: "ssh:one", status: 0, result: { schema: "selfconnect.who/1" } });
    await hosts.expectNothingLeft("one");
  });
});
