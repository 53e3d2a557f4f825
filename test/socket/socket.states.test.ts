/** The state of a socket after each pair of calls; docs/socket-states.md is made from it. */
import { closeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPeer, FAMILIES, withListener } from "../support/harness.ts";

interface Peers {
  readonly listener: Address;
  readonly dead: Address;
}

type Call = (socket: TcpSocket, peers: Peers) => unknown;

/** Each brings a new socket into the state that is tested, by a call of its own. */
const BEGINNINGS: Readonly<Record<string, Call>> = {
  "open()": () => {},
  "listen()": (socket, { dead }) => socket.bind({ ...dead, port: 0 }).listen(),
  "connect(), not awaited": (socket, { dead }) => socket.connect(dead),
  "connected(), well": async (socket, { listener }) => {
    socket.connect(listener);
    await socket.connected();
  },
  "connected(), refused": async (socket, { dead }) => {
    socket.connect(dead);
    await socket.connected().catch(() => {});
  },
  "connect(), thrown": (socket) =>
    socket.connect(socket.getsockname().family === 4 ? "255.255.255.255:9" : "[ff02::1]:9"),
  "close()": (socket) => socket.close(),
};

const CALLS: Readonly<Record<string, Call>> = {
  "connected()": (socket) => socket.connected({ deadlineMs: 1000 }),
  "connect(listener)": (socket, { listener }) => socket.connect(listener),
  "connect(dead port)": (socket, { dead }) => socket.connect(dead),
  "listen()": (socket) => socket.listen(),
  "accept()": (socket) => socket.accept()?.close(),
  "takeError()": (socket) => socket.takeError(),
  "send()": (socket) => socket.send(new Uint8Array(1)),
  "recv()": (socket) => socket.recv(new Uint8Array(1)),
  'shutdown("both")': (socket) => socket.shutdown("both"),
  "toStream()": (socket) => socket.toStream().destroy(),
  "release()": (socket) => closeSync(socket.release()),
  "reset()": (socket) => socket.reset(),
};

/** "failed, ECONNREFUSED": the state after the call, and the code that it threw or rejected with. */
async function observe(family: 4 | 6, beginning: Call, call: Call, peers: Peers): Promise<string> {
  using socket = TcpSocket.open(family, { lingerSeconds: 0 });
  await Promise.resolve()
    .then(() => beginning(socket, peers))
    .catch(() => {});
  try {
    await call(socket, peers);
    return socket.state;
  } catch (error) {
    return `${socket.state}, ${(error as { code: string }).code}`;
  }
}

async function observeAll(family: 4 | 6): Promise<string[][]> {
  return withListener(
    family,
    (socket) => socket.resume(),
    async (listener) => {
      // Of the parity that connect(2) does not pick: no attempt is joined to itself.
      const peers = { listener, dead: deadPeer(family, "other") };
      const rows: string[][] = [];
      for (const [name, call] of Object.entries(CALLS)) {
        const row = [`\`${name}\``];
        for (const beginning of Object.values(BEGINNINGS))
          row.push(await observe(family, beginning, call, peers));
        rows.push(row);
      }
      return rows;
    },
  );
}

describe("the state after each pair of calls", () => {
  it("is what docs/socket-states.md says (npx vitest run --update makes it anew), over IPv4 and IPv6", async () => {
    const [four, six] = [await observeAll(4), await observeAll(6)];
    expect(six).toEqual(four);
    const head = ["then", ...Object.keys(BEGINNINGS).map((name) => `after \`${name}\``)];
    const table = [head, head.map(() => "---"), ...four]
      .map((cells) => `| ${cells.join(" | ")} |`)
      .join("\n");
    const page = `# The state of a TcpSocket

\`socket.state\` is one of \`unconnected\`, \`listening\`, \`connecting\`, \`connected\`, \`failed\`, \`closed\`. It is what the calls on this
object have returned: a connect in progress ends in \`connected()\` (or in \`takeError()\`, \`send()\` or \`recv()\`, where the kernel reports its
error), not by itself. A deadline or an abort of \`connected()\` leaves the state as it was: the connect goes on, and may be waited
for again. A socket that failed may \`connect()\` again.

Each cell is the state after two calls on a new socket, and the code of the error that the second call threw. Made by a test
on Linux; other kernels may refuse a second \`connect()\` after a failure.

${table}
`;
    await expect(page).toMatchFileSnapshot("../../docs/socket-states.md");
  });

  it.each(FAMILIES)("shutdown() of a connect in progress ends it at once, over IPv%i", async (family) => {
    using listener = TcpSocket.open(family)
      .bind({ ...deadPeer(family), port: 0 })
      .listen(0);
    const clients = Array.from({ length: 4 }, () => TcpSocket.open(family, { lingerSeconds: 0 }));
    for (const client of clients) client.connect(listener.getsockname());
    const last = clients.at(-1)!;
    const wait = last.connected();
    expect(last.shutdown("both").state).toBe("failed");
    await expect(wait).rejects.toMatchObject({ code: "ECONNRESET" });
    for (const client of clients) client.close();
  });

  it.each(FAMILIES)("a deadline and an abort leave it, over IPv%i", async (family) => {
    using listener = TcpSocket.open(family)
      .bind({ ...deadPeer(family), port: 0 })
      .listen(0);
    const clients = Array.from({ length: 4 }, () => TcpSocket.open(family, { lingerSeconds: 0 }));
    for (const client of clients) client.connect(listener.getsockname());
    const last = clients.at(-1)!;
    await expect(last.connected({ deadlineMs: 20 })).rejects.toMatchObject({ code: "ERR_DEADLINE" });
    expect(last.state).toBe("connecting");
    await expect(last.connected({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(last.state).toBe("connecting");
    for (const client of clients) client.close();
  });
});
