// A loop and its end, for test/loop/reconnect.home.test.ts: node flood.mjs PEER STRATEGY ATTEMPTS [ENGINE].
// Prints JSON.
import { ReconnectLoop } from "../../../dist/index.js";

const [peer, strategy, attempts, engine] = process.argv.slice(2);
try {
  const bounds = { attempts: Number(attempts), durationMs: 5000, selfConnects: 2 ** 32 - 1 };
  const loop = new ReconnectLoop({ peer, strategy, engine, ...bounds });
  console.error("runs");
  const { outcomes } = await loop.run().catch((error) => {
    throw Object.assign(error, { outcomes: loop.progress().outcomes });
  });
  console.log(JSON.stringify({ outcomes }));
} catch ({ code, message, outcomes }) {
  console.log(JSON.stringify({ code, message, outcomes }));
}
