/** TCP_FASTOPEN_CONNECT, whose connect(2) sends no SYN: the first send(2) does. */
import { beforeEach, describe, expect, it } from "vitest";
import { connectMany } from "../../lib/guard/connect-many.ts";
import { dial } from "../../lib/guard/dial.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { listen } from "../../lib/socket/server.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { catchError, deadPeer, FAMILIES, LOOPBACK, requires, withNative } from "../support/harness.ts";

// Without a cookie, so that the connect is deferred also at the first time.
const options = { fastOpenConnect: true, fastOpenNoCookie: true };
const word = new TextEncoder().encode("early");

beforeEach((context) => requires(context, "4.15", "fastOpenNoCookie"));

describe.each(FAMILIES)("a connect that the first send(2) makes, over IPv%i", (family) => {
  const open = () => {
    const listener = listen({ family, host: LOOPBACK[family], port: 0 });
    const socket = TcpSocket.open(family, options);
    expect(socket.connect(listener.getsockname())).toBe("in-progress");
    expect(socket.getsockopt("information").state, "control: it is deferred").toBe("SYN-SENT");
    return { listener, socket, [Symbol.dispose]: () => [socket, listener].map((one) => one.reset()) };
  };

  it("connected() waits for it without asking again and again", async () => {
    let asked = 0;
    const { connectProgress } = loadNative();
    const count: typeof connectProgress = (handle) => {
      asked++;
      return connectProgress(handle);
    };
    await withNative({ connectProgress: count }, async () => {
      using pair = open();
      const waiting = pair.socket.connected();
      await expect(pair.socket.connected({ deadlineMs: 50 })).rejects.toMatchObject({ code: "ERR_DEADLINE" });
      expect(asked).toBeLessThan(10);
      expect(pair.socket.send(word)).toBe(word.length);
      await waiting;
      expect(pair.socket.state).toBe("connected");
    });
  });

  it("sendAll() makes it, and a second one follows", async () => {
    using pair = open();
    const large = new Uint8Array(1_000_000).fill(7);
    const sent = Promise.all([
      pair.socket.sendAll(word),
      pair.socket.sendAll(large),
      pair.socket.connected(),
    ]);
    using accepted = await pair.listener.accepted();
    expect(await accepted.receiveExactly(word.length)).toEqual(word);
    expect((await accepted.receiveExactly(large.length)).every((byte) => byte === 7)).toBe(true);
    await sent;
  });

  it("writable() resolves at once, and a send of no bytes makes the connect too", async () => {
    using pair = open();
    await pair.socket.writable({ deadlineMs: 0 });
    expect(pair.socket.send(new Uint8Array(0))).toBe(0);
    expect(pair.socket.state).toBe("connecting");
    await pair.socket.connected();
  });

  it("sendAll() rejects with the refusal", async () => {
    using socket = TcpSocket.open(family, options);
    socket.connect(deadPeer(family, "other"));
    await expect(socket.sendAll(word)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(socket.state).toBe("failed");
  });
});

it("dial() and connectMany(), which send nothing, refuse it with any guard", async () => {
  const given = { guard: "off", options: { fastOpenConnect: true } } as const;
  const refused = { code: "ERR_OPTION_UNSUPPORTED" };
  expect(catchError(() => connectMany([], given))).toMatchObject({
    ...refused,
    message: expect.stringContaining("connectMany()"),
  });
  await expect(dial(deadPeer(), given)).rejects.toMatchObject(refused);
});
