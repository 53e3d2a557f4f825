import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { listenFds } from "../../lib/socket/listen-fds.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { deadPort } from "../support/harness.ts";

const LIBRARY = new URL("../../dist/index.js", import.meta.url).href;

function setVariables(pid: string, count: string, names?: string): void {
  vi.stubEnv("LISTEN_PID", pid);
  vi.stubEnv("LISTEN_FDS", count);
  vi.stubEnv("LISTEN_FDNAMES", names);
}

afterEach(() => vi.unstubAllEnvs());

describe("listenFds()", () => {
  const own = String(process.pid);

  it("counts from 3, with the manager's names", () => {
    setVariables(own, "2", "web:admin");
    expect(listenFds()).toEqual([
      { fd: 3, name: "web" },
      { fd: 4, name: "admin" },
    ]);
    setVariables(own, "1");
    expect(listenFds()).toEqual([{ fd: 3, name: "" }]);
  });

  it("is empty without a manager, and when the descriptors are another process's", () => {
    expect(listenFds()).toEqual([]);
    setVariables(String(process.pid + 1), "1");
    expect(listenFds()).toEqual([]);
    setVariables(own, "0", "");
    expect(listenFds()).toEqual([]);
  });

  it.each([
    [own, "many", undefined],
    [own, "-1", undefined],
    [own, "99999999999", undefined],
    ["me", "1", undefined],
    [own, "2", "web"],
  ])("LISTEN_PID=%s LISTEN_FDS=%s LISTEN_FDNAMES=%s is a programmer error", (pid, count, names) => {
    setVariables(pid, count, names);
    expect(() => listenFds()).toThrow(expect.objectContaining({ code: "ERR_LISTEN_FDS" }));
  });
});

/** Serves each connection of its first descriptor with the descriptor's name, once. */
const SERVICE = `
  import(process.argv[1]).then(({ TcpSocket, listenFds }) => {
    const [{ fd, name }] = listenFds();
    const server = TcpSocket.fromFd(fd).toServer();
    server.on("connection", (socket) => { socket.end(name); server.close(); });
  });`;

async function read(port: number): Promise<string> {
  return Buffer.concat(await net.connect(port, "127.0.0.1").toArray()).toString();
}

it("a service serves a connection that arrived before it started", async () => {
  const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen();
  const { port } = listener.getsockname();
  const answer = read(port);
  const start = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=early exec "$@"';
  const service = spawn("sh", ["-c", start, "sh", process.execPath, "-e", SERVICE, LIBRARY], {
    stdio: ["ignore", "inherit", "inherit", listener.fd],
  });
  listener.close();
  expect(await answer).toBe("early");
  const [status] = service.exitCode === null ? await once(service, "exit") : [service.exitCode];
  expect(status).toBe(0);
});

it("works under systemd-socket-activate", async (context) => {
  if (spawnSync("systemd-socket-activate", ["--version"]).error) return context.skip("needs systemd");
  const port = deadPort();
  const manager = spawn(
    "systemd-socket-activate",
    ["-l", `127.0.0.1:${port}`, "--fdname=web", process.execPath, "-e", SERVICE, LIBRARY],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  await once(manager.stderr, "data");
  expect(await read(port)).toBe("web");
  if (manager.exitCode === null) await once(manager, "exit");
});
