/** Whether EADDRNOTAVAIL is real: the ports of one range, from one address, towards one peer. */
import { describe, expect, it } from "vitest";
import { countPorts, recognize } from "../../lib/kernel/exhaustion.ts";
import type { TableSocket } from "../../lib/kernel/tables.ts";
import { parseAddress } from "../../lib/socket/address.ts";
import { needsNamespaces, runInNamespace } from "../support/harness.ts";

const DOORS = new URL("../../dist/", import.meta.url).href;

/** A socket of the table, as its addresses and its state. */
function socket(local: string, peer: string, state: TableSocket["state"] = "ESTABLISHED"): TableSocket {
  const row = { local: parseAddress(local), peer: parseAddress(peer) };
  const { port } = row.local;
  const path = `${row.local.host} ${peer}`;
  return {
    ...{ state, localPort: port, peerPort: row.peer.port, isJoined: false, path },
    ...{ inode: 0, timerMs: 0, isV6Only: false, isMultipath: false },
    keep: () => () => row as never,
  };
}

describe("a port is in the way", () => {
  const isInTheWay = recognize(parseAddress("127.0.0.1:104"), parseAddress("127.0.0.5:0"));
  it.each([
    [true, "of the same four-tuple", socket("127.0.0.5:101", "127.0.0.1:104")],
    [true, "in the v4-mapped form", socket("[::ffff:127.0.0.5]:101", "[::ffff:127.0.0.1]:104")],
    [true, "of any listener", socket("127.0.0.9:100", "0.0.0.0:0", "LISTEN")],
    [true, "of a socket that is only bound", socket("127.0.0.9:100", "0.0.0.0:0", "CLOSED")],
    [false, "never for another source address", socket("127.0.0.6:101", "127.0.0.1:104")],
    [false, "never for another peer", socket("127.0.0.5:101", "127.0.0.2:104")],
    [false, "never for another port of the peer", socket("127.0.0.5:101", "127.0.0.1:105")],
  ] as const)("%s: %s", (expected, _name, one) => {
    expect(isInTheWay(one)).toBe(expected);
    expect(isInTheWay(one), "remembered").toBe(expected);
  });

  it("when it is reserved, and each counts once", () => {
    const reserved = [{ low: 109, high: 120 }];
    expect(countPorts([104, 100, 101, 101, 99], { low: 100, high: 110 }, reserved)).toBe(5);
  });
});

/** Runs a program in a namespace with a range of eight ports, and returns what it prints. */
async function runWithEightPorts(program: string) {
  const source = `
    import { TcpSocket, connect, dial } from "${DOORS}index.js";
    import { exhaustion } from "${DOORS}kernel/index.js";
    const peer = "127.0.0.1:4711";
    const listener = TcpSocket.open(4).bind(peer).listen();
    const open = (local, to = peer, options = {}) => {
      const socket = TcpSocket.open(4, options).bind(local);
      if (to) socket.connect(to);
      return socket;
    };
    const ask = async (input) => {
      const { portsInUse, isReal, text } = await exhaustion(peer, input);
      return { portsInUse, isReal, text };
    };
    ${program}`;
  const { stdout, stderr } = await runInNamespace("40000 40007", process.execPath, [
    "--input-type=module",
    "-e",
    source,
  ]);
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

describe("a range of eight ports", () => {
  it("is not exhausted while one port is free, and counts for each source address alone", async (context) => {
    needsNamespaces(context);
    const found = await runWithEightPorts(`
      const held = [];
      for (let port = 40000; port < 40007; port++) held.push(open("127.0.0.1:" + port, peer));
      const before = await ask({});
      held.push(open("127.0.0.1:0", peer, { bindAddressNoPort: true }));
      console.log(JSON.stringify({ before, after: await ask({}) }));
      process.exit();`);
    expect(found.before).toMatchObject({ portsInUse: 7, isReal: false });
    expect(found.after).toMatchObject({ portsInUse: 8, isReal: true });
    expect(found.after.text).toContain(
      "8 of the 8 ports of the ephemeral range 40000-40007 are in use from 127.0.0.1 towards this peer",
    );
  });

  it("is exhausted when sockets that were bound first hold it, whatever their peer", async (context) => {
    needsNamespaces(context);
    const found = await runWithEightPorts(`
      const other = TcpSocket.open(4).bind("127.0.0.1:4712").listen();
      const held = [];
      for (let port = 40000; port < 40008; port++) held.push(open("127.0.0.1:" + port, "127.0.0.1:4712"));
      const error = await dial(peer, { attempts: 3 }).catch((error) => error);
      const { code, syscall, message } = error;
      console.log(JSON.stringify({ ...await ask({}), code, syscall, message }));
      process.exit();`);
    expect(found).toMatchObject({ portsInUse: 0, isReal: true, code: "EADDRNOTAVAIL", syscall: "connect" });
    expect(found.message).toContain("sockets that were bound first hold the others");
  });

  it("is the socket's own range where it has one", async (context) => {
    needsNamespaces(context);
    const found = await runWithEightPorts(`
      const options = { localPortRange: { low: 40002, high: 40003 } };
      const held = [open("127.0.0.1:40002"), open("127.0.0.1:40003")];
      const own = await ask({ options });
      const elsewhere = await ask({ options, local: { family: 4, host: "127.0.0.2", port: 0 } });
      console.log(JSON.stringify({ own, elsewhere }));
      process.exit();`);
    expect(found.own).toMatchObject({ portsInUse: 2, isReal: true });
    expect(found.own.text).toContain("2 of the 2 ports of the socket's own range 40002-40003");
    expect(found.elsewhere).toMatchObject({ portsInUse: 0, isReal: true });
  });

  it("without a port for bind(2) to port 0 says so, through every door", async (context) => {
    needsNamespaces(context);
    const found = await runWithEightPorts(`
      const held = [];
      for (let port = 40000; port < 40008; port++) held.push(open("127.0.0.1:" + port, null));
      const messages = {};
      try { open("127.0.0.1:0", null); } catch ({ message }) { messages.socket = message; }
      try { open("127.0.0.1:40000", null); } catch ({ message }) { messages.control = message; }
      const to = { port: 4711, host: "127.0.0.1", localAddress: "127.0.0.1" };
      const failConnect = (more) => new Promise((resolve) =>
        connect({ ...to, ...more, guard: "detect" }).on("error", ({ message }) => resolve(message)));
      messages.stream = await failConnect({});
      messages.fixed = await failConnect({ localPort: 40000 });
      console.log(JSON.stringify(messages));
      process.exit();`);
    const fix = "no port of the ephemeral range is free at this address";
    expect(found.socket).toMatch(/^bind EADDRINUSE 127\.0\.0\.1:0 /);
    expect(found.socket).toContain(fix);
    expect(found.stream).toMatch(/^connect EADDRINUSE 127\.0\.0\.1:4711/);
    expect(found.stream).toContain(fix);
    expect(found.control).toContain("another socket has the port");
    expect(found.fixed).not.toContain(fix);
  });
});
