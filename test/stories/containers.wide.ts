/**
 * What the guides say about containers and Pods, with the lines of the guides themselves. `npm run check:wide containers`
 * runs it, with podman, in namespaces of its own; the folder CONTAINERS has the package, installed as a user does.
 */
import { readFileSync } from "node:fs";
import type { TestContext } from "vitest";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Container } from "../support/containers.ts";
import { BASE, Podman } from "../support/containers.ts";
import { blocksOf } from "../support/pages.ts";

const GUARD = readFileSync("docs/guides/guard-a-service.md", "utf8");
const CHOOSE = readFileSync("docs/guides/choose-a-port.md", "utf8");
const PRIVILEGES = readFileSync("docs/guides/privileges.md", "utf8");
const TIMEOUT_MS = 180_000;
const PATIENCE = { timeout: 60_000, interval: 200 };

const LINES = blocksOf(GUARD, "dockerfile")[0]!.text;
const POD = blocksOf(GUARD, "yaml")[0]!.text;
const PORT = Number(/127\.0\.0\.1:(\d+)/.exec(LINES)![1]);
const SELFCONNECT = "/app/node_modules/.bin/selfconnect";
const RESERVED = "net.ipv4.ip_local_reserved_ports";
const SYSCTLS = [...(GUARD + CHOOSE).matchAll(/--sysctl (net\.ipv4\.ip_local_reserved_ports=[\d,-]+)/g)];
const IN_A_POD = /(securityContext: \{ sysctls: \[.+\] \})/.exec(CHOOSE)![1]!;
const CAPABILITIES = PRIVILEGES.match(/--cap-add \w+/g)!.map((flag) => flag.split(" "));

/** The image of the package alone, and that with the guide's lines. */
const [PLAIN, GUARDED] = ["localhost/plain", "localhost/guarded"];
const PLAIN_LINES = `FROM ${BASE}\nWORKDIR /app\nCOPY node_modules node_modules\n`;

const IDLE = ["node", "--eval", "setInterval(() => {}, 1e6)"];
const SERVER = `net.createServer(() => {}).listen(${PORT}).on("error", ({ code }) => console.log(code))`;
/** Reconnects until it is connected, and prints the outcome of every attempt. */
const CLIENT = `(function connect() {
  const socket = net.connect(${PORT}, "127.0.0.1");
  socket.on("error", ({ code }) => { console.log(code); setTimeout(connect, 50); });
  socket.on("connect", () =>
    console.log(socket.localPort === socket.remotePort ? "joined to itself" : "connected"));
})()`;

const podman = new Podman(process.env.CONTAINERS!);
let whyNot: string | null;

beforeAll(async () => {
  whyNot = await podman.whyNot();
  if (whyNot !== null) return;
  for (const [tag, lines] of [
    [PLAIN, PLAIN_LINES],
    [GUARDED, PLAIN_LINES + LINES],
  ] as const) {
    const { status, stderr } = await podman.build(tag, lines);
    expect(status, stderr).toBe(0);
  }
}, TIMEOUT_MS);

beforeEach((context: TestContext) => {
  if (whyNot !== null) context.skip(whyNot);
});

afterAll(() => podman[Symbol.asyncDispose](), TIMEOUT_MS);

/** The flag of a container whose connect(2) can pick these ports only: a single one is picked at once. */
function withRange(low: number, high = low): string {
  return `--sysctl=net.ipv4.ip_local_port_range=${low} ${high}`;
}

const UNHEALTHY = /^unhealthy: [\s\S]*ECONNREFUSED/;
/** So many attempts that a client which can be joined to itself was, in a range of FEW ports. */
const MANY_REFUSED = "ECONNREFUSED\n".repeat(20);
/** Enough for the client and the check while the server has one; connect(2) picks the server's at every other attempt. */
const FEW = [PORT, PORT + 3] as const;

async function untilPrinted(container: Container, words: string): Promise<void> {
  await vi.waitFor(async () => expect(await container.logs()).toContain(words), PATIENCE);
}

/** `text` with another part; the part must be there. */
function swap(text: string, part: string, other: string): string {
  expect(text).toContain(part);
  return text.replace(part, () => other);
}

describe("the guide's lines of a Dockerfile", { timeout: TIMEOUT_MS }, () => {
  const log = ["--env=SELFCONNECT_LOG=1", "--network=none", "--rm"];

  it("guard the programs of the image, under the filter of system calls that podman has by default", async () => {
    const { stderr } = await podman.run("run", ...log, GUARDED, "node", "--eval=0");
    expect(stderr).toMatch(/^selfconnect: process \d+ is guarded: (prevent|detect) /);
    const filter = await podman.run(
      "run",
      ...log,
      GUARDED,
      "node",
      "-p",
      'fs.readFileSync("/proc/self/status", "utf8")',
    );
    expect(filter.stdout).toMatch(/^Seccomp:\t2$/m);
  });

  it("control: without them nothing says so", async () => {
    const { status, stderr } = await podman.run("run", ...log, PLAIN, "node", "--eval=0");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("let the server start where a client waits for it; the container is healthy when it listens", async () => {
    await using container = await podman.start(GUARDED, [withRange(...FEW)], "node", "--eval", CLIENT);
    await untilPrinted(container, MANY_REFUSED);
    expect(await container.health()).toMatch(UNHEALTHY);
    await container.exec(["--detach"], "node", "--eval", SERVER);
    await untilPrinted(container, "\nconnected");
    expect(await container.health()).toBe("healthy");
    expect(await container.logs()).not.toContain("joined");
  });

  it("control: without ENV the client has the port, and only the check is not fooled", async () => {
    const tag = "localhost/unguarded";
    await podman.build(tag, PLAIN_LINES + LINES.replace(/^ENV .*\n/m, ""));
    await using container = await podman.start(tag, [withRange(...FEW)], "node", "--eval", CLIENT);
    await untilPrinted(container, "joined to itself");
    expect(await container.health()).toMatch(UNHEALTHY);
    const server = await container.exec([], "node", "--eval", SERVER);
    expect(server.stdout).toBe("EADDRINUSE\n");
  });
});

describe("the guides' --sysctl", { timeout: TIMEOUT_MS }, () => {
  it("is in both guides", () => expect(SYSCTLS.length).toBe(2));

  it.for(
    SYSCTLS.map(([, flag]) => flag!),
  )("%s: no client of the container gets these ports", async (flag) => {
    const [low, high = low] = /=(\d+)(?:-(\d+))?$/.exec(flag)!.slice(1).map(Number) as [number, number];
    const range = withRange(low, high || low);
    const program = ["node", "--eval", CLIENT] as const;
    await using container = await podman.start(PLAIN, [range, `--sysctl=${flag}`], ...program);
    await untilPrinted(container, "EADDRNOTAVAIL");
    expect(await container.logs()).not.toMatch(/joined|ECONNREFUSED/);
    await using control = await podman.start(PLAIN, [range], ...program);
    await untilPrinted(control, "joined to itself");
  });
});

describe("the guide's Pod", { timeout: TIMEOUT_MS }, () => {
  const HEAD = "apiVersion: v1\nkind: Pod\nmetadata: { name: guide }\n";
  const fieldsOf = (program: readonly string[]) =>
    `      image: ${PLAIN}\n      command: ${JSON.stringify(program)}\n`;
  const app = "    - name: app\n";
  const sidecar = `    - name: sidecar\n${fieldsOf(["node", "--eval", CLIENT])}`;
  /** With a program in it, few ports to pick, and a sidecar that connects to it. Podman runs the probes of liveness only. */
  const whole = swap(
    swap(
      swap(HEAD + POD, app, app + fieldsOf(IDLE)),
      "sysctls: [",
      `sysctls: [{ name: net.ipv4.ip_local_port_range, value: "${FEW.join(" ")}" }, `,
    ),
    "readinessProbe",
    "livenessProbe",
  );

  it("guards its program, and is ready when the server listens; a sidecar does not get the port", async () => {
    await using pod = await podman.play(whole + sidecar);
    await untilPrinted(pod.container("sidecar"), MANY_REFUSED);
    const container = pod.container("app");
    const { stderr } = await container.exec(["--env=SELFCONNECT_LOG=1"], "node", "--eval=0");
    expect(stderr).toMatch(/^selfconnect: process \d+ is guarded: /);
    expect(await container.health()).toMatch(UNHEALTHY);
    await container.exec(["--detach"], "node", "--eval", SERVER);
    await untilPrinted(pod.container("sidecar"), "\nconnected");
    expect(await container.health()).toBe("healthy");
    expect(await pod.container("sidecar").logs()).not.toContain("joined");
  });

  it("control: without its sysctl a sidecar is joined to itself on the port, and the Pod is not ready", async () => {
    const sysctl = `{ name: ${RESERVED}, value: "${PORT}" }`;
    await using pod = await podman.play(swap(whole, `, ${sysctl}`, "") + sidecar);
    await untilPrinted(pod.container("sidecar"), "joined to itself");
    const server = await pod.container("app").exec([], "node", "--eval", SERVER);
    expect(server.stdout).toBe("EADDRINUSE\n");
    expect(await pod.container("app").health()).toMatch(UNHEALTHY);
  });

  it("takes the line that `audit` prints for a Pod", async () => {
    const spec = `spec:\n  ${IN_A_POD}\n  containers:\n${app}${fieldsOf(IDLE)}`;
    await using pod = await podman.play(HEAD + spec);
    const file = `/proc/sys/${RESERVED.replaceAll(".", "/")}`;
    const { stdout } = await pod
      .container("app")
      .exec([], "node", "-p", `fs.readFileSync("${file}", "utf8").trim()`);
    expect(stdout).toBe(`${/value: "(.+)"/.exec(IN_A_POD)![1]}\n`);
  });
});

describe("the capabilities of docs/guides/privileges.md", { timeout: TIMEOUT_MS }, () => {
  const [forTrace, forFree] = CAPABILITIES;
  const none = ["--cap-drop", "all"];
  const message = /^no packets: .+$/m.exec(PRIVILEGES)![0];

  it(`trace has packets with ${forTrace?.join(" ")}, and says what is missing without`, async () => {
    const trace = (...flags: string[]) =>
      podman.run("run", "--rm", "--network=none", ...none, ...flags, PLAIN, SELFCONNECT, "trace");
    expect((await trace(...forTrace!)).stdout).toMatch(/─ SYN ─[\s\S]+─ SYN\+ACK ─/);
    expect((await trace()).stdout).toContain(message);
  });

  it(`free ends a socket of another user with ${forFree?.join(" ")}, and says what is missing without`, async () => {
    const free = async (...flags: string[]) => {
      const user = ["--user=1000", withRange(PORT), ...none, ...flags];
      await using container = await podman.start(PLAIN, user, "node", "--eval", CLIENT);
      await untilPrinted(container, "joined to itself");
      const { status, stdout } = await container.exec(["--user=0"], SELFCONNECT, "free", String(PORT));
      return { status, stdout };
    };
    expect(await free(...forFree!)).toEqual({
      status: 0,
      stdout: expect.stringContaining("the port is free"),
    });
    expect(await free()).toEqual({ status: 1, stdout: expect.stringContaining("needs CAP_NET_ADMIN") });
  });
});
