/** The unit and the container of a process, by the path of its cgroup. */

import { statSync } from "node:fs";
import os from "node:os";
import { expect, test } from "vitest";
import { isHidingMount } from "../../lib/kernel/hidden-processes.ts";
import { findProcesses, parsePlace } from "../../lib/kernel/owners.ts";
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

test("a socket that is open twice in a process has one owner, with its user", () => {
  using one = TcpSocket.open(4).bind("127.0.0.1:0");
  const inode = statSync(`/proc/self/fd/${one.fd}`).ino;
  const { byInode, isComplete } = findProcesses([inode, 0]);
  const user = os.userInfo().username;
  expect(byInode.get(inode)).toMatchObject([{ pid: process.pid, command: "node", user, fd: one.fd }]);
  expect(byInode.size).toBe(1);
  expect(isComplete).toBe(process.getuid!() === 0);
});

const MOUNT = "22 1 0:20 / /proc rw,nosuid - proc proc rw";

test.each([
  [MOUNT, false],
  [`${MOUNT},hidepid=invisible`, true],
  [`${MOUNT},gid=4,hidepid=2`, true],
  [`${MOUNT},hidepid=ptraceable`, true],
  [`${MOUNT},hidepid=noaccess`, false],
  [`${MOUNT},hidepid=2\n${MOUNT}`, false],
  [`${MOUNT}\n${MOUNT},hidepid=2\n23 1 0:21 / /sys rw - sysfs sys rw`, true],
  [MOUNT.replace("/proc", "/other/proc").concat(",hidepid=2"), false],
  ["", false],
])("of the mounts %j the last on /proc hides processes: %s", (mountinfo, isHiding) => {
  expect(isHidingMount(mountinfo)).toBe(isHiding);
});
