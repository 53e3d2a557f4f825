/** What the audit keeps of the kernel's table. */
import { expect, it } from "vitest";
import { readTimeWaitReuse } from "../../lib/audit/destinations.ts";
import { readSortedTable } from "../../lib/audit/sorted-table.ts";
import { listen, TcpSocket } from "../../lib/index.ts";
import { OWN_NAMESPACE } from "../../lib/kernel/host.ts";
import { portFacts } from "../../lib/kernel/index.ts";

it("a port has a connection although something listens there, which may be on another address", async () => {
  using server = listen("127.0.0.1:0");
  const address = server.getsockname();
  const { port } = address;
  using _ = listen({ ...address, host: "127.0.0.2" });
  using client = TcpSocket.open(4);
  client.connect(address);
  await client.connected();
  using accepted = await server.accepted();
  server.close();
  const facts = { ...portFacts(), ephemeralRange: { low: port, high: port } };
  const table = await readSortedTable(facts, readTimeWaitReuse(OWN_NAMESPACE), OWN_NAMESPACE);
  expect(table.connectedPorts).toContain(port);
  accepted.reset();
});
