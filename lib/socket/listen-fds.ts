/** The descriptors that systemd, or another program that follows sd_listen_fds(3), passes to a service. */
import { invalidArgument } from "./misuse.ts";

/** SD_LISTEN_FDS_START. */
const FIRST_FD = 3;
/** fs.nr_open: no process has more descriptors. */
const MOST_FDS = 2 ** 20;

/** One descriptor that a service manager passed to this process. */
export interface ListenFd {
  /** For TcpSocket.fromFd(), if it is a TCP socket. */
  readonly fd: number;
  /** FileDescriptorName= of the socket unit; "" when the manager gave no names. */
  readonly name: string;
}

/**
 * LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES of the environment (sd_listen_fds(3)): the descriptors that a service
 * manager passed to this process, from fd 3 on. Empty when there are none, and when LISTEN_PID is another process.
 * Closes and changes nothing; a second call returns the same. They may be of any kind, UDP and Unix domain sockets
 * too: TcpSocket.fromFd() checks. Throws ERR_LISTEN_FDS when a variable is not what sd_listen_fds(3) describes.
 *
 * @example
 * import { listen, listenFds, TcpSocket } from "selfconnect";
 *
 * const [inherited] = listenFds();
 * const listener = inherited ? TcpSocket.fromFd(inherited.fd) : listen("127.0.0.1:0");
 * listener.close();
 */
export function listenFds(): ListenFd[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = process.env;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return [];
  if (readNumber("LISTEN_PID", LISTEN_PID, 2 ** 31 - 1) !== process.pid) return [];
  const count = readNumber("LISTEN_FDS", LISTEN_FDS, MOST_FDS);
  const names = LISTEN_FDNAMES && count > 0 ? LISTEN_FDNAMES.split(":") : null;
  if (names && names.length !== count) {
    const message = `LISTEN_FDNAMES has ${names.length} names for ${count} descriptors (LISTEN_FDS)`;
    throw invalidArgument("ERR_LISTEN_FDS", message);
  }
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_FD + i, name: names?.[i] ?? "" }));
}

function readNumber(variable: string, text: string, most: number): number {
  if (/^\d+$/.test(text) && Number(text) <= most) return Number(text);
  throw invalidArgument("ERR_LISTEN_FDS", `${variable} is "${text}", not 0 to ${most}: see sd_listen_fds(3)`);
}
