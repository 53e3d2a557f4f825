/**
 * Runs a program of this package on another host, over one connection of OpenSSH's client: a shell there makes a
 * folder, says what the host is, and is sent the package and the command. The folder and all that runs in it end with
 * the connection.
 */
import { invalidArgument, textOf } from "../socket/misuse.ts";
import type { Conversation, Launch } from "./leash.ts";
import { oldestNode, packageFor } from "./remote-package.ts";
import { record, text } from "./transcript.ts";

/** How another host is reached, and which Node is used there. */
export interface RemoteOptions {
  /** ssh -F: another configuration file than the user's. */
  readonly sshConfig?: string;
  /** The path of Node on the other hosts. Default: the `node` on PATH, then that of a login shell. */
  readonly remoteNode?: string;
}

/** Another host, as ssh(1) takes it. */
export interface SshHost {
  /** "ssh:user@host", as it was given. */
  readonly name: string;
  /** "user@host", or "host". */
  readonly destination: string;
  readonly port: string | null;
}

/** What a program is run with there. */
export interface RemoteWork {
  /** Marks the lines that are not somebody else's. */
  readonly nonce: string;
  /** Returns the command, in words of a shell, from whether a network namespace of its own is permitted. */
  readonly command: (ownsKernel: boolean) => readonly string[];
  /** The host ends the program after this time even when it does not notice that the connection is gone. */
  readonly totalMs: number;
}

const MARK = "@selfconnect";
const PREFIX = "ssh:";
/** Nothing that ssh(1) or a shell that it starts could read as more than a name. */
const USER = String.raw`[A-Za-z0-9_][\w.+-]*`;
const HOST = String.raw`[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\]`;
const DESTINATION = new RegExp(`^(?:(${USER})@)?(${HOST})(?::(\\d{1,5}))?$`);

/** Whether a name of a machine is that of another host. */
export function isSshName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** "ssh:host", "ssh:user@host", "ssh:user@host:22". Throws ERR_SSH_HOST. */
export function parseSshHost(name: string): SshHost {
  const isNamed = typeof name === "string" && isSshName(name);
  const [, user, host, port = null] = (isNamed && DESTINATION.exec(name.slice(PREFIX.length))) || [];
  if (host === undefined || Number(port) > 65_535) {
    const message = `"${textOf(name)}" is not a host: use ssh:host, ssh:user@host or ssh:host:22`;
    throw invalidArgument("ERR_SSH_HOST", message);
  }
  const bare = host.replace(/^\[|\]$/g, "");
  return { name, destination: user ? `${user}@${bare}` : bare, port };
}

/** The shell's words for something that is one word, whatever is in it. */
export function quoteWord(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Words of a command: Node there, and a file of the package. */
export const REMOTE_NODE = '"$node"';
export function remoteFile(name: string): string {
  return `"$folder"/${name}`;
}

/** ssh(1): passwords are never asked for, an unknown host key is refused, and nothing is forwarded. */
export function sshLaunch(host: SshHost, work: RemoteWork, options: RemoteOptions = {}): Launch {
  const settings = [
    ...["BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=no", "ClearAllForwardings=yes"],
    ...["RemoteCommand=none", "ServerAliveInterval=15", "ServerAliveCountMax=3"],
  ];
  const args = [
    ...["-T", "-a", "-x", ...settings.flatMap((setting) => ["-o", setting])],
    ...(options.sshConfig === undefined ? [] : ["-F", options.sshConfig]),
    ...(host.port === null ? [] : ["-p", host.port]),
    ...["--", host.destination, "exec /bin/sh"],
  ];
  return { file: "ssh", args, conversation: new Introduction(work, options.remoteNode ?? "") };
}

class Introduction implements Conversation {
  readonly opening: string;
  hasBegun = false;
  readonly #work: RemoteWork;
  readonly #wantedNode: string;

  constructor(work: RemoteWork, wantedNode: string) {
    this.#work = work;
    this.#wantedNode = wantedNode;
    this.opening = shellScript(work, wantedNode);
  }

  answer(line: string): Uint8Array | null {
    const at = line.indexOf(`${MARK} ${this.#work.nonce} host `);
    if (at < 0) return null;
    const [, , , owns, system = "", ...rest] = line.slice(at).trimEnd().split(" ");
    const archive = packageFor(this.#platformOf(rest.join(" "), system));
    const words = this.#work.command(owns === "own").join(" ");
    if (words.includes("\n")) throw new Error("a line break in an argument cannot be sent");
    this.hasBegun = true;
    return Buffer.concat([Buffer.from(`${archive.length}\n${words}\n`), archive]);
  }

  #platformOf(about: string, system: string): Parameters<typeof packageFor>[0] {
    const oldest = oldestNode();
    const install = `install Node ${oldest.join(".")} or later there, or name it with --remote-node`;
    if (about === "") {
      const wanted = this.#wantedNode ? ` at ${this.#wantedNode}` : "";
      throw new Error(`it has no Node${wanted} that runs (${printable(system)}): ${install}`);
    }
    const { node, platform, architecture, libc } = record(JSON.parse(about), "its introduction");
    const version = text(node, "version");
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (!(major > oldest[0] || (major === oldest[0] && minor >= oldest[1])))
      throw new Error(`its Node ${printable(version)} is too old: ${install}`);
    return {
      platform: printable(text(platform, "platform")),
      architecture: printable(text(architecture, "architecture")),
      libc: libc === "musl" ? "musl" : libc === "glibc" ? "glibc" : "",
    };
  }
}

/** A name from there becomes a part of messages and of paths. */
function printable(name: string): string {
  return name.replaceAll(/[^\w.+-]/g, "").slice(0, 40);
}

/** What that Node is, in JavaScript that the oldest of them reads: one line of JSON. */
const ABOUT = `
var report = process.report;
if (report) report.excludeNetwork = true;
var header = report && process.platform === "linux" ? report.getReport().header : {};
console.log(JSON.stringify({ node: process.versions.node, platform: process.platform, architecture: process.arch,
  libc: process.platform === "linux" ? header.glibcVersionRuntime ? "glibc" : "musl" : "" }))`;

/**
 * A shell reads all of the braces before it runs them, and nothing more until the next line is sent: the archive that
 * follows is for tar. Files of the program go into the folder too. A shell that is told to end still runs its trap.
 */
function shellScript({ nonce, totalMs }: RemoteWork, wantedNode: string): string {
  return `{
umask 077
folder=$(mktemp -d "\${TMPDIR:-/tmp}/selfconnect-XXXXXX") || exit 1
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 1' HUP INT TERM PIPE
node=${quoteWord(wantedNode)}
test "$node" || node=$(command -v node) ||
  node=$("\${SHELL:-/bin/sh}" -lc 'command -v node' 2>/dev/null </dev/null | tail -n 1)
about=$("$node" -e ${quoteWord(ABOUT)} 2>/dev/null </dev/null)
own=not
unshare -rn ip link show >/dev/null 2>&1 </dev/null && own=own
printf '%s\\n' "${MARK} ${nonce} host $own $(uname -s)-$(uname -m) $about"
read -r bytes && read -r words && head -c "$bytes" | tar -xzf - -C "$folder" || exit 1
mkdir "$folder/tmp" && cd "$folder/tmp" || exit 1
eval "set -- $words"
TMPDIR=$folder/tmp XDG_CACHE_HOME=$folder/tmp "$node" "$folder/dist/lab/tether.js" ${totalMs} "$@"
status=$?
echo "${MARK} ${nonce} status $status"
exit $status
}
`;
}
