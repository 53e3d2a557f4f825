/**
 * Of the part `fleet` of check:wide: a real redis-server that takes TLS alone, and knows one user, of the ACL in
 * docs/fleet.md. The commands reach it as that user; another password, an unknown certificate, another name than the
 * certificate's and a connection without TLS are refused, and no message has the password.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Characters that a URL must escape. */
const PASSWORD = "s3cret:/?#@%";
const MAIN = path.resolve("dist/cli/main.js");
const START_MS = 30_000;
const EXPERIMENTS = ["parity", "bind-first"];

export async function testAccess(check, skip) {
  if (spawn("redis-server", ["--version"]).on("error", () => {}).pid === undefined)
    return skip("no redis-server here (Debian: apt-get install redis-server)");
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-access-"));
  const children = [];
  try {
    await testWith(await startRedis(folder, children), folder, children, check);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function testWith(port, folder, children, check) {
  const trusted = { NODE_EXTRA_CA_CERTS: path.join(folder, "cert.pem") };
  const access = `selfconnect:${encodeURIComponent(PASSWORD)}`;
  const queue = `rediss://${access}@localhost:${port}/0`;
  const listening = await startWorker(queue, trusted, children);
  check("a worker takes orders over TLS, as a user of the ACL", listening.includes("listening"), listening);

  const lab = await ask(["lab", "--queue", queue, "--experiments", EXPERIMENTS.join(","), "--json"], trusted);
  const findings = lab.status === 0 ? JSON.parse(lab.stdout).findings : [];
  const right = findings.filter(({ isAsExpected }) => isAsExpected === true).length;
  check("a lab asks it and has every answer", right === EXPERIMENTS.length, lab.stdout + lab.stderr);

  const audit = await ask(["audit", "--queue", queue, "--json"], trusted);
  const hosts = audit.stdout.startsWith("{") ? JSON.parse(audit.stdout).hosts : [];
  check("an audit asks it", hosts.length === 1 && hosts[0].audit !== null, audit.stdout + audit.stderr);

  const bySocket = `unix://${folder}/redis.sock?username=selfconnect&password=${encodeURIComponent(PASSWORD)}`;
  const near = await ask(["audit", "--queue", bySocket, "--json"], {});
  check(
    "the user is known by the socket of the file system too",
    near.stdout.includes('"host-tls"'),
    near.stderr,
  );

  const refused = [
    ["another password", queue.replace("s3cret", "s4cret"), trusted, /WRONGPASS/],
    ["no user", `rediss://localhost:${port}`, trusted, /NOAUTH/],
    ["a certificate that nobody trusts", queue, {}, /self-signed certificate/],
    ["another name than the certificate's", queue.replace("localhost", "127.0.0.1"), trusted, /altnames/],
    ["a connection without TLS", queue.replace("rediss:", "redis:"), trusted, /./],
  ];
  for (const [what, url, env, why] of refused) {
    const { status, stdout, stderr } = await ask(["audit", "--queue", url], env);
    const isRefused = status === 1 && why.test(stderr);
    check(`${what} is refused`, isRefused, `exit code ${status}: ${stdout}${stderr}`);
    const isHidden = !/s[34]cret/.test(stdout + stderr);
    check(`… and the message has no password`, isHidden, stderr);
  }
  check("the user reads nothing of others", (await readOther(folder)).startsWith("-NOPERM"));
}

/** Resolves with the port when it takes TLS. Its certificate, by openssl(1), is for the name localhost alone. */
async function startRedis(folder, children) {
  const [cert, key] = ["cert.pem", "key.pem"].map((name) => path.join(folder, name));
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", cert, "-keyout", key, ...subject];
  execFileSync("openssl", made, { stdio: "ignore" });
  const port = await findFreePort();
  const [, rules] = /ACL SETUSER selfconnect (.*)/.exec(readFileSync("docs/fleet.md", "utf8"));
  const user = `user selfconnect ${rules.replace(">password", `>${PASSWORD}`)}`;
  const lines = [
    "port 0",
    `tls-port ${port}`,
    "bind 127.0.0.1",
    `tls-cert-file ${cert}`,
    `tls-key-file ${key}`,
    "tls-auth-clients no",
    `unixsocket ${folder}/redis.sock`,
    `dir ${folder}`,
    'save ""',
    "user default off",
    user.replace(/>(\S+)/, '">$1"'),
  ];
  writeFileSync(path.join(folder, "redis.conf"), `${lines.join("\n")}\n`);
  const server = spawn("redis-server", [path.join(folder, "redis.conf")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(server);
  let said = "";
  server.stdout.on("data", (text) => (said += text));
  await until(
    () => existsSync(path.join(folder, "redis.sock")),
    () => said,
  );
  return port;
}

/** Resolves with what it said when it takes orders, or at its end. */
async function startWorker(queue, env, children) {
  const args = [MAIN, "worker", "--queue", "env", "--name", "host-tls"];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env, SELFCONNECT_QUEUE: queue },
    stdio: ["ignore", "ignore", "pipe"],
  });
  children.push(child);
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  await until(
    () => said.includes("listening") || child.exitCode !== null,
    () => said,
  );
  return said;
}

function ask(args, env) {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: START_MS };
    execFile(process.execPath, [MAIN, ...args], options, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

/** What Redis answers the user who asks for a key that does not begin with "selfconnect:". */
async function readOther(folder) {
  const socket = net.connect(path.join(folder, "redis.sock"));
  let said = "";
  socket.on("data", (text) => (said += text));
  socket.write(`AUTH selfconnect ${PASSWORD}\r\nGET another:key\r\n`);
  await until(
    () => said.split("\r\n").length > 2,
    () => said,
  );
  socket.destroy();
  return said.split("\r\n")[1];
}

function findFreePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function until(isThere, said) {
  const endsAt = performance.now() + START_MS;
  while (!isThere()) {
    if (performance.now() > endsAt) throw new Error(`it did not come: ${said().slice(-1000)}`);
    await sleep(50);
  }
}
