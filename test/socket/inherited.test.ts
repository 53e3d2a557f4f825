/** Sockets from outside: inherited descriptors, sockets of other threads and of other network namespaces. */
import { spawn } from "node:child_process";
import cluster from "node:cluster";
import dgram from "node:dgram";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { SocketError } from "../../lib/socket/errors.ts";
import type { SocketTransfer } from "../../lib/socket/inherited.ts";
import { checkHandover, checkStreamable, describeOtherKind } from "../../lib/socket/inherited.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import {
  catchError,
  command,
  deadPeer,
  deadPort,
  FAMILIES,
  LOOPBACK,
  needsNamespaces,
  needsRoot,
  withNative,
} from "../support/harness.ts";

const LIBRARY = new URL("../../dist/index.js", import.meta.url).href;

/** A connected pair; both ends are closed by `using`. */
async function pair(family: 4 | 6): Promise<{ client: TcpSocket; server: TcpSocket }> {
  using listener = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 }).listen();
  const client = TcpSocket.open(family);
  client.connect(listener.getsockname());
  await client.connected();
  for (;;) {
    const server = listener.accept();
    if (server) return { client, server };
    await sleep(1);
  }
}

describe.each(FAMILIES)("TcpSocket.fromFd() over IPv%i", (family) => {
  const local = { family, host: LOOPBACK[family], port: 0 } as const;

  it("finds the state that the kernel reports, and the socket goes on working", async () => {
    const { client, server } = await pair(family);
    using adopted = TcpSocket.fromFd(client.release());
    expect(adopted.state).toBe("connected");
    expect(adopted.getpeername()).toEqual(server.getsockname());
    adopted.send(new Uint8Array([7]));
    const into = new Uint8Array(1);
    while (server.recv(into) === null) await sleep(1);
    expect(into[0]).toBe(7);
    server.close();

    using listener = TcpSocket.fromFd(TcpSocket.open(family).bind(local).listen().release());
    expect(listener.state).toBe("listening");
    expect(listener.accept()).toBeNull();

    using fresh = TcpSocket.fromFd(TcpSocket.open(family).bind(local).release());
    expect(fresh.state).toBe("unconnected");
    expect(fresh.listen().state).toBe("listening");
  });

  it("of a connect in progress needs its peer; without it the descriptor is still the caller's", async () => {
    using full = TcpSocket.open(family).bind(local).listen(0);
    const peer = full.getsockname();
    using filler = TcpSocket.open(family);
    filler.connect(peer);
    using waiting = TcpSocket.open(family);
    // The backlog of 0 holds one connection; this SYN is not answered.
    waiting.connect(peer);
    const fd = waiting.release();
    expect(catchError(() => TcpSocket.fromFd(fd))).toMatchObject({ code: "ERR_PEER_UNKNOWN" });
    using adopted = TcpSocket.fromFd(fd, peer);
    expect(adopted.state).toBe("connecting");
    full.accept()?.close();
    await adopted.connected({ deadlineMs: 20_000 });
    expect(adopted.getpeername()).toEqual(peer);
  });
});

describe.each(FAMILIES)("the peer that TcpSocket.fromFd() is given over IPv%i", (family) => {
  it("is that of a connect which has been refused since: connected() says so", async () => {
    const peer = deadPeer(family, "other");
    const refused = TcpSocket.open(family);
    refused.connect(peer);
    while (refused.getsockopt("information").state !== "CLOSED") await sleep(1);
    using adopted = TcpSocket.fromFd(refused.release(), peer);
    await expect(adopted.connected()).rejects.toMatchObject({ code: "ECONNREFUSED", peer });
  });

  it("is of the socket's family, or else the descriptor is still the caller's", () => {
    const fd = TcpSocket.open(family).release();
    const other = deadPeer(family === 4 ? 6 : 4, "other");
    expect(catchError(() => TcpSocket.fromFd(fd, other))).toMatchObject({ code: "ERR_INVALID_ADDRESS" });
    using kept = TcpSocket.fromFd(fd);
    expect([kept.fd, kept.state]).toEqual([fd, "unconnected"]);
  });
});

describe("TcpSocket.fromFd() refuses", () => {
  it("what is no descriptor, closed, a file, UDP, a Unix domain socket; and keeps hands off it", async () => {
    const file = openSync("/dev/null", "r");
    const udp = dgram.createSocket("udp4");
    udp.bind(0, "127.0.0.1");
    await once(udp, "listening");
    const unix = net.createServer().listen(`\0selfconnect-${process.pid}`);
    await once(unix, "listening");
    const fdOf = (holder: object) => (holder as { _handle: { fd: number } })._handle.fd;
    const udpFd = readdirSync("/proc/self/fd").map(Number).find(isSocketOf(udp.address().port));
    const wrong: [unknown, string][] = [
      ["3", "ERR_INVALID_FD"],
      [-1, "ERR_INVALID_FD"],
      [1.5, "ERR_INVALID_FD"],
      [2 ** 32, "ERR_INVALID_FD"],
      [65_000, "ERR_INVALID_FD"],
      [file, "ERR_NOT_TCP"],
      [fdOf(unix), "ERR_NOT_TCP"],
      [udpFd, "ERR_NOT_TCP"],
    ];
    for (const [fd, code] of wrong) {
      expect(
        catchError(() => TcpSocket.fromFd(fd as number)),
        `fd ${fd}`,
      ).toMatchObject({ code });
    }
    closeSync(file);
    udp.close();
    unix.close();
  });

  it("one that a TcpSocket owns", () => {
    using owner = TcpSocket.open(4);
    expect(catchError(() => TcpSocket.fromFd(owner.fd))).toMatchObject({ code: "ERR_FD_OWNED" });
    expect(owner.getsockname().port).toBe(0);
  });
});

/** Finds the UDP socket on a port: its inode stands in /proc/net/udp. */
function isSocketOf(port: number): (fd: number) => boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const row = readFileSync("/proc/net/udp", "utf8")
    .split("\n")
    .find((line) => line.includes(`:${hex} `));
  const inode = row!.trim().split(/\s+/)[9];
  return (fd) =>
    catchError(() => readlinkSync(`/proc/self/fd/${fd}`)) === undefined &&
    readlinkSync(`/proc/self/fd/${fd}`) === `socket:[${inode}]`;
}

/** Runs a program with a blocking, inheritable listener as fd 3. */
const WITH_LISTENER = `
import os, socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
os.dup2(listener.fileno(), 9)
os.dup2(9, 3)
os.execv(sys.argv[1], sys.argv[1:])
`;

it("an inherited descriptor becomes nonblocking, and closed in programs that this one starts", async () => {
  const script = `
    import(process.argv[1]).then(({ TcpSocket }) => {
      const { readFileSync } = require("node:fs");
      const flags = () => parseInt(/flags:\\s*(\\d+)/.exec(readFileSync("/proc/self/fdinfo/3", "utf8"))[1], 8);
      const before = flags() & 0o4000;
      const socket = TcpSocket.fromFd(3);
      console.log(JSON.stringify([socket.state, before, flags() & 0o4000, flags() & 0o2000000]));
    });`;
  const args = ["-c", WITH_LISTENER, process.execPath, "-e", script, LIBRARY];
  const { stdout, stderr } = await command("python3", args);
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual(["listening", 0, 0o4000, 0o2000000]);
});

describe("transfer()", () => {
  it("a worker goes on with a connected socket, and gives it back before it ends", async () => {
    const { client, server } = await pair(4);
    const local = client.getsockname();
    const transfer = client.transfer();
    expect(client.state).toBe("closed");
    const script = `
      const { workerData, parentPort } = require("node:worker_threads");
      import(workerData.library).then(({ TcpSocket }) => {
        const socket = TcpSocket.fromTransfer(workerData.transfer);
        socket.send(Buffer.from("from the worker"));
        parentPort.postMessage({ state: socket.state, local: socket.getsockname(), back: socket.transfer() });
      });`;
    const worker = new Worker(script, { eval: true, workerData: { library: LIBRARY, transfer } });
    const [[message]] = (await Promise.all([once(worker, "message"), once(worker, "exit")])) as [
      [never],
      unknown,
    ];
    const { state, local: seen, back } = message as { state: string; local: object; back: SocketTransfer };
    expect({ state, seen }).toEqual({ state: "connected", seen: local });
    // The worker has ended, and the socket that it gave back lives.
    using again = TcpSocket.fromTransfer(back);
    const bytes = new Uint8Array(15);
    while (server.recv(bytes) === null) await sleep(1);
    expect(new TextDecoder().decode(bytes)).toBe("from the worker");
    server.send(bytes);
    while (again.recv(bytes) === null) await sleep(1);
    server.close();
  });

  it("keeps the peer of a connect in progress, and ends waits for it here", async () => {
    using full = TcpSocket.open(4).bind("127.0.0.1:0").listen(0);
    const peer = full.getsockname();
    using filler = TcpSocket.open(4);
    filler.connect(peer);
    const waiting = TcpSocket.open(4);
    waiting.connect(peer);
    const wait = waiting.connected().catch((error) => error);
    await sleep(1);
    const transfer = waiting.transfer();
    expect(await wait).toMatchObject({
      code: "ERR_SOCKET_CLOSED",
      message: expect.stringContaining("transfer()"),
    });
    using taken = TcpSocket.fromTransfer(structuredClone(transfer));
    expect(taken.state).toBe("connecting");
  });

  it("takes the options of accepted sockets along", async () => {
    const listener = TcpSocket.open(4)
      .bind(LOOPBACK[4])
      .listen(5, { acceptedOptions: { priority: 5 } });
    using taken = TcpSocket.fromTransfer(structuredClone(listener.transfer()));
    using connecting = TcpSocket.open(4);
    connecting.connect(taken.getsockname());
    using accepted = await taken.accepted();
    expect(accepted.getsockopt("priority")).toBe(5);
  });

  it("is used once, in this process, and by nobody who guesses", () => {
    const transfer = TcpSocket.open(4).transfer();
    const taken = TcpSocket.fromTransfer(transfer);
    const wrong = [
      transfer,
      { ...transfer, ticket: 2 ** 30 },
      { ...transfer, ticket: 2 ** 40 },
      { ...transfer, pid: process.pid + 1 },
      {},
      undefined,
    ];
    for (const one of wrong) {
      expect(catchError(() => TcpSocket.fromTransfer(one as SocketTransfer))).toMatchObject({
        code: "ERR_INVALID_TRANSFER",
      });
    }
    expect(catchError(() => TcpSocket.fromTransfer({ ...transfer, pid: process.pid + 1 }))).toMatchObject({
      message: expect.stringContaining("child.send()"),
    });
    taken.close();
  });

  it("one that nobody takes does not keep the process alive", async () => {
    const script = `import(process.argv[1]).then(({ TcpSocket }) => void TcpSocket.open(4).transfer());`;
    expect(await command(process.execPath, ["-e", script, LIBRARY])).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
  });
});

describe("a socket of another network namespace", () => {
  /** Runs `use` while a process holds a namespace with loopback. */
  async function withNamespace(use: (namespace: string) => Promise<void>): Promise<void> {
    const holder = spawn("unshare", ["-rn", "sh", "-c", "ip link set lo up && echo up && exec cat"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    try {
      await once(holder.stdout, "data");
      await use(`/proc/${holder.pid}/ns/net`);
    } finally {
      holder.kill();
      await once(holder, "exit");
    }
  }

  it.for(
    FAMILIES,
  )("talks there, and no thread of this process has moved (IPv%i)", async (family, context) => {
    needsNamespaces(context);
    needsRoot(context, "setns(2)");
    await withNamespace(async (namespace) => {
      using listener = TcpSocket.open(family, { namespace, reuseAddress: true })
        .bind({ family, host: LOOPBACK[family], port: deadPort("other") })
        .listen();
      const peer = listener.getsockname();
      using outside = TcpSocket.open(family);
      outside.connect(peer);
      await expect(outside.connected()).rejects.toMatchObject({ code: "ECONNREFUSED" });
      using inside = TcpSocket.open(family, { namespace });
      inside.connect(peer);
      await inside.connected();
      expect(inside.getpeername()).toEqual(peer);
      const threads = readdirSync("/proc/self/task").map((task) =>
        readlinkSync(`/proc/self/task/${task}/ns/net`),
      );
      expect([...new Set(threads)]).toEqual([readlinkSync("/proc/self/ns/net")]);
      expect(threads).not.toContain(readlinkSync(namespace));
    });
  });

  it("without CAP_SYS_ADMIN there it is EPERM that names the capability", async (context) => {
    needsNamespaces(context);
    const script = `
      import(process.argv[1]).then(({ TcpSocket }) => {
        try { TcpSocket.open(4, { namespace: "/proc/self/ns/net" }); }
        catch ({ name, code, syscall, message }) { console.log(JSON.stringify({ name, code, syscall, message })); }
      });`;
    // In a new user namespace it is root, but not of the network namespace that it stays in.
    const args = ["-r", process.execPath, "-e", script, LIBRARY];
    const { stdout, stderr } = await command("unshare", args);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({ name: "SocketError", code: "EPERM", syscall: "setns" });
    expect(stdout).toContain("CAP_SYS_ADMIN");
  });

  it.each([
    ["/proc/self/no/such", "ENOENT", "open"],
    ["/proc/self/ns/pid", "EINVAL", "setns"],
    ["/dev/null", "EINVAL", "setns"],
  ])("%s is %s, and leaves nothing open", (namespace, code, syscall) => {
    const error = catchError(() => TcpSocket.open(4, { namespace }));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code, syscall, message: expect.stringContaining(namespace) });
  });

  it("a wrong name or value is a programmer error", () => {
    expect(() => TcpSocket.open(4, { namespace: 7 as never })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_NAMESPACE" }),
    );
    expect(() => TcpSocket.open(4, { namspace: "x" } as never)).toThrow('did you mean "namespace"?');
  });
});

describe("what is no socket to take over, or to hand on", () => {
  it.each([
    ["ENOTSOCK", /not a socket, but a file/],
    ["EPROTONOSUPPORT", /not of TCP/],
    ["EMFILE", null],
  ])("%s", (code, message) => {
    const described = describeOtherKind(code, 7);
    if (message === null) expect(described).toBe(null);
    else expect(described).toMatch(message);
  });

  it("a number that can be a descriptor is asked for, at both ends", () =>
    withNative({ inherit: () => -os.constants.errno.EMFILE }, () => {
      for (const fd of [0, 2 ** 31 - 1])
        expect(catchError(() => TcpSocket.fromFd(fd))).toMatchObject({ code: "EMFILE", syscall: "fcntl" });
      for (const fd of [-1, 2 ** 31]) {
        const message = expect.stringContaining(`fd ${fd} is not a file descriptor`);
        expect(catchError(() => TcpSocket.fromFd(fd))).toMatchObject({ code: "ERR_INVALID_FD", message });
      }
    }));

  it.each([
    ["listening", "use toServer()"],
    ["unconnected", "await connected() first"],
  ])("toStream() of a socket that is %s: %s", (state, fix) => {
    const message = expect.stringContaining(fix);
    expect(catchError(() => checkStreamable(state))).toMatchObject({ code: "ERR_NOT_CONNECTED", message });
  });

  it.each([
    ["connected", "use toStream()"],
    ["unconnected", "call bind() and listen() first"],
  ])("toServer() of a socket that is %s: %s", (state, fix) => {
    const message = expect.stringContaining(fix);
    const error = catchError(() => checkHandover(state, net.createServer()));
    expect(error).toMatchObject({ code: "ERR_NOT_LISTENING", message });
  });

  it.each([undefined, null, {}, new net.Socket()])("toServer() with what is no server: %o", (server) => {
    const error = catchError(() => checkHandover("listening", server as never));
    expect(error).toMatchObject({ code: "ERR_INVALID_SERVER" });
  });

  it("toServer() with a server that listens, and in a worker of node:cluster", () => {
    const server = net.createServer();
    const listens = Object.create(server, { listening: { value: true } });
    expect(catchError(() => checkHandover("listening", listens))).toMatchObject({
      code: "ERR_SERVER_LISTENING",
    });
    expect(catchError(() => checkHandover("listening", server))).toBe(undefined);
    const { isWorker } = cluster;
    try {
      Object.assign(cluster, { isWorker: true });
      expect(catchError(() => checkHandover("listening", server))).toMatchObject({
        code: "ERR_CLUSTER_WORKER",
      });
    } finally {
      Object.assign(cluster, { isWorker });
    }
  });

  it.each(
    FAMILIES,
  )("fromFd() of a socket that is joined to itself: nothing proves it apart (IPv%i)", (family) => {
    const self = deadPeer(family);
    const joined = TcpSocket.open(family).bind(self);
    joined.connect(self);
    using taken = TcpSocket.fromFd(joined.release());
    expect([taken.state, taken.isSelfConnected()]).toEqual(["connected", true]);
  });
});
