// The part `promise` of check:deep: promise-program.mjs for --minutes. No joined socket is handed out, and a service
// fails to start only while an ordinary connection, or for less than one connect a detected one, holds its port.
import { fileURLToPath } from "node:url";
import { runCommand } from "../run-command.mjs";

const PROGRAM = fileURLToPath(new URL("promise-program.mjs", import.meta.url));
/** Twelve ports, six of which are those of services. */
const RANGE = "50000 50011";
/** A self-connect that is detected lives for less than one connect takes; on a busy machine a turn of the loop is long. */
const LONGEST_MS = 1000;

export async function keepPromise({ seed, minutes }) {
  const setUp = `ip link set lo up && echo "${RANGE}" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"`;
  const command = ["unshare", "--net", "sh", "-c", setUp, "sh", process.execPath, PROGRAM];
  const { status, output } = await runCommand([...command, String(Math.round(minutes * 60)), String(seed)]);
  const line = output.split("\n").find((one) => one.startsWith('{"end"'));
  if (status !== 0 || !line) return { facts: [], red: [`exit code ${status}: ${output.slice(-600)}`] };
  const { dials, connected, refused, joined, rejected, starts, prevented, detected, longestMs, others } =
    JSON.parse(line);
  const sum = (list) => Object.values(list).reduce((all, count) => all + count, 0);
  const red = joined > 0 ? [`${joined} joined sockets were handed out`] : [];
  if (prevented["a self-connect"])
    red.push(`${prevented["a self-connect"]} starts failed by a self-connect under prevent`);
  if (longestMs > LONGEST_MS)
    red.push(`under detect a self-connect held a port for ${Math.round(longestMs)} ms`);
  const holders = (guard, list) =>
    Object.entries(list).map(([who, times]) => [`${guard}: a start failed, ${who} held the port`, times]);
  return {
    facts: [
      ["minutes", minutes],
      ["guarded dials", sum(dials)],
      ["joined sockets handed out", joined],
      ["connected to a service", connected],
      ["refused, as no service was there", refused],
      ["self-connects that the guard rejected", rejected],
      ["starts of services", starts],
      ["starts that failed by a self-connect, under prevent", prevented["a self-connect"] ?? 0],
      ["milliseconds for which one was in the way under detect, at most", Math.ceil(longestMs)],
    ],
    head: ["", "times"],
    rows: [
      ...Object.entries(dials).sort(),
      ...holders("prevent", prevented),
      ...holders("detect", detected),
      ...Object.entries(others).map(([code, times]) => [`a dial ended with ${code}`, times]),
    ],
    red,
  };
}
