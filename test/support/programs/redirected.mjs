// Connects to a port where nothing listens, from which nftables redirects to a listener, and prints what the accepted
// socket reports of each family. To be run in a network namespace of its own.
import { spawnSync } from "node:child_process";
import { setImmediate as nextTurn } from "node:timers/promises";
import { TcpSocket } from "../../../dist/index.js";

async function acceptRedirected(family, host, name) {
  const listener = TcpSocket.open(family).bind({ family, host, port: 0 }).listen();
  const dead = TcpSocket.open(family).bind({ family, host, port: 0 });
  const asked = dead.getsockname();
  const rules = `add table inet lab
add chain inet lab out { type nat hook output priority -100; }
add rule inet lab out tcp dport ${asked.port} redirect to :${listener.getsockname().port}`;
  const added = spawnSync("nft", ["-f", "-"], { input: rules, encoding: "utf8" });
  if (added.status !== 0) throw new Error(`nft: ${added.error?.message ?? added.stderr}`);
  const client = TcpSocket.open(family);
  client.connect(asked);
  await client.connected({ deadlineMs: 5000 });
  let accepted = listener.accept();
  for (let turns = 0; !accepted && turns < 10_000; turns++) {
    await nextTurn();
    accepted = listener.accept();
  }
  const reported = accepted.getsockopt(name);
  for (const socket of [accepted, client, dead, listener]) socket.reset();
  return { asked, reported };
}

const results = [
  await acceptRedirected(4, "127.0.0.1", "originalDestination"),
  await acceptRedirected(6, "::1", "ipv6OriginalDestination"),
];
console.log(JSON.stringify(results));
