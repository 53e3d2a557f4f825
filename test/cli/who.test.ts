/** selfconnect who: what it prints, its schema, its exit codes, and what it sees elsewhere. */
import { readFileSync } from "node:fs";
import net from "node:net";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import {
  cli,
  command,
  deadPeer,
  interruptAfter,
  MAIN,
  needsIpv6,
  needsNamespaces,
  needsRoot,
  withListener,
} from "../support/harness.ts";

const schema = JSON.parse(readFileSync(new URL("../../docs/schema/who-1.json", import.meta.url), "utf8"));
const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(schema);

/** In a namespace of its own every port is free. */
const PORT = 50_000;

const LISTEN = `require("net").createServer().listen(${PORT}, "127.0.0.1", () => console.error("up"));`;

/** Runs a script in process, network and mount namespaces of its own; $S is the command line, listen a server. */
function runAlone(script: string) {
  const setUp = `ip link set lo up
    S="${process.execPath} ${MAIN}"
    listen() { ${process.execPath} -e '${LISTEN}' 2>/dev/null & }
    ${script}`;
  return command("unshare", ["-rnpfm", "--mount-proc", "--kill-child", "sh", "-c", setUp]);
}

describe("who", () => {
  it("exits with 0 where a server could start, and 3 with the holder and what to do where it could not", (context) => {
    needsIpv6(context);
    return withListener(
      4,
      () => {},
      async (peer) => {
        const held = await cli(["who", `${peer.port}`]);
        expect(held).toMatchObject({ status: 3, stderr: "" });
        const lines = held.stdout.split("\n");
        expect(lines[0]).toBe(`a server on [::]:${peer.port} cannot start: EADDRINUSE`);
        expect(lines[1]).toContain(`  ${formatAddress(peer)} listens: pid ${process.pid} (node, user `);
        expect(lines[2]).toBe(`    end pid ${process.pid} (node), or use another port or address`);
        expect(lines).toContain(`  a server on [::1]:${peer.port} can start`);
        const free = await cli(["who", `[::1]:${peer.port}`]);
        expect(free.stdout).toContain(`a server on [::1]:${peer.port} can start\non this port\n`);
        expect(free.status).toBe(0);
      },
    );
  });

  it("--json conforms to its schema", (context) => {
    needsIpv6(context);
    return withListener(
      6,
      () => {},
      async (peer) => {
        const { status, stdout } = await cli(["who", formatAddress(peer), "--json"]);
        const report = JSON.parse(stdout);
        expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
        expect(report).toMatchObject({ address: peer, canListen: false, holders: [{ kind: "listener" }] });
        expect(status).toBe(3);
      },
    );
  });

  it("exits with 1 where no socket is the reason", async () => {
    const { status, stdout } = await cli(["who", "192.0.2.1:4000"]);
    expect(status).toBe(1);
    expect(stdout).toContain("EADDRNOTAVAIL, 192.0.2.1 is not an address of this host");
  });

  it("--wait ends when a server could start, at its time, and at Ctrl-C", async () => {
    const listener = TcpSocket.open(4).bind(deadPeer()).listen();
    const name = formatAddress(listener.getsockname());
    expect((await cli(["who", name, "--wait", "1ms"])).status).toBe(3);
    expect((await cli(["who", name, "--wait"], interruptAfter(50))).status).toBe(130);
    const waited = await cli(["who", name, "--wait"], () => void setTimeout(() => listener.close(), 300));
    expect(waited).toMatchObject({ status: 0, stdout: `a server on ${name} can start\n` });
  });

  it("--wait before the port names the order that is right", async () => {
    for (const target of ["50000", "127.0.0.1:50000"]) {
      const { status, stderr } = await cli(["who", "--wait", target]);
      expect(status).toBe(2);
      expect(stderr).toContain(`For a port, put it first: who ${target} --wait.`);
    }
  });

  it("rejects what is no port", async () => {
    for (const target of ["0", "65536", "localhost", "127.0.0.1:0"]) {
      expect((await cli(["who", target])).status, target).toBe(2);
    }
  });

  it("--all-namespaces lists the holders of other network namespaces, which are not in the way", async (context) => {
    needsNamespaces(context);
    const script = `unshare -n sh -c 'ip link set lo up; exec ${process.execPath} -e "$0"' '${LISTEN}' 2>/dev/null &
      for i in $(seq 100); do $S who 50000 --all-namespaces | grep listens && break; done
      $S who 50000; $S who 50000 --all-namespaces --json`;
    const { stdout } = await runAlone(script);
    const [first, second, ...json] = stdout.split("\n");
    expect(first).toMatch(
      /^ {2}127\.0\.0\.1:50000 listens in network namespace \d+: pid \d+ \(node, user root\)$/,
    );
    expect(second).toBe("a server on [::]:50000 can start");
    const report = JSON.parse(json.join("\n"));
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report.holders).toMatchObject([
      { namespace: expect.any(Number), isInTheWay: false, remedy: null },
    ]);
  });

  it("knows a link-local address by its interface's name and number, and so do free and findFourTuple()", async (context) => {
    needsNamespaces(context);
    const index = new URL("../../dist/kernel/index.js", import.meta.url).pathname;
    const socket = new URL("../../dist/index.js", import.meta.url).pathname;
    const program = `import { findFourTuple } from "${index}"; import { TcpSocket } from "${socket}";
      const at = "[fe80::1%v0]:${PORT}"; const held = TcpSocket.open(6).bind(at);
      held.connect(at); console.error(findFourTuple(at, at).length + " in /proc");
      setInterval(() => held.fd, 60_000);`;
    const { stdout, stderr } = await runAlone(`
      ip link add v0 type veth peer name v1; ip address add fe80::1/64 dev v0 nodad
      ip link set v0 up; ip link set v1 up
      ${process.execPath} --input-type=module --eval '${program}' &
      until $S who ${PORT} | grep "joined to itself (ESTABLISHED)"; do sleep 0.1; done
      for scope in v0 $(ip -o link show v0 | cut -d: -f1); do
        $S who "[fe80::1%$scope]:${PORT}"; $S free --dry-run "[fe80::1%$scope]:${PORT}"
      done`);
    expect(stderr).toBe("1 in /proc\n");
    const held =
      /^ {2}\[fe80::1%\d+\]:50000 is joined to itself \(ESTABLISHED\): pid \d+ \(node, user root\)$/gm;
    expect(stdout.match(held), stdout).toHaveLength(3);
    expect(stdout.match(/^would end \[fe80::1%\d+\]:50000 joined to itself/gm)).toHaveLength(2);
    expect(stdout).not.toContain("not in the way");
  });

  it("without root, says that the owner is not visible", async (context) => {
    needsRoot(context, "to become another user");
    await withListener(
      4,
      () => {},
      async (peer) => {
        const other = ["--reuid=65534", "--clear-groups", process.execPath, MAIN, "who", formatAddress(peer)];
        const { stdout, status } = await command("setpriv", other);
        expect(stdout).toContain(`${formatAddress(peer)} listens: no visible process, of user root\n`);
        expect(stdout).toContain("run as root to see the owner");
        expect(status).toBe(3);
      },
    );
  });

  it("without root, advises root for the self-connect of another user", async (context) => {
    needsRoot(context, "to become another user");
    const peer = deadPeer();
    const joined = TcpSocket.open(4).bind(peer);
    joined.connect(peer);
    const name = formatAddress(peer);
    expect((await cli(["who", name])).stdout, "control").toContain(`    selfconnect free ${name}\n`);
    const other = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, MAIN, "who", name];
    expect((await command("setpriv", other)).stdout).toContain(`    as root: selfconnect free ${name}\n`);
    joined.reset();
  });

  it("where /proc hides processes, says that owners are hidden, and that not all namespaces were seen", async (context) => {
    needsRoot(context, "to become another user");
    const script = `mount -o remount,hidepid=2 /proc
      listen; for i in $(seq 100); do $S who ${PORT} >/dev/null || break; done
      O="setpriv --reuid=65534 --regid=65534 --clear-groups $S"
      $O who ${PORT}; $O who ${PORT} --all-namespaces; $O free --all; echo "exit $?"`;
    const setUp = `ip link set lo up; S="${process.execPath} ${MAIN}"
      listen() { ${process.execPath} -e '${LISTEN}' 2>/dev/null & }; ${script}`;
    const { stdout } = await command("unshare", ["-npfm", "--mount-proc", "--kill-child", "sh", "-c", setUp]);
    const [first, second] = stdout.split(`a server on [::]:${PORT} cannot start`).slice(1);
    expect(first).toContain("no visible process, of user root");
    expect(first).toContain("run as root to see the owner; /proc hides the processes of others (hidepid)");
    expect(first).not.toContain("namespaces are not visible");
    expect(second).toContain("some network namespaces are not visible to this user");
    expect(second).toContain("no socket that was visible is joined to itself");
    expect(second).toMatch(/exit 1\n$/);
  });

  it("a process cannot write to the terminal by its name", async (context) => {
    needsNamespaces(context);
    const name = `$(printf 'x\\033[2J\\nfree')`;
    const script = `(exec -a "${name}" ${process.execPath} -e '${LISTEN}') 2>/dev/null &
      for i in $(seq 100); do $S who 50000 >/dev/null || break; done; $S who 50000`;
    const { stdout } = await command("unshare", [
      "-rnpfm",
      "--mount-proc",
      "--kill-child",
      "bash",
      "-c",
      `ip link set lo up; S="${process.execPath} ${MAIN}"; ${script}`,
    ]);
    expect(stdout).toContain("(x\\x1b[2J\\x0afree, user root)");
    expect(stdout).not.toContain("\u001b");
  });
});

it("dial, predict and trace say it in the same words", () =>
  withListener(
    4,
    (socket) => socket.end(),
    async (peer) => {
      const words = (await cli(["who", formatAddress(peer)])).stdout.split("\n")[1]!.trim();
      expect(words).toContain("listens: pid ");
      const dialed = await cli(["dial", formatAddress(peer), "--listen-check"]);
      const predicted = await cli(["predict", formatAddress(peer), "--algorithm", "linux-5.18"]);
      const traced = await cli(["trace", formatAddress(peer)]);
      expect(dialed.stdout).toContain(words);
      expect(predicted.stdout).toContain(`now on the port\n  ${words}`);
      expect(traced.stderr).toContain(words);
    },
  ));

it("the error of a server leads to its holder in one line of a program", () =>
  withListener(
    4,
    () => {},
    async (peer) => {
      const program = `
        import net from "node:net";
        import { explainBind } from "./dist/audit/index.js";
        import { whoText } from "./dist/report/index.js";
        const server = net.createServer().listen(${peer.port}, "${peer.host}");
        server.on("error", (error) => console.error(whoText(explainBind(error))));`;
      const { stderr } = await command(process.execPath, ["--input-type=module", "-e", program]);
      expect(stderr).toContain(`${formatAddress(peer)} listens: pid ${process.pid} (node`);
      expect(net.isIPv4(peer.host)).toBe(true);
    },
  ));
