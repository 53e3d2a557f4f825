// One side of hole punches: node punch.mjs LOCAL PEER LISTEN WORD TIMES. Prints what the other side has sent, a line each.
import { setTimeout as sleep } from "node:timers/promises";
import { parseAddress, punch } from "../../../dist/index.js";

const [local, peer, listen, word, times] = process.argv.slice(2);
const after = (address, steps) => ({ ...address, port: address.port + steps });

async function punchOnce(steps) {
  // The sides do not start together.
  await sleep(Math.random() * 300);
  const options = { deadlineMs: 20_000, listen: listen === "listen" };
  const { socket } = await punch(
    after(parseAddress(local), steps),
    after(parseAddress(peer), steps),
    options,
  );
  if (socket.isSelfConnected()) throw new Error("joined to itself");
  const stream = socket.toStream();
  stream.end(`${word} ${steps}`);
  let text = "";
  for await (const bytes of stream) text += bytes;
  return text;
}

const answers = await Promise.all(Array.from({ length: Number(times) }, (_, steps) => punchOnce(steps)));
console.log(answers.join("\n"));
