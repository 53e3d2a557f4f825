/** punch(): on one host, and over network namespaces with a NAT between them. */
import { spawnSync } from "node:child_process";
import type { TestContext } from "vitest";
import { describe, expect, it, vi } from "vitest";
import { punch } from "../../lib/guard/punch.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { command, deadPeer, FAMILIES, LOOPBACK, needsNamespaces } from "../support/harness.ts";

const PROGRAM = new URL("../support/programs/punch.mjs", import.meta.url).pathname;
const TIMES = 20;

/**
 * Three namespaces: inside - NAT - outside. The NAT masquerades what comes from inside, and drops what comes from
 * outside unasked, as home routers do. "$@" runs with the names of the first and the last in INSIDE and OUTSIDE.
 */
const NAT = `set -e
hold() { unshare -n sleep 1000 & eval "$1=$!"; }
hold inside; hold outside
trap 'kill $inside $outside' EXIT
while [ /proc/$inside/ns/net -ef /proc/self/ns/net ] || [ /proc/$outside/ns/net -ef /proc/self/ns/net ]; do sleep 0.01; done
on() { at=$1; shift; nsenter -t $at -n "$@"; }
ip link set lo up
ip link add n1 type veth peer name e1 netns $inside; ip link add n2 type veth peer name e2 netns $outside
ip address add 10.9.1.1/24 dev n1; ip link set n1 up; ip address add 10.9.2.1/24 dev n2; ip link set n2 up
on $inside ip link set lo up; on $inside ip address add 10.9.1.2/24 dev e1; on $inside ip link set e1 up
on $inside ip route add default via 10.9.1.1
on $outside ip link set lo up; on $outside ip address add 10.9.2.2/24 dev e2; on $outside ip link set e2 up
echo 1 > /proc/sys/net/ipv4/ip_forward
nft -f - <<'RULES'
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "n2" masquerade; }
  chain in { type filter hook input priority filter; iifname "n2" ct state new drop; }
}
RULES
export INSIDE=$inside OUTSIDE=$outside
"$@"`;

const BOTH_SIDES = `set -e
nsenter -t $INSIDE -n "$@" 10.9.1.2:20000 10.9.2.2:30000 $LISTEN inside ${TIMES} > $TMP & one=$!
nsenter -t $OUTSIDE -n "$@" 10.9.2.2:30000 10.9.2.1:20000 $LISTEN outside ${TIMES}
wait $one; cat $TMP`;

function needsNat(context: TestContext): void {
  needsNamespaces(context);
  const probe = ["-rn", "sh", "-c", "unshare -n true && nft add table ip selfconnect"];
  const { status, stderr, error } = spawnSync("unshare", probe, { encoding: "utf8" });
  if (status !== 0) context.skip(`no NAT here: needs nft (nftables): ${error?.message ?? stderr.trim()}`);
}

/** Two addresses of this host for two sides. */
function pairOf(family: 4 | 6): [Address, Address] {
  return [deadPeer(family, "other"), deadPeer(family)];
}

describe.each(FAMILIES)("punch over IPv%i", (family) => {
  it("joins two sides", async () => {
    const [one, other] = pairOf(family);
    const [mine, theirs] = await Promise.all([punch(one, other), punch(other, one)]);
    expect(mine.socket.getpeername()).toEqual(other);
    expect(theirs.socket.getpeername()).toEqual(one);
    expect(mine).toMatchObject({ local: one, peer: other });
    expect(mine.attempts.at(-1)).toMatchObject({ outcome: "connected", local: one });
    mine.socket.send(Buffer.from("hello"));
    const bytes = new Uint8Array(5);
    await expect.poll(() => theirs.socket.recv(bytes)).toBe(5);
    mine.socket.reset();
    theirs.socket.reset();
  });

  it("control: where nothing drops or delays a SYN, it is refused at once, and only a listener can meet it", async () => {
    const [one, other] = pairOf(family);
    const options = { listen: false, deadlineMs: 500 };
    const sides = [punch(one, other, options), punch(other, one, options)];
    for (const { status } of await Promise.allSettled(sides)) expect(status).toBe("rejected");
    await expect(sides[0]).rejects.toMatchObject({
      code: "ERR_DEADLINE",
      attempts: expect.arrayContaining([expect.objectContaining({ outcome: "ECONNREFUSED" })]),
    });
  });

  it("refuses a peer that is its own address, and leaves the port free", async () => {
    const peer = deadPeer(family);
    const any = { ...peer, host: family === 4 ? "0.0.0.0" : "::" };
    for (const local of [peer, any]) {
      await expect(punch(local, peer)).rejects.toMatchObject({
        code: "ERR_SELF_CONNECT",
        attempts: [{ outcome: "self-connect", peer, local, elapsedMs: expect.closeTo(0, -2) }],
      });
      expect(listenRefusal(peer)).toBe(null);
    }
  });

  it("ends at the deadline, and when the signal aborts", async () => {
    const [local, peer] = pairOf(family);
    const { code, attempts } = await punch(local, peer, { deadlineMs: 50 }).catch((error) => error);
    expect(code).toBe("ERR_DEADLINE");
    for (const attempt of attempts) {
      expect(attempt).toMatchObject({ outcome: "ECONNREFUSED", peer, local });
      expect(attempt.elapsedMs).toBeLessThan(performance.now());
    }
    const signal = AbortSignal.timeout(50);
    await expect(punch(local, peer, { signal })).rejects.toThrow("timeout");
    const aborted = AbortSignal.abort(new Error("enough"));
    await expect(punch(local, peer, { signal: aborted })).rejects.toThrow("enough");
    expect(listenRefusal(local)).toBe(null);
  });

  it("resets no connection of a peer whose SYN arrives just as an attempt ends", async () => {
    const [local, peer] = pairOf(family);
    const shared = { reuseAddress: true, reusePort: true };
    // A listener that drops each SYN, as a NAT does: the attempts get no reply.
    const silence = family === 4 ? { minTimeToLive: 255 } : { minHopCount: 255 };
    using silent = TcpSocket.open(family, { ...shared, ...silence })
      .bind(peer)
      .listen();
    using crossing = TcpSocket.open(family, shared).bind(peer);
    const read = TcpSocket.prototype.getsockopt;
    const spy = vi.spyOn(TcpSocket.prototype, "getsockopt").mockImplementation(function (
      this: TcpSocket,
      name,
    ) {
      const value = read.call(this, name);
      const isUnanswered = (value as { state?: string }).state === "SYN-SENT";
      if (isUnanswered && crossing.state === "unconnected") crossing.connect(local);
      return value;
    });
    try {
      const { socket } = await punch(local, peer);
      await crossing.connected();
      expect(silent.accept()).toBe(null);
      crossing.send(Buffer.from("hello"));
      expect(await socket.receiveExactly(5)).toEqual(new Uint8Array(Buffer.from("hello")));
      socket.reset();
    } finally {
      spy.mockRestore();
    }
  });

  it("takes no connection of somebody else's", async () => {
    const [local, peer] = pairOf(family);
    const punching = punch(local, peer, { deadlineMs: 300 });
    const stranger = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 });
    stranger.connect(local);
    await stranger.connected();
    // Of one that has gone already the kernel no longer reports the peer.
    const gone = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 });
    gone.connect(local);
    gone.reset();
    await expect(punching).rejects.toMatchObject({ code: "ERR_DEADLINE" });
    stranger.reset();
  });
});

it("punch reports at once what waiting does not change", async () => {
  const [local, peer] = pairOf(4);
  using holder = TcpSocket.open(4).bind(local);
  await expect(punch(holder.getsockname(), peer)).rejects.toMatchObject({
    code: "EADDRINUSE",
    syscall: "bind",
  });
  await expect(punch(local, peer, { deadline: 5 } as object)).rejects.toThrow(
    'not an option of punch(): did you mean "deadlineMs"?',
  );
  await expect(punch(local, peer, { deadlineMs: -1 })).rejects.toMatchObject({
    code: "ERR_INVALID_DEADLINE",
  });
});

it.for(["listen", "silent"])(
  `punches through a NAT, ${TIMES} of ${TIMES}, %s`,
  { timeout: 120_000 },
  async (listen, context) => {
    needsNat(context);
    const script = `TMP=$(mktemp) && trap 'rm -f $TMP' EXIT; LISTEN=${listen}\n${BOTH_SIDES}`;
    const parts = ["sh", "-c", script, "sh", process.execPath, PROGRAM];
    const { stdout, stderr } = await command("unshare", ["-rn", "sh", "-c", NAT, "sh", ...parts]);
    expect(stderr).toBe("");
    const expected = ["inside", "outside"].flatMap((word) =>
      Array.from({ length: TIMES }, (_, i) => `${word} ${i}`),
    );
    expect(stdout.trim().split("\n")).toEqual(expected);
  },
);
