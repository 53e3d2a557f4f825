import { beforeAll, describe, expect, it } from "vitest";
import { connectPair } from "../../lib/socket/pair.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { FAMILIES } from "../support/harness.ts";

const openFds = () => openDescriptors().size;

beforeAll(async () => {
  // The first wait opens the descriptors of the reactor.
  for (const socket of await TcpSocket.pair()) socket.reset();
});

describe.each(FAMILIES)("connectPair() over IPv%i", (family) => {
  it("returns two sockets connected to each other, and closes the listener", async () => {
    const before = openFds();
    const [client, accepted] = await connectPair(family, () => TcpSocket.open(family));
    expect(openFds()).toBe(before + 2);
    expect(client.getpeername()).toEqual(accepted.getsockname());
    client.reset();
    accepted.reset();
  });

  it("leaves no socket open when the second one cannot be opened", async () => {
    const before = openFds();
    let opened = 0;
    const open = () => {
      if (++opened === 2) throw new Error("no more descriptors");
      return TcpSocket.open(family);
    };
    await expect(connectPair(family, open)).rejects.toThrow("no more descriptors");
    expect(openFds()).toBe(before);
  });

  it("leaves no socket open when the accepted one has no peer any more", async () => {
    const before = openFds();
    const open = () => {
      const socket = TcpSocket.open(family);
      const accept = socket.accepted.bind(socket);
      socket.accepted = async () =>
        Object.assign(await accept(), {
          getpeername() {
            throw new Error("it was reset");
          },
        });
      return socket;
    };
    await expect(connectPair(family, open)).rejects.toThrow("it was reset");
    expect(openFds()).toBe(before);
  });

  it("leaves no socket open when the connect fails", async () => {
    const before = openFds();
    let opened = 0;
    const open = () => {
      const socket = TcpSocket.open(family);
      if (++opened === 2) socket.connected = () => Promise.reject(new Error("refused"));
      return socket;
    };
    await expect(connectPair(family, open)).rejects.toThrow("refused");
    expect(openFds()).toBe(before);
  });

  it("resets the connection of another program, and waits for its own", async () => {
    const strangers: TcpSocket[] = [];
    const open = () => {
      const socket = TcpSocket.open(family);
      const listen = socket.listen.bind(socket);
      socket.listen = (...backlog) => {
        listen(...backlog);
        const stranger = TcpSocket.open(family);
        stranger.connect(socket.getsockname());
        strangers.push(stranger);
        return socket;
      };
      return socket;
    };
    const [client, accepted] = await connectPair(family, open);
    expect(accepted.getpeername()).toEqual(client.getsockname());
    expect(strangers).toHaveLength(1);
    await expect(strangers[0]!.receiveExactly(1)).rejects.toMatchObject({ code: "ECONNRESET" });
    for (const socket of [client, accepted, ...strangers]) socket.reset();
  });
});
