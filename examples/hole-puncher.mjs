// Two peers behind NATs, neither of which can be connected to, meet by simultaneous open. Each learns the other's
// public address from a server that both know; here both are on this host, and exchange addresses by variables.
import { findFreePort, punch } from "selfconnect";

/** @returns {import("selfconnect").Address} */
const freeAddress = () => {
  const host = "127.0.0.1";
  const port = findFreePort({ low: 20_000, high: 30_000 }, { addresses: [{ family: 4, host, port: 0 }] });
  return { family: 4, host, port };
};

const one = freeAddress();
let other = freeAddress();
while (other.port === one.port) other = freeAddress();
const [mine, theirs] = await Promise.all([
  punch(one, other, { deadlineMs: 10_000 }),
  punch(other, one, { deadlineMs: 10_000 }),
]);

mine.socket.send(new TextEncoder().encode("through the hole"));
mine.socket.shutdown("write");
for await (const bytes of theirs.socket.toStream()) console.log(String(bytes));
mine.socket.close();
