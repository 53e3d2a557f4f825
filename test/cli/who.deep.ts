/** TIME-WAIT waited out: the minute that a self-connect which was closed and not reset keeps its port. */
import { closeSync } from "node:fs";
import net from "node:net";
import { expect, it } from "vitest";
import { explainBind } from "../../lib/audit/index.ts";
import { formatAddress } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { cli, deadPeer } from "../support/harness.ts";

const MS_PER_S = 1000;

/** Whether a server of Node can listen there. */
function canStart(host: string, port: number): Promise<boolean> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false)).listen(port, host, () => server.close(() => resolve(true)));
  });
}

it("who --wait returns when the time that it says is over, and then a server starts", {
  timeout: 120_000,
}, async () => {
  const self = deadPeer();
  const name = formatAddress(self);
  const socket = TcpSocket.open(4).bind(self);
  socket.connect(self);
  await socket.connected();
  closeSync(socket.release());
  const closedAt = performance.now();
  const [holder] = (await explainBind(name)).holders;
  expect(holder).toMatchObject({ kind: "self-connect-time-wait", state: "TIME-WAIT" });
  expect(await canStart(self.host, self.port), "control: not yet").toBe(false);
  const { status, stdout } = await cli(["who", name, "--wait", "90s"]);
  const waitedMs = performance.now() - closedAt;
  expect({ status, stdout }).toEqual({ status: 0, stdout: `a server on ${name} can start\n` });
  expect(await canStart(self.host, self.port)).toBe(true);
  // The kernel's timers end at the next tick of a coarse clock.
  expect(Math.abs(waitedMs - holder!.leftMs!), `${waitedMs} ms, ${holder!.leftMs} said`).toBeLessThan(
    3 * MS_PER_S,
  );
});
