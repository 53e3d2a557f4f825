/** Listeners whose socket options are set before bind(2), and on every accepted socket. */
import { lookup } from "node:dns";
import net from "node:net";
import type { Address, LocalAddress } from "./address.ts";
import { checkLocalAddress, toAddress } from "./address.ts";
import { checkPort, hostBytes } from "./address-text.ts";
import { SocketError } from "./errors.ts";
import { checkHandover } from "./inherited.ts";
import { checkObject, invalidArgument, nearest } from "./misuse.ts";
import { loadNative } from "./native.ts";
import { checkOptions } from "./option-access.ts";
import type { AcceptOptions, OpenOptions } from "./options.ts";
import { OPEN_KEYS } from "./options.ts";
import { TcpSocket } from "./socket.ts";
import { setAcceptedOptions } from "./stream-options.ts";

/** The options of a listening socket, and its backlog. */
export interface ListenOptions extends OpenOptions, AcceptOptions {
  /** Of listen(2): 0 to 2^31 - 1, by default 511. Linux caps it at net.core.somaxconn. */
  readonly backlog?: number;
}

/**
 * socket(2), setsockopt(2), bind(2), listen(2): a listening socket with these options, which are set before bind(2).
 * SO_REUSEADDR is set unless `reuseAddress` is false, as Node does. Hand it to a server by toServer(), which then sets
 * `acceptedOptions`, as accept() does. Throws what TcpSocket.open(), bind() and listen() throw; nothing then stays
 * open.
 */
export function listen(address: LocalAddress, options: ListenOptions = {}): TcpSocket {
  const local = checkLocalAddress(address);
  checkOptions("listen()", loadNative(), options, [...OPEN_KEYS, "backlog", "acceptedOptions"]);
  const { backlog, acceptedOptions = {}, ...ofSocket } = options;
  checkOptions("acceptedOptions", loadNative(), acceptedOptions);
  const listener = TcpSocket.open(local.family, { reuseAddress: true, ...ofSocket });
  try {
    return listener.bind(local).listen(backlog, { acceptedOptions });
  } catch (error) {
    listener.close();
    throw error;
  }
}

/** The options of net.createServer(), and those of its sockets. */
export interface ServerOptions extends net.ServerOpts, AcceptOptions {
  /** Set on the listening socket before bind(2). On Linux accepted sockets inherit nearly all of them. */
  readonly options?: OpenOptions;
}

/**
 * net.createServer() with socket options: the same events and methods. `listen()` takes Node's forms for TCP, a port
 * and a host or an object with them, and throws ERR_INVALID_LISTEN for any other. An error of bind(2) or listen(2) is
 * an 'error' event with a SocketError. A wrong option throws here, with the codes of TcpSocket.setsockopt(). For http
 * and https use `listen(address, options).toServer(server)`. In a worker of node:cluster listen() throws
 * ERR_CLUSTER_WORKER.
 */
export function createServer(
  options: ServerOptions | ((socket: net.Socket) => void) = {},
  onConnection?: (socket: net.Socket) => void,
): net.Server {
  if (typeof options === "function") return new OptionsServer({}, options);
  return new OptionsServer(options, onConnection);
}

class OptionsServer extends net.Server {
  readonly #options: OpenOptions;
  /** How often listen() and close() were called: a lookup listens only if it belongs to the last call. */
  #listens = 0;

  constructor(options: ServerOptions, onConnection?: (socket: net.Socket) => void) {
    checkServerKeys(options);
    const { options: ofListener = {}, acceptedOptions = {}, ...ofServer } = options;
    checkOptions("options", loadNative(), ofListener, OPEN_KEYS);
    checkOptions("acceptedOptions", loadNative(), acceptedOptions);
    super(ofServer);
    this.#options = ofListener;
    setAcceptedOptions(this, acceptedOptions);
    if (onConnection) this.on("connection", onConnection);
  }

  override listen(...given: unknown[]): this {
    const { port, host, signal, onListening, ...options } = parseListen(given);
    checkHandover("listening", this);
    if (onListening) this.once("listening", onListening);
    const turn = ++this.#listens;
    const listenOn = (chosen: string) =>
      this.#listenOn(toAddress(chosen, port), { ...options, ...this.#options }, signal);
    if (host === undefined) this.#report(() => listenOnAny(listenOn));
    else if (isHost(host)) this.#report(() => listenOn(host));
    else {
      lookup(host, (error, found) => {
        // close() or another listen() came meanwhile.
        if (turn !== this.#listens || signal?.aborted) return;
        if (error) this.emit("error", error);
        else this.#report(() => listenOn(found));
      });
    }
    return this;
  }

  override close(callback?: (error?: Error) => void): this {
    this.#listens++;
    return super.close(callback);
  }

  #listenOn(local: Address, options: ListenOptions, signal: AbortSignal | undefined): void {
    const listener = listen(local, options);
    // Node calls listen(2) again, with this backlog.
    super.listen({ fd: listener.release(), ...(signal && { signal }) }, options.backlog);
  }

  /** What the kernel answers is an event, on the next tick, as of every net.Server; a programmer error is thrown. */
  #report(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      process.nextTick(() => this.emit("error", error));
    }
  }
}

/** Keys that are not ours are Node's; but a misspelt one, and a socket option outside `options`, would do nothing. */
function checkServerKeys(options: ServerOptions): void {
  const own: readonly string[] = ["options", "acceptedOptions"];
  const { options: rows } = loadNative();
  checkObject("createServer()", options, own);
  for (const key of Object.keys(options)) {
    if (own.includes(key) || NODE_KEYS.includes(key)) continue;
    const isOption = rows.some((row) => row.name === key);
    const meant = isOption ? "options" : nearest(key, own);
    const fix = isOption ? `write { options: { ${key} } }` : `did you mean "${meant}"?`;
    if (meant) throw invalidArgument("ERR_UNKNOWN_OPTION", `createServer() takes no "${key}": ${fix}`);
  }
}

/** Options of net.createServer() that have the name of a socket option. */
const NODE_KEYS: readonly string[] = ["noDelay", "keepAlive"];

/** As Node: all IPv6 and IPv4 addresses, or all IPv4 addresses of a host without IPv6. */
function listenOnAny(listenOn: (host: string) => void): void {
  try {
    listenOn("::");
  } catch (error) {
    if (!(error instanceof SocketError) || !["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(error.code))
      throw error;
    listenOn("0.0.0.0");
  }
}

function isHost(host: string): boolean {
  return hostBytes(host.split("%")[0]!) !== null;
}

interface ParsedListen extends ListenOptions {
  readonly port: number;
  readonly host?: string;
  readonly signal?: AbortSignal;
  readonly onListening?: () => void;
}

/** Reads (port?, host?, backlog?, onListening?), or an object with LISTEN_KEYS in place of the first three. */
function parseListen(given: readonly unknown[]): ParsedListen {
  const onListening = typeof given.at(-1) === "function" ? { onListening: given.at(-1) as () => void } : {};
  const [first, second, third] = given.filter((value) => typeof value !== "function");
  if (typeof first === "object" && first !== null) return { ...parseObject(first), ...onListening };
  const backlog = [second, third].find((value) => typeof value === "number");
  return {
    port: parsePort(first),
    ...(typeof second === "string" && { host: second }),
    ...(backlog !== undefined && { backlog }),
    ...onListening,
  };
}

const LISTEN_KEYS = ["port", "host", "backlog", "ipv6Only", "reusePort", "signal", "exclusive"] as const;

function parseObject(given: object): ParsedListen {
  for (const key of Object.keys(given)) {
    if ((LISTEN_KEYS as readonly string[]).includes(key)) continue;
    const meant = nearest(key, LISTEN_KEYS);
    const fix = meant ? `did you mean "${meant}"?` : "its socket must be opened here, with its options";
    throw invalidArgument("ERR_INVALID_LISTEN", `listen() takes no "${key}": ${fix}`);
  }
  // Exclusive is what it is anyway: a worker of node:cluster cannot share it.
  const { port, exclusive: _, ...rest } = given as ParsedListen & { exclusive?: boolean };
  return { ...rest, port: parsePort(port) };
}

/** Node takes digits too, and any free port when there is none. */
function parsePort(port: unknown): number {
  if (port === undefined || port === null) return 0;
  if (typeof port === "string" && !/^\d+$/.test(port)) {
    throw invalidArgument("ERR_INVALID_LISTEN", `listen("${port}"): only a TCP port has socket options`);
  }
  const number = typeof port === "string" ? Number(port) : port;
  checkPort(number);
  return number;
}
