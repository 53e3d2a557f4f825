/** samplePorts(): the local port of each attempt. Arguments: port, milliseconds. */
import { samplePorts } from "../../lib/ports/index.ts";
import { measure } from "../measure.ts";

const [port, milliseconds] = process.argv.slice(2).map(Number);
const AT_ONCE = 1_000_000;

await measure(run, milliseconds!);

async function run(durationMs: number): Promise<number> {
  const signal = AbortSignal.timeout(durationMs);
  let count = 0;
  while (!signal.aborted) {
    const { ports } = await samplePorts({ peer: `127.0.0.1:${port}`, count: AT_ONCE, signal });
    count += ports.length;
  }
  return count;
}
