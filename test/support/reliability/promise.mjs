// The part `promise` of check:deep: promise-program.mjs for --minutes. No joined socket is handed out, and a service
// fails to start only while an ordinary connection, or for less than one connect a detected one, holds its port.
import { fileURLToPath } from "node:url";
import { runCommand } from "../run-command.mjs";

const PROGRAM = fileURLToPath(new URL("promise-program.mjs", import.meta.url));
/** Twelve ports, six of which are those of services. */
const RANGE = "50000 50011";
/** Holders of a port that the guard does not promise to keep away: connections of others, and their ends. */
const MAY_HOLD =
  /^(gone when asked|((connection|time-wait|connecting|guarded|client|bound|orphan)[\w-]*\+?)+)$/;

export async function keepPromise({ seed, minutes }) {
  const setUp = `ip link set lo up && echo "${RANGE}" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"`;
  const command = ["unshare", "--net", "sh", "-c", setUp, "sh", process.execPath, PROGRAM];
  const { status, output } = await runCommand([...command, String(Math.round(minutes * 60)), String(seed)]);
  const line = output.split("\n").find((one) => one.startsWith('{"end"'));
  if (status !== 0 || !line) return { facts: [], red: [`exit code ${status}: ${output.slice(-600)}`] };
  const { dials, connected, refused, joined, rejected, starts, failedStarts, others } = JSON.parse(line);
  const all = Object.values(dials).reduce((sum, count) => sum + count, 0);
  const red = joined > 0 ? [`${joined} joined sockets were handed out`] : [];
  const held = new Map();
  for (const kinds of failedStarts) held.set(kinds, (held.get(kinds) ?? 0) + 1);
  for (const [kinds, times] of held)
    if (!MAY_HOLD.test(kinds)) red.push(`${times} starts failed: ${kinds} held the port`);
  return {
    facts: [
      ["minutes", minutes],
      ["guarded dials", all],
      ["joined sockets handed out", joined],
      ["connected to a service", connected],
      ["refused, as no service was there", refused],
      ["self-connects that the guard rejected", rejected],
      ["starts of services", starts],
      ["starts that failed because somebody held the port", failedStarts.length],
    ],
    head: ["way in", "dials"],
    rows: [
      ...Object.entries(dials).sort(),
      ...[...held].map(([kinds, times]) => [`a start failed: ${kinds} held the port`, times]),
      ...Object.entries(others).map(([code, times]) => [`ended with ${code}`, times]),
    ],
    red,
  };
}
