/** The CPU time of the audit compared with ss, with 100,000 sockets in a new namespace. */
import { expect, test } from "vitest";
import { MAIN, needsNamespaces, runInNamespace } from "../support/harness.ts";

const SOCKETS = 100_000;
const ROUNDS = 5;
const INDEX = new URL("../../dist/index.js", import.meta.url).pathname;

/** Connects many times to a listener on its own loopback address, which never accepts. Prints when done, and stays. */
const CROWD = `
const { TcpSocket } = await import(process.argv[1]);
const [host, count] = [process.argv[2], Number(process.argv[3])];
const listener = TcpSocket.open(4).bind(host + ":0").listen(2 ** 16 - 1);
const { port } = listener.getsockname();
const crowd = [listener];
for (let made = 0; made < count; made++) {
  const client = TcpSocket.open(4);
  client.connect({ family: 4, host, port });
  crowd.push(client);
}
console.log("ready");
setInterval(() => crowd.length, 60_000);
`;

/** Opens the sockets, then measures the CPU time of both programs in turn, by the times of their ended children. */
const MEASURE = `
const { spawn, spawnSync } = await import("node:child_process");
const { readFileSync } = await import("node:fs");
const [main, index, crowdSource, sockets, rounds] = process.argv.slice(1);
const each = 10_000;
const crowds = [];
for (let made = 0, at = 1; made < sockets / 2; made += each, at++) {
  const args = ["--input-type=module", "-e", crowdSource, "--", index, "127.0.0." + at, String(each)];
  const crowd = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  crowds.push(crowd);
  await new Promise((resolve, reject) => { crowd.stdout.once("data", resolve); crowd.once("exit", reject); });
}
const childrenMs = () => {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ");
  return (Number(fields[13]) + Number(fields[14])) * 10;
};
const cpuMs = (file, args) => {
  const before = childrenMs();
  const { stdout } = spawnSync(file, args, { encoding: "utf8", maxBuffer: 2 ** 30 });
  return { ms: childrenMs() - before, stdout };
};
const result = { audit: [], ss: [], sockets: 0, status: "" };
for (let round = 0; round < rounds; round++) {
  const audit = cpuMs(process.execPath, [main, "audit", "--json"]);
  const ss = cpuMs("ss", ["-tanp"]);
  result.audit.push(audit.ms);
  result.ss.push(ss.ms);
  result.sockets = ss.stdout.split("\\n").length - 2;
  result.listeners = JSON.parse(audit.stdout).listeners.length;
}
for (const crowd of crowds) crowd.kill();
console.log(JSON.stringify(result));
`;

test("audits 100,000 sockets with no more CPU than ss -tanp takes", {
  timeout: 300_000,
}, async (context) => {
  needsNamespaces(context);
  const prepare = 'echo 65535 > /proc/sys/net/core/somaxconn; ulimit -n "$(ulimit -Hn)"; exec "$@"';
  const node = [process.execPath, "--input-type=module", "-e", MEASURE, "--"];
  const args = [MAIN, INDEX, CROWD, String(SOCKETS), String(ROUNDS)];
  const { stdout, stderr } = await runInNamespace("1024 65535", "sh", [
    "-c",
    prepare,
    "sh",
    ...node,
    ...args,
  ]);
  const result = JSON.parse(stdout || stderr);
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const [audit, ss] = [median(result.audit), median(result.ss)];
  console.log(`${result.sockets} sockets: audit takes ${(audit / ss).toFixed(2)} times the CPU of ss -tanp`);
  expect(result.sockets).toBeGreaterThan(SOCKETS * 0.99);
  expect(result.listeners).toBeGreaterThan(0);
  expect(audit).toBeLessThanOrEqual(ss);
});
