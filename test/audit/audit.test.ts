/** The audit against planted sockets, against ss and /proc, and in a clean namespace. */

import { readFileSync } from "node:fs";
import os from "node:os";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, describe, expect, test } from "vitest";
import { audit } from "../../lib/audit/index.ts";
import { findFourTuple, findSockets, portFacts, socketTable } from "../../lib/kernel/index.ts";
import { closePlainly } from "../../lib/packets/leavings.ts";
import type { Address } from "../../lib/socket/address.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { TcpState } from "../../lib/socket/tcp-state.ts";
import {
  cli,
  command,
  deadPeer,
  deadPort,
  FAMILIES,
  MAIN,
  needsFiles,
  needsNamespaces,
  runInNamespace,
  withNative,
} from "../support/harness.ts";
import { keep, plant, planted, resetPlanted } from "../support/planted.ts";
import { temporaryFile } from "../support/temporary.ts";

/** A backlog for more connections than the first buffer has room for records. */
const PLENTY = 2000;

afterEach(resetPlanted);

/** Opens a socket that is joined to itself, and returns its address. */
function plantJoined(family: 4 | 6): Address {
  const address = deadPeer(family);
  plant(family).bind(address).connect(address);
  return address;
}

function plantListener(family: 4 | 6, parity: "connect" | "other" = "connect"): Address {
  const address = deadPeer(family, parity);
  plant(family).bind(address).listen();
  return address;
}

describe.each(FAMILIES)("IPv%i", (family) => {
  test("a planted self-connect is found, with this process as its owner, and is gone after reset", async () => {
    const local = plantJoined(family);
    const found = await audit();
    expect(found.source).toBe("sock_diag");
    const joined = found.joined.find((one) => one.local.port === local.port);
    expect(joined).toMatchObject({ local, state: "ESTABLISHED", owner: { pid: process.pid } });
    expect(joined!.ageMs).toBeGreaterThanOrEqual(0);
    expect(found.verdict).toBe("found");
    resetPlanted();
    expect((await audit()).joined.filter((one) => one.local.port === local.port)).toEqual([]);
  });

  test("a closed self-connect is a leftover, and not joined", async () => {
    const local = plantJoined(family);
    closePlainly(planted.pop()!);
    const found = await audit();
    expect(found.joined.filter((one) => one.local.port === local.port)).toEqual([]);
    const leftover = found.leftovers.find((one) => one.local.port === local.port);
    expect(leftover).toMatchObject({ local, state: "TIME-WAIT", owner: null });
    expect(leftover!.ageMs).toBeLessThan(60_000);
  });

  test("a planted listener is at risk, and one of the other parity from clients that bind first", async () => {
    const local = plantListener(family);
    const other = plantListener(family, "other");
    const found = await audit();
    const [plain, bindFirst] = [local, other].map((address) =>
      found.listeners.find((one) => one.local.port === address.port),
    );
    expect(plain).toMatchObject({
      local,
      owner: { pid: process.pid },
      risk: "at-risk",
      never: null,
      heldBy: [],
    });
    expect(bindFirst).toMatchObject({ local: other, risk: "bind-first", never: { reason: "parity" } });
    expect(found.reserve!.ports).toEqual(expect.arrayContaining([local.port, other.port]));
    expect(found.reserve!.now).toBe(`sysctl -w net.ipv4.ip_local_reserved_ports=${found.reserve!.value}`);
    // Hours at one attempt a second, and a fraction of a second at full speed: by default a parity has 14,116 ports.
    const { low, high } = portFacts().ephemeralRange!;
    for (const one of [plain, bindFirst]) {
      expect(one!.meanMs!.everySecond / 1000).toBeCloseTo((high - low + 1) / 2, -3);
      expect(one!.meanMs!.fullSpeed).toBeLessThan(one!.meanMs!.everySecond / 40_000);
    }
  });

  test("an ordinary connection on loopback is not joined", async () => {
    const listener = plantListener(family);
    const client = plant(family);
    client.connect(listener);
    const { port } = client.getsockname();
    keep(planted[0]!.accept()!);
    expect((await audit()).joined.filter((one) => [port, listener.port].includes(one.local.port))).toEqual(
      [],
    );
  });
});

test("an IPv6 socket joined to itself over IPv4 is found too", async () => {
  const mapped = { ...deadPeer(6), host: "::ffff:127.0.0.1" };
  plant(6).bind(mapped).connect(mapped);
  const joined = (await audit()).joined.find((one) => one.local.port === mapped.port);
  expect(joined).toMatchObject({ local: mapped, owner: { pid: process.pid } });
});

test("sock_diag and /proc/net/tcp have the same rows, field by field", () => {
  const mine = [...FAMILIES.map(plantJoined), ...FAMILIES.map((family) => plantListener(family))];
  const ports = mine.map(({ port }) => port);
  const of = (rows: ReturnType<typeof socketTable>) =>
    rows
      .filter((row) => ports.includes(row.local.port))
      .map(({ timerMs: _, quietMs: __, ...row }) => row)
      .sort((a, b) => a.local.port - b.local.port);
  const { rows, source } = findSockets({});
  expect(source).toBe("sock_diag");
  expect(of(rows)).toEqual(of(socketTable()));
  expect(of(rows)).toHaveLength(mine.length);
});

test("the kernel filters by state, port and joined", () => {
  const [joined, listener] = [plantJoined(4), plantListener(4)];
  const at = ({ port }: Address) => ({ low: port, high: port });
  const find = (filter: Parameters<typeof findSockets>[0]) =>
    findSockets(filter).rows.map((row) => row.local.port);
  expect(find({ states: ["LISTEN"], localPorts: at(listener) })).toEqual([listener.port]);
  expect(find({ states: ["ESTABLISHED"], localPorts: at(listener) })).toEqual([]);
  expect(find({ joinedOnly: true, localPorts: at(joined) })).toEqual([joined.port]);
  expect(find({ joinedOnly: true, localPorts: at(listener) })).toEqual([]);
  expect(find({ localPorts: { low: joined.port + 1, high: joined.port + 1 } })).toEqual([]);
  for (const port of find({ localPorts: { low: listener.port, high: 65_535 } })) {
    expect(port).toBeGreaterThanOrEqual(listener.port);
  }
});

test.each([
  ["listen", 'did you mean "LISTEN"?'],
  ["TIME_WAIT", 'did you mean "TIME-WAIT"?'],
  ["ESTABLISHD", 'did you mean "ESTABLISHED"?'],
  ["", "use LISTEN, SYN-SENT"],
])("a state that TCP does not have is refused: %j", (state, fix) => {
  const find = () => findSockets({ states: ["LISTEN", state as TcpState] });
  expect(find).toThrow(expect.objectContaining({ name: "TypeError", code: "ERR_UNKNOWN_STATE" }));
  expect(find).toThrow(fix);
});

test("TIME-WAIT finds a closed self-connect, and CLOSED a bound socket, where the kernel reports it", () => {
  const left = deadPeer(4);
  const socket = TcpSocket.open(4).bind(left);
  socket.connect(left);
  closePlainly(socket);
  const bound = deadPeer(4);
  plant(4).bind(bound);
  const at = ({ port }: Address) => ({ low: port, high: port });
  expect(findSockets({ states: ["TIME-WAIT"], localPorts: at(left) }).rows).toMatchObject([
    { local: left, peer: left, state: "TIME-WAIT" },
  ]);
  expect(findSockets({ localPorts: at(bound) }).rows).toEqual([]);
  for (const row of findSockets({ states: ["CLOSED"], localPorts: at(bound) }).rows)
    expect(row).toMatchObject({ local: bound, state: "CLOSED" });
});

test("all sockets are returned when there are more than the first buffer has room for", (context) => {
  needsFiles(context, 800);
  const address = deadPeer(4);
  plant(4).bind(address).listen(PLENTY);
  for (let count = 0; count < 700; count++) plant(4).connect(address);
  const ends = findSockets({ states: ["ESTABLISHED"] }).rows.filter(
    (row) => row.local.port === address.port || row.peer.port === address.port,
  );
  expect(ends).toHaveLength(1400);
  // The listener is closed first: that also ends the connections in its backlog.
  planted.shift()!.close();
});

test.each([
  "ENOSYS",
  "ENOENT",
  "EINTR",
] as const)("where sock_diag fails (%s) /proc has the same rows", async (code) => {
  const local = plantJoined(4);
  const filter = { joinedOnly: true, localPorts: { low: local.port, high: local.port } };
  const { rows, source } = await withNative({ diag: () => -os.constants.errno[code] }, () =>
    findSockets(filter),
  );
  expect(source).toBe("proc");
  expect(rows).toEqual(findFourTuple(local, local));
});

test("ss reports the same sockets", async (context) => {
  const mine = [...FAMILIES.map(plantJoined), ...FAMILIES.map((family) => plantListener(family))];
  const ss = await command("ss", ["-Htan"]).catch(() => null);
  if (ss?.status !== 0) context.skip("no ss here (Debian: iproute2)");
  const ports = mine.map(({ port }) => `:${port}`);
  const isMine = (line: string) => ports.some((port) => line.includes(port));
  const reported = ss!.stdout
    .split("\n")
    .filter(isMine)
    .map((line) => line.trim().split(/\s+/))
    .map(([state, , , local, peer]) => `${state === "ESTAB" ? "ESTABLISHED" : state} ${local} ${peer}`);
  const star = (address: Address) => formatAddress(address).replace(/:0$/, ":*");
  const found = findSockets({})
    .rows.map(({ state, local, peer }) => `${state} ${star(local)} ${star(peer)}`)
    .filter(isMine);
  expect(found.sort()).toEqual(reported.sort());
  expect(found).toHaveLength(mine.length);
});

describe("selfconnect audit", () => {
  test("prints no findings and exits 0 in a clean namespace", async (context) => {
    needsNamespaces(context);
    const { status, stdout } = await runInNamespace("32768 60999", process.execPath, [
      MAIN,
      "audit",
      "--json",
    ]);
    const report = JSON.parse(stdout);
    expect(status).toBe(0);
    const empty = { listeners: [], ports: [], joined: [], leftovers: [], knocking: [], destinations: [] };
    expect(report).toMatchObject({ ...empty, reserve: null, verdict: "clean", unseen: [], namespaces: null });
  });

  test("prints an object of its schema and exits 3 where a self-connect is planted", async () => {
    const mine = [...FAMILIES.map(plantJoined), ...FAMILIES.map((family) => plantListener(family))];
    const { status, stdout } = await cli(["audit", "--json"]);
    expect(status).toBe(3);
    const report = JSON.parse(stdout);
    const schema = JSON.parse(
      readFileSync(new URL("../../docs/schema/audit-1.json", import.meta.url), "utf8"),
    );
    const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    for (const { port } of mine) {
      const one = [...report.joined, ...report.listeners].find(({ local }) => local.port === port);
      expect(one.owner.pid).toBe(process.pid);
    }
    const words = await cli(["audit"]);
    expect(words.status).toBe(3);
    expect(words.stdout).toContain(`pid ${process.pid}`);
    expect(words.stdout).toContain("sysctl -w net.ipv4.ip_local_reserved_ports=");
  });

  test("the sysctl line that it prints is a cure, and keeps the ports that were reserved before", async (context) => {
    needsNamespaces(context);
    const reserve = "echo 32900-32902 > /proc/sys/net/ipv4/ip_local_reserved_ports";
    const look = `"$0" "$1" audit --port 33000 --json`;
    const script = `${reserve} && ${look} > $2; eval "$("$0" -p 'JSON.parse(fs.readFileSync(process.argv[1])).reserve.now' $2)" >&2 && ${look}`;
    const file = temporaryFile("audit.json");
    const { status, stdout, stderr } = await runInNamespace("32768 33791", "sh", [
      "-c",
      script,
      process.execPath,
      MAIN,
      file,
    ]);
    expect(stderr.trim()).toBe("net.ipv4.ip_local_reserved_ports = 32900-32902,33000");
    expect(status).toBe(0);
    expect(JSON.parse(stdout).ports[0].never.reason).toBe("reserved");
  });

  test("--port assesses ports on which nothing listens, and invents no listener", async () => {
    const [dead, other] = [deadPort(), deadPort("other")];
    const ask = async (...ports: number[]) => {
      const { status, stdout } = await cli(["audit", "--port", ports.join(","), "--json"]);
      return { status, ...JSON.parse(stdout) };
    };
    expect(await ask(dead, other, 8080)).toMatchObject({
      status: 3,
      listeners: [],
      ports: [
        { port: dead, risk: "at-risk", heldBy: [] },
        { port: other, risk: "bind-first", never: { reason: "parity" } },
        { port: 8080, risk: "safe", never: { reason: "outside-range" }, meanMs: null },
      ],
    });
    const local = plantListener(4);
    const mine = { local, owner: { pid: process.pid } };
    expect(await ask(local.port)).toMatchObject({ listeners: [mine], ports: [{ heldBy: [mine] }] });
    expect((await cli(["audit", "--port", "80,70000"])).status).toBe(2);
  });

  test("--watch prints what appears and disappears, and Ctrl-C ends it", async () => {
    let local: Address | undefined;
    let printed = "";
    const isPrinted = (sign: string) => printed.includes(`Z ${sign} ${local ? formatAddress(local) : ""} `);
    const watching = cli(["audit", "--watch", "100ms", "--duration", "20s"], (child) => {
      child.stdout!.on("data", (text) => {
        printed += text;
        if (!local) local = plantListener(4);
        else if (isPrinted("-")) child.kill("SIGINT");
        else if (isPrinted("+")) resetPlanted();
      });
    });
    const { status, stdout } = await watching;
    const changes = stdout.split("\n").filter((line) => line.split(" ")[2] === formatAddress(local!));
    expect(
      changes.map((line) => line.split(" ")[1]),
      changes.join("\n"),
    ).toEqual(["+", "-"]);
    expect(status).toBe(130);
  });

  test("--watch ends after its time", async (context) => {
    needsNamespaces(context);
    const args = [MAIN, "audit", "--watch", "100ms", "--duration", "300ms"];
    expect((await runInNamespace("32768 60999", process.execPath, args)).status).toBe(0);
  });
});
