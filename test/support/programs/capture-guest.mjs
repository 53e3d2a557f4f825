/**
 * Stands in for the lab's guest: captures its own SYNs by AF_PACKET while it connects to dead ports in turn. Prints each
 * capture as one line, or why there is none; the task's `trials` says how many.
 */
import { writeSync } from "node:fs";
import { SocketError, TcpSocket } from "../../../dist/index.js";
import { Capture, decodeFrame, pcapng } from "../../../dist/packets/index.js";

const PEERS = 4;
const ROUNDS = 300;
/** Below every kernel's ephemeral range. */
const HIGHEST_PEER = 15_000;
const ROUNDS_PER_READ = 64;
const ABOUT = { device: "lo", filter: "", comment: "", system: "", application: "" };

function connect(port) {
  const socket = TcpSocket.open(4);
  try {
    socket.connect({ family: 4, host: "127.0.0.1", port });
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
  }
  socket.reset();
}

function isSyn({ bytes }) {
  const { flags = [] } = decodeFrame(bytes);
  return flags.includes("SYN") && !flags.includes("ACK");
}

/** gVisor has no PACKET_STATISTICS. */
function countsOf(capture, frames) {
  try {
    return capture.counts();
  } catch (error) {
    if (error.code !== "ENOPROTOOPT") throw error;
    return { passed: frames.length, lost: 0 };
  }
}

function captureSyns(firstPeer) {
  const capture = Capture.open(0, 0);
  try {
    const frames = [];
    for (let round = 1; round <= ROUNDS; round++) {
      for (let peer = 0; peer < PEERS; peer++) connect(firstPeer - peer);
      if (round % ROUNDS_PER_READ === 0 || round === ROUNDS) frames.push(...capture.read().filter(isSyn));
    }
    const commented = frames.map((frame) => ({ frame, comment: "" }));
    return Buffer.from(pcapng(commented, { ...ABOUT, counts: countsOf(capture, frames) }));
  } finally {
    capture[Symbol.dispose]();
  }
}

function print(line) {
  const bytes = Buffer.from(`${line}\n`);
  for (let written = 0; written < bytes.length; ) written += writeSync(1, bytes, written);
}

// As decodeTask() of lib/lab/task.ts, which dist has only as a part of the real guest.
const { trials } = JSON.parse(Buffer.from(process.argv[2], "base64url").toString());
try {
  for (let trial = 0; trial < trials; trial++) {
    print(`@capture ${captureSyns(HIGHEST_PEER - PEERS * trial).toString("base64")}`);
  }
} catch (error) {
  print(`@refused ${error.message}`);
}
print("@end");
