/** The unit and the container of a process, by the path of its cgroup. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import os from "node:os";
import { expect, test } from "vitest";
import { findProcesses, parsePlace } from "../../lib/kernel/owners.ts";
import { readCommand } from "../../lib/kernel/tables.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";

const ID = "3f1c9a7be2d4".padEnd(64, "0");
const SHORT = "3f1c9a7be2d4";

test.each([
  ["0::/system.slice/nginx.service\n", "nginx.service", null],
  ["0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", null],
  [`0::/system.slice/docker-${ID}.scope\n`, null, SHORT],
  [`0::/kubepods.slice/kubepods-pod7.slice/cri-containerd-${ID}.scope\n`, null, SHORT],
  [`0::/kubepods.slice/pod7/crio-${ID}.scope/container\n`, null, SHORT],
  [`0::/machine.slice/libpod-${ID}.scope\n`, null, SHORT],
  [`12:pids:/docker/${ID}\n1:name=systemd:/docker/${ID}\n0::/\n`, null, SHORT],
  ["4:memory:/\n1:name=systemd:/system.slice/redis.service\n0::/\n", "redis.service", null],
  ["0::/\n", null, null],
  ["", null, null],
])("the place in %j is unit %j, container %j", (text, unit, container) => {
  expect(parsePlace(text)).toEqual({ unit, container });
});

test("the name that a process gives itself is cut", async () => {
  const child = spawn(process.execPath, ["-e", "console.log(); setInterval(() => {}, 60_000)"], {
    argv0: "x".repeat(100_000),
  });
  await once(child.stdout, "data");
  expect(readCommand(child.pid!)).toBe(`${"x".repeat(79)}…`);
  child.kill("SIGKILL");
  await once(child, "exit");
});

test("a socket that is open twice in a process has one owner, with its user", () => {
  using one = TcpSocket.open(4).bind("127.0.0.1:0");
  const inode = statSync(`/proc/self/fd/${one.fd}`).ino;
  const { byInode, isComplete } = findProcesses([inode, 0]);
  const user = os.userInfo().username;
  expect(byInode.get(inode)).toMatchObject([{ pid: process.pid, command: "node", user, fd: one.fd }]);
  expect(byInode.size).toBe(1);
  expect(isComplete).toBe(process.getuid!() === 0);
});
