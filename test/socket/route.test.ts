/** The route decides whether a connect can be joined to itself. The control is the kernel: what a plain connect does. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { canSelfConnect, pickRouting, sourceAddress } from "../../lib/socket/route.ts";
import { command, FAMILIES, LOOPBACK, needsNamespaces, withNative } from "../support/harness.ts";

const library = (name: string) => JSON.stringify(new URL(`../../dist/${name}`, import.meta.url).href);

/** Asks for each address, then makes the one connect that the range of one port allows. */
const PROGRAM = `
  import { TcpSocket } from ${library("index.js")};
  import { canSelfConnect, isOwnAddress } from ${library("kernel/index.js")};
  const results = {};
  for (const text of process.argv.slice(1)) {
    const [host, local] = text.split(" from ");
    const family = host.includes(":") ? 6 : 4;
    const peer = { family, host, port: 40100 };
    const socket = TcpSocket.open(family, { bindAddressNoPort: true });
    if (local) socket.bind({ family, host: local, port: 0 });
    const can = canSelfConnect(peer, local ? { local: { family, host: local, port: 0 } } : {});
    let did = false;
    try {
      if (socket.connect(peer) === "in-progress") await socket.connected({ deadlineMs: 100 });
      did = socket.isSelfConnected();
    } catch {}
    socket.reset();
    results[text] = [can, did, isOwnAddress(peer)];
  }
  console.log(JSON.stringify(results));`;

const SETUP = `
  ip link set lo up
  ip addr add 127.0.0.2/32 dev lo
  ip route add local 10.1.0.0/16 dev lo
  ip route add local 10.2.0.0/16 dev lo src 127.0.0.1
  ip addr add 10.3.0.1/24 dev lo && ip addr add 10.3.0.2/24 dev lo
  ip route add local fd00:1::/64 dev lo
  echo 40100 40100 > /proc/sys/net/ipv4/ip_local_port_range
  exec "$@"`;

describe("canSelfConnect", () => {
  it("is what the kernel then does, for every kind of own address", async (context) => {
    needsNamespaces(context);
    const hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3 from 127.0.0.3", "0.0.0.0", "::1", "::"];
    const routed = ["10.1.2.3", "10.2.0.1", "10.3.0.1", "10.3.0.2", "fd00:1::7", "10.1.2.3 from 127.0.0.1"];
    const others = ["192.0.2.1", "::ffff:127.0.0.1"];
    const asked = [...hosts, ...routed, ...others];
    const script = ["--input-type=module", "-e", PROGRAM, "--", ...asked];
    const args = ["-rn", "sh", "-c", SETUP, "sh", process.execPath, ...script];
    const { stdout, stderr } = await command("unshare", args);
    expect(stderr).toBe("");
    const results = JSON.parse(stdout) as Record<string, [can: boolean, did: boolean, isOwn: boolean]>;
    for (const [host, [can, did]] of Object.entries(results)) expect([host, can]).toEqual([host, did]);
    const possible = asked.filter((host) => results[host]![0]);
    const impossible = [
      "127.0.0.3",
      "10.2.0.1",
      "10.1.2.3 from 127.0.0.1",
      "192.0.2.1",
      "10.3.0.2",
      "fd00:1::7",
    ];
    expect(possible).toEqual(asked.filter((host) => !impossible.includes(host)));
    const own = ["127.0.0.3", "10.1.2.3", "10.2.0.1", "10.3.0.2", "::1"].map((host) => results[host]![2]);
    expect(own, "isOwnAddress()").toEqual([true, true, true, true, true]);
    expect(results["192.0.2.1"]![2]).toBe(false);
  });
});

describe("sourceAddress", () => {
  const peerOf = (family: 4 | 6): Address => ({ family, host: LOOPBACK[family], port: 50_000 });

  it.each(FAMILIES)("is the loopback address for itself (IPv%i)", (family) => {
    expect(sourceAddress(peerOf(family))?.host).toBe(LOOPBACK[family]);
    expect(sourceAddress(peerOf(4), { local: { family: 4, host: "127.0.0.9", port: 1 } })?.host).toBe(
      "127.0.0.9",
    );
    expect(sourceAddress(peerOf(4), { options: { device: "lo", noDelay: true } })?.host).toBe("127.0.0.1");
  });

  it("is null without a route or a local address of this host, and an error when nobody answers", async () => {
    const { ENETUNREACH, EMFILE } = os.constants.errno;
    expect(sourceAddress(peerOf(4), { local: { family: 4, host: "192.0.2.1", port: 0 } })).toBe(null);
    await withNative({ sourceAddress: () => -ENETUNREACH }, () => {
      expect(sourceAddress(peerOf(4))).toBe(null);
      expect(canSelfConnect(peerOf(4))).toBe(false);
    });
    await withNative({ datagramSocket: () => -EMFILE }, () => {
      expect(() => canSelfConnect(peerOf(4))).toThrow(expect.objectContaining({ code: "EMFILE" }));
    });
  });

  it("depends on few options", () => {
    expect(pickRouting({ noDelay: true })).toBe(undefined);
    expect(pickRouting({ noDelay: true, mark: 7, device: "lo" })).toEqual({ device: "lo", mark: 7 });
  });
});
