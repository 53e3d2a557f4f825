import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** Put before a command: it runs in a network namespace of its own, whose ports are nobody else's. */
export const IN_NAMESPACE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];

/** The comment that a program begins with: what its --help prints. */
export function readHelp(url) {
  const [comment] = readFileSync(new URL(url), "utf8").split("\nimport");
  return comment.replace(/^\/\/ /gm, "");
}

/**
 * Runs a command to its end: its exit code, null when it was killed or did not start, and both outputs in one text.
 * `onText` is given what comes, as it comes; the other options are spawn()'s.
 */
export function runCommand([command, ...args], { onText = () => {}, ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        onText(text);
      });
    }
    child.on("error", ({ message }) => resolve({ status: null, output: message }));
    child.on("close", (status) => resolve({ status, output }));
  });
}
