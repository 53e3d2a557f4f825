import { describe, expect, it } from "vitest";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { FAMILIES, needsNamespaces, runInNamespace } from "../support/harness.ts";

const DIST = new URL("../../dist/index.js", import.meta.url).href;

/** The kernel starts to timestamp packets a moment after the first socket has requested it. */
async function untilStamped(from: TcpSocket, to: TcpSocket): Promise<void> {
  for (let isStamped = false; !isStamped; ) {
    from.send(new Uint8Array(1));
    await to.readable();
    isStamped = to.recvmsg(new Uint8Array(1))!.receivedAtNs !== undefined;
  }
}

describe.each(FAMILIES)("recvmsg() over IPv%i", (family) => {
  it("reports when bytes arrived, and when others were sent and acknowledged", async () => {
    const [one, other] = await TcpSocket.pair(family);
    const into = new Uint8Array(200);
    other.reportMessages({ received: true });
    const before = BigInt(Date.now() - 1000) * 1_000_000n;
    expect(other.recvmsg(into)).toBeNull();
    await untilStamped(one, other);
    one.reportMessages({ sent: true, acknowledged: true });
    one.send(new Uint8Array(100));
    await other.readable();
    expect(other.recvmsg(into, { peek: true })).toMatchObject({ length: 100 });
    const { receivedAtNs, ...received } = other.recvmsg(into)!;
    expect(received).toEqual({ length: 100, isTruncated: false });
    const stages = [];
    while (stages.length < 2) {
      await one.readable({ deadlineMs: 5000 }); // A report makes the socket readable.
      const { report } = one.recvmsg(into, { errorQueue: true })!;
      expect(report).toMatchObject({ origin: "timestamp", data: 99 });
      expect(report!.atNs).toBeGreaterThan(before);
      stages.push(report!.stage);
    }
    expect(stages).toEqual(["sent", "acknowledged"]);
    expect(receivedAtNs).toBeGreaterThan(before);
    expect(one.recvmsg(into, { errorQueue: true })).toBeNull();
    one.reset();
    other.reset();
  });

  it("reports the times of one message that requested them, and of no other", async () => {
    const [one, other] = await TcpSocket.pair(family);
    const into = new Uint8Array(200);
    one.reportMessages({ requested: true });
    const halves = [new Uint8Array(20), new Uint8Array(30)];
    expect(one.sendmsg(halves)).toBe(50);
    expect(one.sendmsg(halves, { acknowledged: true })).toBe(50);
    expect(one.sendmsg(halves)).toBe(50);
    await one.readable({ deadlineMs: 5000 });
    const { report } = one.recvmsg(into, { errorQueue: true })!;
    expect(report).toMatchObject({ origin: "timestamp", stage: "acknowledged", data: 99 });
    expect(await other.receiveExactly(150)).toHaveLength(150);
    expect(one.recvmsg(into, { errorQueue: true })).toBeNull();
    const misspelt = () => one.sendmsg(halves, { acknowleged: true } as object);
    expect(misspelt).toThrow('did you mean "acknowledged"?');
    one.reset();
    other.reset();
  });

  it("an unread report does not make receiveExactly() spin", async () => {
    const [one, other] = await TcpSocket.pair(family);
    one.reportMessages({ sent: true });
    one.send(new Uint8Array(1));
    await one.readable({ deadlineMs: 5000 });
    const polled = one.receiveExactly(1);
    let steps = 0;
    const recv = one.recv.bind(one);
    one.recv = (...args) => {
      steps++;
      return recv(...args);
    };
    await expect(one.receiveExactly(1, { deadlineMs: 100 })).rejects.toMatchObject({ code: "ERR_DEADLINE" });
    other.send(new Uint8Array(2));
    await polled;
    await one.receiveExactly(1);
    expect(steps).toBeLessThan(10);
    one.reset();
    other.reset();
  });

  it("the error queue reports the ICMP error that ended a connect, and its sender", async (context) => {
    needsNamespaces(context);
    const local = family === 4 ? "192.0.2.1" : "2001:db8::1";
    const peer = family === 4 ? "192.0.2.2:80" : "[2001:db8::2]:80";
    const program = `
      import { TcpSocket } from "${DIST}";
      const socket = TcpSocket.open(${family}).reportMessages({ errors: true });
      const into = new Uint8Array(200);
      socket.connect("${peer}");
      const before = socket.recvmsg(into, { errorQueue: true });
      const { code } = await socket.connected().catch((error) => error);
      const { report } = socket.recvmsg(into, { errorQueue: true });
      const after = socket.recvmsg(into, { errorQueue: true });
      console.log(JSON.stringify({ before, code, report, after }));
      socket.close();`;
    // Nobody has the address: the neighbour search fails after one try, and this host reports it to itself.
    const setUp = `
      ip link add v0 type veth peer name v1 && ip address add ${local}/${family === 4 ? 24 : 64} dev v0 ${family === 4 ? "" : "nodad"} &&
      for v in 4 6; do echo 20 > /proc/sys/net/ipv$v/neigh/v0/retrans_time_ms || exit; done &&
      ip link set v0 up && ip link set v1 up && exec "$0" --input-type=module --eval "$1"`;
    const result = await runInNamespace("32768 60999", "sh", ["-c", setUp, process.execPath, program]);
    expect(result.stderr).toBe("");
    expect(JSON.parse(result.stdout)).toEqual({
      before: null,
      code: "EHOSTUNREACH",
      report: {
        origin: family === 4 ? "icmp" : "icmp6",
        code: "EHOSTUNREACH",
        type: family === 4 ? 3 : 1,
        icmpCode: family === 4 ? 1 : 3,
        info: 0,
        data: 0,
        offender: { family, host: local, port: 0 },
      },
      after: null,
    });
  });
});

it("times of sending need a connected socket, and an absent key turns its report off", async () => {
  using socket = TcpSocket.open(4).reportMessages({ errors: true, received: true });
  expect(() => socket.reportMessages({ sent: true })).toThrow(expect.objectContaining({ code: "EINVAL" }));
  const [one, other] = await TcpSocket.pair(4);
  other.reportMessages({ received: true }).reportMessages({});
  one.send(new Uint8Array(1));
  await other.readable();
  expect(other.recvmsg(new Uint8Array(1))).toEqual({ length: 1, isTruncated: false });
  one.reset();
  other.reset();
});
