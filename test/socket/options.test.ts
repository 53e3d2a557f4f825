/** One generated test for each row of the option table, over IPv4 and IPv6: a value that was set reads back. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { portFacts } from "../../lib/kernel/index.ts";
import type { Address } from "../../lib/socket/address.ts";
import type { SocketError } from "../../lib/socket/errors.ts";
import type { OptionRow } from "../../lib/socket/native.ts";
import { otherOptions, socketConstants } from "../../lib/socket/option-access.ts";
import type { BpfProgram } from "../../lib/socket/option-structures.ts";
import type { OptionName } from "../../lib/socket/options.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { optionTable, supported } from "../../lib/socket/supported.ts";
import {
  catchError,
  deadPeer,
  FAMILIES,
  LOOPBACK,
  needsNamespaces,
  runInNamespace,
} from "../support/harness.ts";

const byName = (name: OptionName) => optionTable().find((row) => row.name === name)!;
const settable = optionTable().filter((row) => row.access === "read-write");
/** Rows that no sample can set on a new socket; each has a test of its own below. */
const OWN_TESTS = ["upperLayerProtocol", "fastOpenKey"];

/** Converts the row's sample to the option's value in lib/socket/options.ts. */
function toValue(row: OptionRow, raw: bigint | string, before: unknown): unknown {
  const { low, high } = portFacts().ephemeralRange!;
  switch (row.kind) {
    case "flag":
      return !before;
    case "unsigned64":
    case "rate":
    case "text":
    case "word":
      return raw;
    case "range":
      return { low: low + 10, high: high - 10 };
    default:
      return Number(raw);
  }
}

/** Sets an option; false, with the reason in the message, where a privilege is missing. */
function trySet(socket: TcpSocket, row: OptionRow, value: unknown): boolean {
  try {
    socket.setsockopt(row.name as OptionName, value as never);
    return true;
  } catch (error) {
    if (!row.capability || !["EPERM", "EACCES"].includes((error as SocketError).code)) throw error;
    expect((error as Error).message).toContain(row.capability);
    return false;
  }
}

const sampled = settable.filter(({ name }) => !OWN_TESTS.includes(name));

describe.each(sampled)("$name ($constant)", (row) => {
  const name = row.name as OptionName;
  for (const family of FAMILIES) {
    it(`IPv${family}: the default differs from the sample, which reads back after it was set`, (context) => {
      if (row.ipv6Only && family === 4) return expectUnsupportedOnIpv4(name);
      if (!supported(name))
        context.skip(`this kernel does not have ${row.constant}; Linux has it since ${row.since}`);
      using socket = TcpSocket.open(family);
      const before = socket.getsockopt(name);
      const value = toValue(row, row.sample, before);
      const readsBack = row.kind === "flag" ? value : toValue(row, row.readsBack, before);
      expect(before).not.toEqual(readsBack);
      if (!trySet(socket, row, value)) return context.skip(`setting ${row.constant} needs ${row.capability}`);
      expect(socket.getsockopt(name)).toEqual(readsBack);
    });
  }
});

describe.each(settable.filter(({ kind }) => kind === "integer"))("$name ($constant)", (row) => {
  it("takes no number outside its range, nor one with a fraction", () => {
    using socket = TcpSocket.open(row.ipv6Only ? 6 : 4);
    for (const value of [row.low - 1, row.high + 1, row.low + 0.5, Number.NaN, "1"]) {
      const error = catchError(() => socket.setsockopt(row.name as OptionName, value as never)) as Error;
      expect(error).toMatchObject({ code: "ERR_OPTION_VALUE" });
      expect(error.message).toContain(`use ${row.low} to ${row.high}`);
    }
  });
});

const STRUCTURES = [
  ["information", "TcpInformation"],
  ["congestionInformation", "CongestionInformation"],
  ["memory", "MemoryInformation"],
] as const;

it.each(STRUCTURES)("%s: %s types every field that the compiler knows, and no other", (name, type) => {
  const text = readFileSync("lib/socket/option-structures.ts", "utf8");
  const source = ts.createSourceFile("", text, ts.ScriptTarget.Latest);
  const declared = source.statements.filter(ts.isInterfaceDeclaration);
  const members = declared.find((one) => one.name.text === type)!.members;
  const typed = members.map((member) => (member.name as ts.Identifier).text);
  expect(typed).toEqual(byName(name).fields);
});

function expectUnsupportedOnIpv4(name: OptionName): void {
  using socket = TcpSocket.open(4);
  const code = "ERR_OPTION_UNSUPPORTED";
  expect(() => socket.getsockopt(name)).toThrow(expect.objectContaining({ code }));
}

const readable = optionTable().filter((row) => row.access === "read-only");

/** What a socket without a connection has not: the errno. */
const NOT_YET: Partial<Record<OptionName, string>> = {
  pathMtuBytes: "ENOTCONN",
  ipv6PathMtuBytes: "ENOTCONN",
  originalDestination: "ENOENT",
  ipv6OriginalDestination: "ENOENT",
};

describe.each(readable)("$name ($constant), read-only", (row) => {
  const name = row.name as OptionName;
  it.for(FAMILIES)("IPv%i: reading works, and setting throws ERR_OPTION_READ_ONLY", (family, context) => {
    if (row.ipv6Only && family === 4) return expectUnsupportedOnIpv4(name);
    using socket = TcpSocket.open(family);
    const code = "ERR_OPTION_READ_ONLY";
    expect(() => socket.setsockopt(name, 1 as never)).toThrow(expect.objectContaining({ code }));
    if (!supported(name))
      context.skip(`this kernel does not have ${row.constant}; Linux has it since ${row.since}`);
    const errno = NOT_YET[name];
    if (errno) expect(catchError(() => socket.getsockopt(name))).toMatchObject({ code: errno });
    else expect(socket.getsockopt(name)).toBeDefined();
  });
});

describe.each(optionTable().filter((row) => row.access === "write-only"))("$name ($constant)", (row) => {
  it("can only be set: reading it is a programmer error", () => {
    using socket = TcpSocket.open(4);
    const code = "ERR_OPTION_WRITE_ONLY";
    expect(() => socket.getsockopt(row.name as OptionName)).toThrow(expect.objectContaining({ code }));
    expect(supported(row.name as OptionName)).toBeTypeOf("boolean");
  });
});

describe("the value of", () => {
  it("cookie differs between sockets, and stays the same for one socket", () => {
    using one = TcpSocket.open(4);
    using other = TcpSocket.open(4);
    expect(one.getsockopt("cookie")).toBe(one.getsockopt("cookie"));
    expect(one.getsockopt("cookie")).not.toBe(other.getsockopt("cookie"));
  });

  it("listening is true after listen()", () => {
    using socket = TcpSocket.open(4);
    expect(socket.getsockopt("listening")).toBe(false);
    socket.bind("127.0.0.1:0").listen();
    expect(socket.getsockopt("listening")).toBe(true);
    expect(socket.getsockopt("information").state).toBe("LISTEN");
  });

  it("lingerSeconds is null again after it was set to null", () => {
    using socket = TcpSocket.open(4, { lingerSeconds: 0 });
    expect(socket.getsockopt("lingerSeconds")).toBe(0);
    socket.setsockopt("lingerSeconds", null);
    expect(socket.getsockopt("lingerSeconds")).toBeNull();
  });
});

it("the table has the capability that an option needs", () => {
  expect(byName("mark").capability).toBe("CAP_NET_ADMIN");
});

/** A connection on loopback whose listener and client are set up by `prepare` before listen() and connect(). */
async function withConnection(
  family: 4 | 6,
  prepare: (listener: TcpSocket, client: TcpSocket, listenerAddress: Address) => void,
  use: (accepted: TcpSocket, client: TcpSocket) => void,
): Promise<void> {
  using listener = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 });
  using client = TcpSocket.open(family);
  prepare(listener, client, listener.getsockname());
  listener.listen();
  client.connect(listener.getsockname());
  await client.connected({ deadlineMs: 5000 });
  using accepted = await acceptNext(listener);
  use(accepted, client);
}

async function acceptNext(listener: TcpSocket): Promise<TcpSocket> {
  for (let turns = 0; turns < 10_000; turns++) {
    const accepted = listener.accept();
    if (accepted) return accepted;
    await nextTurn();
  }
  throw new Error("nothing to accept");
}

describe.each(FAMILIES)("of an IPv%i connection", (family) => {
  it("savedSyn has the SYN's headers once, when the listener saves them", async () => {
    await withConnection(
      family,
      (listener) => listener.setsockopt("saveSyn", true),
      (accepted, client) => {
        const syn = accepted.getsockopt("savedSyn");
        const ipBytes = family === 4 ? (syn[0]! & 15) * 4 : 40;
        const view = new DataView(syn.buffer, syn.byteOffset + ipBytes);
        expect(syn[0]! >> 4).toBe(family);
        expect(view.getUint16(0)).toBe(client.getsockname().port);
        expect(view.getUint8(13) & 0x3f, "the flag SYN alone").toBe(2);
        expect(accepted.getsockopt("savedSyn")).toHaveLength(0);
        expect(client.getsockopt("savedSyn")).toHaveLength(0);
      },
    );
  });

  it("the path MTU and the window scales are known", async () => {
    await withConnection(
      family,
      () => {},
      (accepted, client) => {
        expect(client.getsockopt(family === 4 ? "pathMtuBytes" : "ipv6PathMtuBytes")).toBeGreaterThan(1279);
        const [there, here] = [accepted, client].map((socket) => socket.getsockopt("information"));
        expect(here!.options! & 4, "window scaling is in use").toBe(4);
        expect(here!.sendWindowScale).toBe(there!.receiveWindowScale);
        expect(here!.receiveWindowScale).toBe(there!.sendWindowScale);
        expect(here!.receiveWindowScale).toBeGreaterThan(0);
        expect(here!.applicationLimited).toBe(true);
      },
    );
  });

  it("an unlimited pacing rate is null, a limited one the limit", () => {
    using socket = TcpSocket.open(family);
    expect(socket.getsockopt("maxPacingBytesPerSecond")).toBeNull();
    expect(socket.getsockopt("information").maxPacingBytesPerSecond).toBeNull();
    socket.setsockopt("maxPacingBytesPerSecond", 5000n);
    expect(socket.getsockopt("information").maxPacingBytesPerSecond).toBe(5000);
    socket.setsockopt("maxPacingBytesPerSecond", null);
    expect(socket.getsockopt("maxPacingBytesPerSecond")).toBeNull();
  });

  it("md5Signature connects two ends with one key, and none with two", async (context) => {
    if (!supported("md5Signature")) context.skip("this kernel has no TCP_MD5SIG");
    const key = new TextEncoder().encode("a key of both");
    const peer = { family, host: LOOPBACK[family], port: 0 } as const;
    const sign = (socket: TcpSocket, bytes: Uint8Array) =>
      socket.setsockopt("md5Signature", { peer, key: bytes });
    await withConnection(
      family,
      (listener, client) => [listener, client].forEach((socket) => void sign(socket, key)),
      (accepted, client) => expect(accepted.getpeername()).toEqual(client.getsockname()),
    );
    const differ = withConnection(
      family,
      (listener, client) => {
        sign(listener, key);
        sign(client, key.subarray(1));
        client.setsockopt("userTimeoutMs", 200);
      },
      () => {},
    );
    await expect(differ).rejects.toMatchObject({ code: "ETIMEDOUT" });
  });

  it("an Md5Signature with a long key, or without a key, is a programmer error", () => {
    using socket = TcpSocket.open(family);
    for (const value of [
      { peer: deadPeer(family), key: new Uint8Array(81) },
      { peer: deadPeer(family) },
      null,
    ]) {
      const set = () => socket.setsockopt("md5Signature", value as never);
      expect(set).toThrow(expect.objectContaining({ code: "ERR_OPTION_VALUE" }));
    }
  });

  /** `ret #262144`: keep the packet whole. `ret #0`: drop it. The constants are those of classic BPF. */
  const keepAll: BpfProgram = [[0x06, 0, 0, 0x40000]];
  const dropAll: BpfProgram = [[0x06, 0, 0, 0]];

  it("filter drops the packets that its program refuses, and lockFilter keeps it", async (context) => {
    using probe = TcpSocket.open(family);
    if (!trySet(probe, byName("filter"), keepAll)) context.skip("SO_ATTACH_FILTER needs CAP_NET_ADMIN");
    const connect = (program: BpfProgram) =>
      withConnection(
        family,
        (listener, client) => {
          listener.setsockopt("filter", program);
          client.setsockopt("userTimeoutMs", 200);
        },
        () => {},
      );
    await connect(keepAll);
    await expect(connect(dropAll)).rejects.toMatchObject({ code: "ETIMEDOUT" });
    using socket = TcpSocket.open(family, { filter: keepAll, lockFilter: true });
    expect(catchError(() => socket.setsockopt("filter", dropAll))).toMatchObject({
      code: "EPERM",
      message: expect.stringContaining("lockFilter keeps it, or it needs CAP_NET_ADMIN"),
    });
  });

  it("reusePortFilter picks the listener", async () => {
    const first = TcpSocket.open(family, { reusePort: true });
    using one = first.bind({ family, host: LOOPBACK[family], port: 0 }).listen();
    using other = TcpSocket.open(family, { reusePort: true }).bind(one.getsockname()).listen();
    for (const [index, chosen] of [one, other].entries()) {
      one.setsockopt("reusePortFilter", [[0x06, 0, 0, index]]);
      for (let i = 0; i < 4; i++) {
        using client = TcpSocket.open(family, { lingerSeconds: 0 });
        client.connect(one.getsockname());
        await client.connected({ deadlineMs: 5000 });
        using accepted = await acceptNext(chosen);
        expect(accepted.getpeername()).toEqual(client.getsockname());
      }
    }
  });

  it("an invalid program is a programmer error", () => {
    using socket = TcpSocket.open(family);
    for (const value of [[], "ret", [[1, 2, 3]], [[6, 0, 256, 0]], [[6, 0, 0, 2 ** 32]]]) {
      const set = () => socket.setsockopt("filter", value as never);
      expect(set).toThrow(expect.objectContaining({ code: "ERR_OPTION_VALUE" }));
    }
  });

  it("fastOpenKey is 16 or 32 bytes, and reads back", () => {
    using socket = TcpSocket.open(family);
    for (const length of [16, 32]) {
      const key = Uint8Array.from({ length }, (_, i) => i);
      socket.setsockopt("fastOpenKey", key);
      expect(socket.getsockopt("fastOpenKey")).toEqual(key);
    }
    const set = (value: unknown) => () => socket.setsockopt("fastOpenKey", value as never);
    expect(catchError(set(new Uint8Array(15)))).toMatchObject({ code: "EINVAL" });
    expect(set("0123456789abcdef")).toThrow(expect.objectContaining({ code: "ERR_OPTION_VALUE" }));
  });

  it("mptcp opens a socket of Multipath TCP, which talks to one of TCP", async (context) => {
    let socket: TcpSocket;
    try {
      socket = TcpSocket.open(family, { mptcp: true });
    } catch (error) {
      expect((error as Error).message).toContain("net.mptcp.enabled");
      return context.skip(`no Multipath TCP here: ${(error as Error).message}`);
    }
    using listener = socket.bind({ family, host: LOOPBACK[family], port: 0 }).listen();
    expect(listener.getsockopt("protocol")).toBe(socketConstants().IPPROTO_MPTCP);
    using both = TcpSocket.open(family, { mptcp: true });
    both.connect(listener.getsockname());
    await both.connected({ deadlineMs: 5000 });
    using accepted = await acceptNext(listener);
    expect(accepted.getpeername()).toEqual(both.getsockname());
    if (supported("multipath")) expect(both.getsockopt("multipath")).toBe(true);
    using plain = TcpSocket.open(family, { mptcp: false });
    plain.connect(listener.getsockname());
    await plain.connected({ deadlineMs: 5000 });
    expect(plain.getsockopt("protocol")).toBe(socketConstants().IPPROTO_TCP);
    const open = () => TcpSocket.open(family, { mptcp: "yes" as never });
    expect(open).toThrow(expect.objectContaining({ code: "ERR_OPTION_VALUE" }));
  });

  it("memory grows with what is received", async () => {
    await withConnection(
      family,
      () => {},
      (accepted, client) => {
        expect(accepted.getsockopt("memory").receiveAllocatedBytes).toBe(0);
        client.send(new Uint8Array(1000));
        expect(accepted.getsockopt("memory").receiveAllocatedBytes).toBeGreaterThan(1000);
      },
    );
  });

  it("congestionInformation depends on the algorithm", () => {
    using socket = TcpSocket.open(family, { congestion: "reno" });
    expect(socket.getsockopt("congestionInformation")).toEqual({});
    const available = readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8");
    if (!/\bbbr\b/.test(available)) return;
    socket.setsockopt("congestion", "bbr");
    const names = byName("congestionInformation").fields.slice(0, 4);
    expect(Object.keys(socket.getsockopt("congestionInformation"))).toEqual(names);
  });
});

it("originalDestination is where a redirected connection was going", async (context) => {
  needsNamespaces(context);
  const args = [new URL("../support/programs/redirected.mjs", import.meta.url).pathname];
  const { status, stdout, stderr } = await runInNamespace("32768 60999", process.execPath, args);
  if (stderr.includes("nft: ")) return context.skip("needs nft (nftables) and a kernel with its NAT");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const results: { asked: Address; reported: Address }[] = JSON.parse(stdout);
  expect(results.map(({ asked }) => asked.family)).toEqual([4, 6]);
  for (const { asked, reported } of results) expect(reported).toEqual(asked);
});

describe("errors of options", () => {
  it("an unknown congestion control names the sysctl and its values", () => {
    using socket = TcpSocket.open(4);
    const error = catchError(() => socket.setsockopt("congestion", "no-such-algorithm")) as SocketError;
    expect(["ENOENT", "EPERM"]).toContain(error.code);
    expect(error.message).toContain('TCP_CONGESTION "no-such-algorithm", use one of net.ipv4.tcp_');
    expect(error.message).toMatch(/_congestion_control \(.*\breno\b.*\)/);
  });

  it("an unknown upper layer protocol names the sysctl", async () => {
    await withConnection(
      4,
      () => {},
      (_, client) => {
        const error = catchError(() => client.setsockopt("upperLayerProtocol", "no-such")) as SocketError;
        expect(error).toMatchObject({ code: "ENOENT" });
        expect(error.message).toContain("net.ipv4.tcp_available_ulp");
        expect(client.getsockopt("upperLayerProtocol")).toBe("");
      },
    );
  });

  it("a misspelt word names the near miss", () => {
    using socket = TcpSocket.open(4);
    const error = catchError(() => socket.setsockopt("pathMtuDiscovery", "prob" as never)) as Error;
    expect(error).toMatchObject({ code: "ERR_OPTION_VALUE" });
    expect(error.message).toContain('use "probe", one of');
  });
});

describe("raw options", () => {
  const { IPPROTO_TCP, TCP_KEEPCNT, TCP_REPAIR } = socketConstants() as Record<string, number>;

  it.each(FAMILIES)("IPv%i: set and read in the kernel's own bytes", (family) => {
    using socket = TcpSocket.open(family);
    socket.rawSetsockopt(IPPROTO_TCP!, TCP_KEEPCNT!, new Uint8Array(Int32Array.of(7).buffer));
    expect(socket.getsockopt("keepAliveProbes")).toBe(7);
    const bytes = socket.rawGetsockopt(IPPROTO_TCP!, TCP_KEEPCNT!, 4);
    expect(new DataView(bytes.buffer).getInt32(0, new Uint8Array(Uint16Array.of(1).buffer)[0] === 1)).toBe(7);
    expect(socket.rawGetsockopt(IPPROTO_TCP!, TCP_REPAIR!, 4)).toHaveLength(4);
  });

  it("the kernel's errno names level and option", () => {
    using socket = TcpSocket.open(4);
    const error = catchError(() => socket.rawGetsockopt(IPPROTO_TCP!, 10_000, 4)) as SocketError;
    expect(error).toMatchObject({ code: "ENOPROTOOPT", syscall: "getsockopt" });
    expect(error.message).toContain(`level ${IPPROTO_TCP}, option 10000`);
    const set = catchError(() =>
      socket.rawSetsockopt(IPPROTO_TCP!, TCP_KEEPCNT!, new Uint8Array(1)),
    ) as Error;
    expect(set).toMatchObject({ code: "EINVAL", syscall: "setsockopt" });
    expect(set.message).toContain("TCP_KEEPCNT");
  });

  it("a constant that is not there, a wrong length and wrong bytes are programmer errors", () => {
    using socket = TcpSocket.open(4);
    const { NO_SUCH } = socketConstants() as Record<string, number>;
    const code = (use: () => unknown) => catchError(use) as { code?: string };
    expect(code(() => socket.rawGetsockopt(IPPROTO_TCP!, NO_SUCH!, 4)).code).toBe("ERR_OPTION_CONSTANT");
    expect(code(() => socket.rawSetsockopt(-1, 1, new Uint8Array(4))).code).toBe("ERR_OPTION_CONSTANT");
    expect(code(() => socket.rawGetsockopt(IPPROTO_TCP!, 1, -1)).code).toBe("ERR_OPTION_VALUE");
    expect(code(() => socket.rawSetsockopt(IPPROTO_TCP!, 1, "1" as never)).code).toBe("ERR_OPTION_VALUE");
  });
});

/** Names in the pages that are no options: levels of errors, values, other systems' names, internals. */
const NO_OPTIONS = [
  /^SO_EE_/,
  /^SO_AT$/,
  /^IP_PMTUDISC_/,
  "IP_MSFILTER_SIZE", // A macro.
  "IP_RCVDSTADDR", // FreeBSD's.
  "IP_RECVIF", // FreeBSD's.
  "TCP_SYNQ_HSIZE", // Of the kernel's source.
];

describe.each(["tcp", "ip", "ipv6", "socket"])("%s(7)", (page) => {
  it("each option of the page is in the table, or in the list with the reason", (context) => {
    const found = spawnSync("man", ["-E", "UTF-8", "7", page], {
      encoding: "utf8",
      env: { ...process.env, MANWIDTH: "400" },
    });
    if (found.status !== 0) return context.skip("no man pages: install man-db and manpages");
    const text = found.stdout.replace(/.\x08/g, "");
    const names = new Set(text.match(/\b(SO|TCP|IP|IPV6|IP6T)_[A-Z0-9_]+\b/g));
    expect(names.size).toBeGreaterThan(15);
    const known = new Set([...optionTable().map((row) => row.constant), ...Object.keys(otherOptions())]);
    const isNoOption = (name: string) =>
      NO_OPTIONS.some((one) => (typeof one === "string" ? one === name : one.test(name)));
    expect([...names].filter((name) => !known.has(name) && !isNoOption(name))).toEqual([]);
  });
});
