/**
 * Seeded sequences of calls on two sockets, each compared with a small model of a TCP socket: what each call returns or
 * throws, and the state afterwards. fast-check finds the shortest sequence that fails, and prints its seed and path.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Address } from "../../lib/socket/address.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import type { SocketState } from "../../lib/socket/state.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { FAMILIES, LOOPBACK, random } from "../support/harness.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 60);
const CALLS = 30;
const BACKLOG = 100;
const SOCKETS = [0, 1] as const;

/** What the kernel knows of a socket. */
type Kind =
  | "new"
  | "listening"
  /** connect(2) returned EINPROGRESS, and the answer is there already: nobody has asked yet. */
  | "refused unasked"
  | "connected unasked"
  | "connected"
  /** The peer has reset the connection, and no call has returned that yet. */
  | "reset unasked"
  | "failed"
  | "closed";

/** One socket of the model. */
interface Model {
  kind: Kind;
  /** The code with which a failed socket has ended. */
  error: "ECONNREFUSED" | "ECONNRESET" | null;
  /** Whether bind(2) has given it a port: one that the kernel picked goes back when the connection or listening ends. */
  isBound: boolean;
  /** Whether a second connect(2) has returned 0: Linux connects this socket to nothing else, not even after a reset. */
  isTold: boolean;
  /** Whether the peer's end of the stream, or its own shutdown of reading, is there to be read. */
  isShutDown: boolean;
}

/** One socket and what it may connect to. */
interface Real {
  socket: TcpSocket;
  readonly listener: TcpSocket;
  /** Bound, and does not listen: it refuses. */
  readonly dead: TcpSocket;
}

type Outcome = readonly [code: string | null, value?: unknown];
const OK: Outcome = [null];
const CLOSED: Outcome = ["ERR_SOCKET_CLOSED"];
const BYTE = new Uint8Array([7]);

const STATE_OF: Readonly<Record<Kind, SocketState>> = {
  new: "unconnected",
  listening: "listening",
  "refused unasked": "connecting",
  "connected unasked": "connecting",
  connected: "connected",
  "reset unasked": "connected",
  failed: "failed",
  closed: "closed",
};

/** A call: what the model says that it does, which changes the model, and the call. */
interface Call {
  /** False where the kernel's answer depends on its version, or on what the model does not have. */
  readonly isDefined?: (model: Model) => boolean;
  readonly expect: (model: Model) => Outcome;
  readonly make: (real: Real) => unknown;
}

const isConnected = ({ kind }: Model) => kind === "connected" || kind === "connected unasked";

function fail(model: Model, error: "ECONNREFUSED" | "ECONNRESET"): Outcome {
  Object.assign(model, { kind: "failed", error, isBound: false, isShutDown: false });
  return [error];
}

/** The call asks the kernel, which returns the error that it has for this socket. */
function failUnasked(model: Model): Outcome | null {
  if (model.kind === "refused unasked") return fail(model, "ECONNREFUSED");
  return model.kind === "reset unasked" ? fail(model, "ECONNRESET") : null;
}

function begin(model: Model, kind: Kind): Outcome {
  Object.assign(model, { kind, error: null, isShutDown: false });
  return [null, "in-progress"];
}

const CALLS_BY_NAME: Readonly<Record<string, Call>> = {
  bind: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      const hasPort = model.isBound || model.kind === "listening" || isConnected(model);
      if (!hasPort) model.isBound = true;
      return hasPort ? ["EINVAL"] : OK;
    },
    // A connect that has ended without anybody having asked has given its port back, or keeps it: by the kernel.
    isDefined: ({ kind }) => !kind.endsWith("unasked") || kind === "connected unasked",
    make: ({ socket, dead }) => void socket.bind({ ...dead.getsockname(), port: 0 }),
  },
  connect: {
    isDefined: ({ kind }) => kind === "new" || kind === "failed" || kind === "closed" || kind === "listening",
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      return model.kind === "listening" || model.isTold ? ["EISCONN"] : begin(model, "connected unasked");
    },
    make: ({ socket, listener }) => connectTo(socket, listener.getsockname()),
  },
  connectRefused: {
    isDefined: ({ kind }) => kind !== "reset unasked" && kind !== "refused unasked",
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      if (!model.isTold && (model.kind === "new" || model.kind === "failed"))
        return begin(model, "refused unasked");
      // Of a connect in progress it returns that one's result, and makes no other.
      if (isConnected(model)) model.isTold = true;
      return ["EISCONN"];
    },
    make: ({ socket, dead }) => connectTo(socket, dead.getsockname()),
  },
  connectedTwice: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      const failed = failUnasked(model);
      if (failed) return failed;
      if (model.kind === "failed") return [model.error];
      if (!isConnected(model)) return ["ERR_NOT_CONNECTING"];
      model.kind = "connected";
      return OK;
    },
    make: async ({ socket }) => {
      const [one, other] = await Promise.allSettled([socket.connected(), socket.connected()]);
      const codes = [one, other].map((end) => (end.status === "rejected" ? end.reason.code : null));
      expect(codes[1]).toBe(codes[0]);
      if (one.status === "rejected") throw one.reason;
    },
  },
  listen: {
    isDefined: ({ kind }) => kind !== "refused unasked" && kind !== "failed",
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      if (model.kind !== "new" && model.kind !== "listening") return ["EINVAL"];
      Object.assign(model, { kind: "listening", isBound: true });
      return OK;
    },
    make: ({ socket }) => void socket.listen(),
  },
  accept: {
    expect: ({ kind }) => (kind === "closed" ? CLOSED : kind === "listening" ? [null, null] : ["EINVAL"]),
    make: ({ socket }) => socket.accept(),
  },
  takeError: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      const failed = failUnasked(model);
      return [null, failed ? failed[0] : null];
    },
    make: ({ socket }) => socket.takeError()?.code ?? null,
  },
  send: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      const failed = failUnasked(model);
      if (failed) return failed;
      return isConnected(model) && !model.isShutDown ? [null, 1] : ["EPIPE"];
    },
    make: ({ socket }) => socket.send(BYTE),
  },
  recv: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      const failed = failUnasked(model);
      if (failed) return failed;
      if (model.kind === "failed") return [model.error];
      if (!isConnected(model)) return ["ENOTCONN"];
      return [null, model.isShutDown ? 0 : null];
    },
    make: ({ socket }) => socket.recv(new Uint8Array(1)),
  },
  isSelfConnected: {
    expect: ({ kind }) => (kind === "closed" ? CLOSED : [null, false]),
    make: ({ socket }) => socket.isSelfConnected(),
  },
  getpeername: {
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      if (model.kind === "reset unasked") return fail(model, "ECONNRESET");
      return isConnected(model) ? OK : ["ENOTCONN"];
    },
    make: ({ socket }) => void socket.getpeername(),
  },
  shutdown: {
    // Linux keeps a shutdown of a socket without a peer, and sends FIN when it connects later.
    isDefined: ({ kind }) => kind === "connected" || kind === "closed" || kind === "listening",
    expect: (model) => {
      if (model.kind === "closed") return CLOSED;
      if (model.kind === "connected") model.isShutDown = true;
      else Object.assign(model, { kind: "new", isBound: false });
      return OK;
    },
    make: ({ socket }) => void socket.shutdown("both"),
  },
  /** The peer accepts every connection, and resets it. */
  peerResets: {
    isDefined: ({ kind, isShutDown }) => kind === "connected" && !isShutDown,
    expect: (model) => {
      model.kind = "reset unasked";
      return OK;
    },
    make: async ({ socket, listener }) => {
      for (let one = listener.accept(); one; one = listener.accept()) one.reset();
      await awaitState(socket, (state) => state === "CLOSED");
    },
  },
  move: {
    expect: ({ kind }) => (kind === "closed" ? CLOSED : OK),
    make: (real) => {
      real.socket = TcpSocket.fromTransfer(real.socket.transfer());
    },
  },
  close: { expect: end, make: ({ socket }) => socket.close() },
  reset: { expect: end, make: ({ socket }) => socket.reset() },
};
/** They end a socket, after which every call has one answer. */
const RARE = new Set(["close", "reset", "listen", "shutdown"]);

/** connect(2), until its answer is there: on a busy machine loopback may bring it later. */
async function connectTo(socket: TcpSocket, peer: Address): Promise<string> {
  const result = socket.connect(peer);
  await awaitState(socket, (state) => state !== "SYN-SENT" && state !== "SYN-RECEIVED");
  return result;
}

/** TCP_INFO, which changes nothing, again and again. */
async function awaitState(socket: TcpSocket, isReached: (state: string) => boolean): Promise<void> {
  while (!isReached(socket.getsockopt("information").state)) await nextTurn();
}

function end(model: Model): Outcome {
  model.kind = "closed";
  return OK;
}

class CallCommand implements fc.AsyncCommand<Model[], Real[]> {
  readonly #name: string;
  readonly #of: number;

  constructor(name: string, of: number) {
    this.#name = name;
    this.#of = of;
  }

  check(models: readonly Model[]): boolean {
    return CALLS_BY_NAME[this.#name]!.isDefined?.(models[this.#of]!) ?? true;
  }

  async run(models: Model[], reals: Real[]): Promise<void> {
    const [model, real] = [models[this.#of]!, reals[this.#of]!];
    const call = CALLS_BY_NAME[this.#name]!;
    const before = model.kind;
    const [code, value] = call.expect(model);
    const outcome = await observe(() => call.make(real));
    const expected = {
      code,
      value,
      state: STATE_OF[model.kind],
      others: models.map(({ kind }) => STATE_OF[kind]),
    };
    const others = reals.map(({ socket }) => socket.state);
    expect({ ...outcome, state: real.socket.state, others }, `${this.#name}() after "${before}"`).toEqual(
      expected,
    );
  }

  toString(): string {
    return `${this.#name} of ${this.#of}`;
  }
}

async function observe(call: () => unknown): Promise<{ code: string | null; value: unknown }> {
  try {
    return { code: null, value: await call() };
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (typeof code !== "string") throw error;
    return { code, value: undefined };
  }
}

const commands = SOCKETS.flatMap((of) =>
  Object.keys(CALLS_BY_NAME).flatMap((name) =>
    Array.from({ length: RARE.has(name) ? 1 : 4 }, () => fc.constant(new CallCommand(name, of))),
  ),
);

function open(family: 4 | 6): Real {
  const listener = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 }).listen(BACKLOG);
  // Of the parity that connect(2) does not pick: no attempt is joined to itself. Held: no listener gets it.
  const dead = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 });
  return { socket: TcpSocket.open(family, { lingerSeconds: 0 }), listener, dead };
}

const newModel = (): Model => ({
  kind: "new",
  error: null,
  isBound: false,
  isTold: false,
  isShutDown: false,
});

it.each(FAMILIES)("sequences of calls do what a small model of a TCP socket says, over IPv%i", {
  timeout: 30_000 + 50 * RUNS,
}, async (family) => {
  const { seed } = random();
  const before = openDescriptors().size;
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: CALLS, size: "max" }), async (sequence) => {
      const reals = SOCKETS.map(() => open(family));
      try {
        await fc.asyncModelRun(() => ({ model: SOCKETS.map(newModel), real: reals }), sequence);
      } finally {
        for (const { socket, listener, dead } of reals) {
          socket.reset();
          listener.close();
          dead.close();
        }
      }
    }),
    { seed, numRuns: RUNS },
  );
  await nextTurn();
  expect(openDescriptors().size).toBe(before);
});
