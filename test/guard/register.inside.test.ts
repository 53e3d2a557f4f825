/** selfconnect/register in this very process: what it does to net.Socket, and that it does so once. */
import { once } from "node:events";
import net from "node:net";
import { afterAll, describe, expect, it, vi } from "vitest";
import { isGuarded } from "../../lib/guard/streams.ts";
import { deadPeer } from "../support/harness.ts";

const { connect } = net.Socket.prototype;

afterAll(() => {
  net.Socket.prototype.connect = connect;
});

const closeOf = (socket: net.Socket) => new Promise((closed) => socket.once("close", closed));

/** How a connect from the peer's own port ends: without a guard it is joined to itself. */
async function outcomeOf(options: object): Promise<string> {
  const peer = deadPeer();
  const socket = net.connect({ port: peer.port, host: peer.host, localPort: peer.port, ...options });
  const outcome = await once(socket, "connect").then(
    () => "connected",
    (error) => error.cause?.code ?? error.code,
  );
  socket.resetAndDestroy();
  return outcome;
}

describe("selfconnect/register", () => {
  it("control: before it is loaded the socket is joined to itself", async () => {
    expect(await outcomeOf({})).toBe("connected");
    expect(await outcomeOf({ guard: "prevent" })).toBe("connected");
  });

  it("guards every connect but those that ask for none", async () => {
    await import("../../lib/guard/register.ts");
    expect(net.Socket.prototype.connect).not.toBe(connect);
    expect(await outcomeOf({})).toBe("ERR_SELF_CONNECT");
    expect(await outcomeOf({ guard: "detect" })).toBe("ERR_SELF_CONNECT");
    expect(await outcomeOf({ guard: "off" })).toBe("connected");
    expect(() => net.connect({ port: 1, guard: "of" } as never)).toThrow(
      expect.objectContaining({ code: "ERR_UNKNOWN_GUARD" }),
    );
  });

  it("takes the other forms of arguments, and a stream that is guarded already", async () => {
    const { port, host } = deadPeer(4, "other");
    const streams = [
      net.connect(port, host),
      new net.Socket().connect(port, host),
      new net.Socket().connect({ port, host }),
      net.connect("/nowhere/at/all"),
    ];
    for (const stream of streams) stream.on("error", () => {});
    expect(streams.map(isGuarded)).toEqual([true, true, true, true]);
    await Promise.all(streams.map(closeOf));
    const again = streams[0]!.connect(port, host);
    expect(again).toBe(streams[0]);
    await closeOf(again);
    expect(() => (new net.Socket() as unknown as { connect(): unknown }).connect()).toThrow();
  });

  it("keeps the options of a stream that is guarded already", async () => {
    const peer = deadPeer();
    const { guardStream } = await import("../../lib/guard/streams.ts");
    const stream = guardStream(new net.Socket(), { guard: "off" });
    stream.connect({ port: peer.port, host: peer.host, localPort: peer.port });
    await once(stream, "connect");
    stream.resetAndDestroy();
    await closeOf(stream);
  });

  it("loaded again, even from another copy, changes nothing", async () => {
    const before = net.Socket.prototype.connect;
    vi.resetModules();
    await import("../../lib/guard/register.ts");
    expect(net.Socket.prototype.connect).toBe(before);
  });

  it("refuses a word that is no guard, at once", async () => {
    vi.resetModules();
    vi.stubEnv("SELFCONNECT_GUARD", "of");
    await expect(import("../../lib/guard/register.ts")).rejects.toMatchObject({ code: "ERR_UNKNOWN_GUARD" });
    vi.unstubAllEnvs();
  });
});
