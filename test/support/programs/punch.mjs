// One side of a hole punch: node punch.mjs LOCAL PEER LISTEN WORD. Prints what the other side has sent.
import { setTimeout as sleep } from "node:timers/promises";
import { punch } from "../../../dist/index.js";

const [local, peer, listen, word] = process.argv.slice(2);
// The sides do not start together.
await sleep(Math.random() * 300);
const { socket } = await punch(local, peer, { deadlineMs: 20_000, listen: listen === "listen" });
if (socket.isSelfConnected()) throw new Error("joined to itself");
const stream = socket.toStream();
stream.end(word);
let text = "";
for await (const bytes of stream) text += bytes;
console.log(text);
