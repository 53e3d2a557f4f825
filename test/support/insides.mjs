// Node's insides that the guard depends on, each with the file that does. Node documents none of them and may change any.
// Plain JavaScript without a test runner, because it runs on every Node: node insides.mjs. It prints each that has
// changed, and exits with 1 if there is one. `node insides.mjs nothing` is a program that does nothing.
import assert from "node:assert/strict";
import childProcess from "node:child_process";
import cluster from "node:cluster";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import { createRequire, syncBuiltinESMExports } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import { Worker } from "node:worker_threads";

const HOST = "127.0.0.1";
const RESPONSE = "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n";
const { connect } = net.Socket.prototype;

/** What the accessor of net.Socket.prototype keeps: lib/guard/streams.ts. */
const HANDLE = Object.getOwnPropertyDescriptor(net.Socket.prototype, "_handle");

/** Runs `use` with a listener that sends an empty response on every connection, and closes it. */
async function withListener(use, host = HOST) {
  const server = net.createServer((socket) => socket.end(RESPONSE)).listen(0, host);
  await once(server, "listening");
  try {
    return await use(server.address().port);
  } finally {
    server.close();
  }
}

/** The handles that a stream gets, each passed to `take` when it is stored. */
function watchHandle(socket, take) {
  Object.defineProperty(socket, "_handle", {
    ...HANDLE,
    set(handle) {
      HANDLE.set.call(this, handle);
      if (handle) take(handle);
    },
  });
  return socket;
}

/** Replaces methods of a handle by own properties that record their arguments. Returns the calls. */
function record(handle, names) {
  const calls = [];
  for (const name of names) {
    const original = handle[name];
    handle[name] = function (...values) {
      const result = original.apply(this, values);
      calls.push({ name, values, result });
      return result;
    };
  }
  return calls;
}

/** The calls that Node makes of a handle's methods for one connect with these options, and the error if it failed. */
async function callsOf(options) {
  let calls = [];
  const socket = watchHandle(new net.Socket(), (handle) => {
    calls = record(handle, ["bind", "bind6", "connect", "connect6"]);
  });
  await waitForClose(socket.connect(options));
  return calls;
}

/** Whether `use` ends in a call of net.Socket.prototype.connect. Returns the arguments of the first. */
async function argumentsOf(use) {
  let first;
  net.Socket.prototype.connect = function (...values) {
    first ??= values;
    return connect.apply(this, values);
  };
  try {
    await use();
  } finally {
    net.Socket.prototype.connect = connect;
  }
  return first;
}

const waitForClose = (stream) =>
  new Promise((resolve) => {
    stream.on("error", () => {}).on("close", resolve);
    stream.resume?.();
  });

const INSIDES = {
  "streams.ts: net.Socket.prototype has an accessor _handle, through which every handle is stored":
    async () => {
      assert.equal(typeof HANDLE?.set, "function");
      assert.equal(typeof HANDLE.get, "function");
      await withListener(async (port) => {
        const handles = [];
        await waitForClose(
          watchHandle(new net.Socket(), (handle) => handles.push(handle)).connect(port, HOST),
        );
        assert.equal(handles.length, 1);
      });
    },

  "joined-end.ts: a shutdown() of the handle that returns 1 ends the stream's writing side at once": () =>
    withListener(async (port) => {
      let requests = 0;
      const socket = watchHandle(new net.Socket({ allowHalfOpen: true }), (handle) => {
        handle.shutdown = () => {
          requests++;
          return 1;
        };
      });
      await once(socket.connect(port, HOST), "connect");
      await once(socket.end(), "finish");
      assert.equal(requests, 1);
      await waitForClose(socket);
    }),

  "handle.ts: a TCP handle has an fd and these methods, and own properties replace them": () =>
    withListener(async (port) => {
      const socket = watchHandle(new net.Socket(), (handle) => {
        assert.equal(handle.constructor.name, "TCP");
        assert.equal(handle.fd, -1);
        const names = [
          "open",
          "bind",
          "bind6",
          "connect",
          "connect6",
          "getsockname",
          "getpeername",
          "shutdown",
          "close",
          "reset",
        ];
        for (const name of names)
          assert.equal(typeof Object.getPrototypeOf(handle)[name] ?? handle[name], "function");
      });
      socket.connect(port, HOST);
      await once(socket, "connect");
      assert.ok(socket._handle.fd > 0);
      const [local, peer] = [{}, {}];
      assert.equal(socket._handle.getsockname(local), 0);
      assert.equal(socket._handle.getpeername(peer), 0);
      assert.deepEqual([local.port, peer.address, peer.port], [socket.localPort, HOST, port]);
      await waitForClose(socket);
    }),

  "handle.ts: a pipe's handle is a Pipe": async () => {
    const name = path.join(os.tmpdir(), `selfconnect-insides-${process.pid}`);
    const server = net.createServer((socket) => socket.end()).listen(name);
    await once(server, "listening");
    await waitForClose(
      watchHandle(new net.Socket(), (handle) => assert.equal(handle.constructor.name, "Pipe")).connect(name),
    );
    server.close();
  },

  "handle.ts: a TLS handle has the TCP handle as its _parent": () =>
    withListener(async (port) => {
      const socket = tls.connect(port, HOST);
      assert.equal(socket._handle._parent.constructor.name, "TCP");
      await waitForClose(socket);
    }),

  "handle.ts: without a local address there is no bind, and connect gets (request, host, port)": () =>
    withListener(async (port) => {
      const calls = await callsOf({ port, host: HOST });
      assert.deepEqual(
        calls.map(({ name }) => name),
        ["connect"],
      );
      const [request, ...rest] = calls[0].values;
      assert.equal(typeof request.oncomplete, "function");
      assert.deepEqual([rest, calls[0].result], [[HOST, port], 0]);
    }),

  "handle.ts: a localAddress alone is bind(address, undefined)": () =>
    withListener(async (port) => {
      const [bind] = await callsOf({ port, host: HOST, localAddress: HOST });
      assert.deepEqual([bind.name, ...bind.values.slice(0, 2)], ["bind", HOST, undefined]);
    }),

  "handle.ts: a localPort is the second argument of bind, and of bind6": async () => {
    await withListener(async (port) => {
      const localPort = await withListener((free) => free);
      const [bind] = await callsOf({ port, host: HOST, localPort });
      assert.deepEqual([bind.name, bind.values[1]], ["bind", localPort]);
    });
    if (!os.networkInterfaces().lo?.some(({ family }) => family === "IPv6")) return;
    const [bind6, connect6] = await withListener(
      (port) => callsOf({ port, host: "::1", localAddress: "::1" }),
      "::1",
    );
    assert.deepEqual([bind6.name, bind6.values[0], connect6.name], ["bind6", "::1", "connect6"]);
  },

  "handle.ts: oncomplete gets (status, handle, request, readable, writable), and can be replaced": () =>
    withListener(async (port) => {
      const calls = [];
      const socket = watchHandle(new net.Socket(), (handle) => {
        const { connect: original } = handle;
        handle.connect = function (request, ...rest) {
          const { oncomplete } = request;
          request.oncomplete = function (...values) {
            calls.push([values[0], values[1] === handle, values[2] === request, ...values.slice(3)]);
            oncomplete.apply(this, values);
          };
          return original.call(this, request, ...rest);
        };
      });
      await waitForClose(socket.connect(port, HOST));
      assert.deepEqual(calls, [[0, true, true, true, true]]);
    }),

  "streams.ts: an errno that connect returns, or oncomplete gets, destroys the stream with Node's error":
    async () => {
      const refused = -os.constants.errno.ECONNREFUSED;
      for (const isLate of [false, true]) {
        const socket = watchHandle(new net.Socket(), (handle) => {
          handle.connect = (request) => {
            if (!isLate) return refused;
            setImmediate(() => request.oncomplete(refused, handle, request, false, false));
            return 0;
          };
        });
        const { destroy } = socket;
        let given;
        socket.destroy = function (error) {
          given = error;
          return destroy.call(this, error);
        };
        await waitForClose(socket.connect(1, HOST));
        assert.deepEqual([given?.code, given?.syscall], ["ECONNREFUSED", "connect"]);
      }
    },

  "register.ts: net, tls, http, https and fetch call net.Socket.prototype.connect": () =>
    withListener(async (port) => {
      const uses = {
        net: () => waitForClose(net.connect(port, HOST)),
        tls: () => waitForClose(tls.connect(port, HOST)),
        http: () => waitForClose(http.get({ port, host: HOST, agent: false })),
        fetch: () => fetch(`http://${HOST}:${port}/`).catch(() => {}),
      };
      for (const [name, use] of Object.entries(uses)) assert.ok(await argumentsOf(use), name);
    }),

  "register.ts: Node's own calls pass their arguments as one array, options first": () =>
    withListener(async (port) => {
      const [first] = await argumentsOf(() => waitForClose(net.connect({ port, host: HOST, guard: "off" })));
      assert.ok(Array.isArray(first));
      assert.equal(first[0].guard, "off");
    }),

  "register.ts: --require loads from a module of the name internal/preload": () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "selfconnect-insides-"));
    const file = path.join(folder, "preload.cjs");
    fs.writeFileSync(file, "console.log(module.parent.id)");
    try {
      const args = ["--require", file, "-e", "0"];
      assert.equal(
        childProcess.execFileSync(process.execPath, args, { encoding: "utf8" }),
        "internal/preload\n",
      );
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  },

  "inherit.ts: every asynchronous child is started by ChildProcess.prototype.spawn, with its file and envPairs":
    async () => {
      const { prototype } = childProcess.ChildProcess;
      const { spawn } = prototype;
      const seen = [];
      prototype.spawn = function (options) {
        seen.push([typeof options.file, options.envPairs.includes("INSIDE=1")]);
        return spawn.call(this, options);
      };
      const options = { env: { ...process.env, INSIDE: "1" }, silent: true };
      const nothing = [new URL(import.meta.url).pathname, "nothing"];
      try {
        cluster.setupPrimary({ exec: nothing[0], args: ["nothing"], silent: true });
        const children = [
          childProcess.spawn(process.execPath, nothing, options),
          childProcess.exec("true", options),
          childProcess.execFile("true", options),
          childProcess.fork(nothing[0], ["nothing"], options),
          cluster.fork({ INSIDE: "1" }).process,
        ];
        await Promise.all(children.map((child) => once(child, "exit")));
      } finally {
        prototype.spawn = spawn;
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 5 }, () => ["string", true]),
      );
    },

  "inherit.ts: syncBuiltinESMExports() changes the names that modules import": async () => {
    const { Worker: before } = await import("node:worker_threads");
    const threads = createRequire(import.meta.url)("node:worker_threads");
    threads.Worker = class extends before {};
    syncBuiltinESMExports();
    const { Worker: after } = await import("node:worker_threads");
    threads.Worker = before;
    syncBuiltinESMExports();
    assert.notEqual(after, before);
  },

  "inherit.ts: a worker takes --require in its execArgv and in NODE_OPTIONS of its env, also by eval":
    async () => {
      const file = path.join(os.tmpdir(), `selfconnect-insides-${process.pid}.cjs`);
      fs.writeFileSync(file, "globalThis.isPreloaded = true;");
      const code = 'require("worker_threads").parentPort.postMessage(globalThis.isPreloaded)';
      try {
        const own = [{ execArgv: ["--require", file] }, { env: { NODE_OPTIONS: `--require "${file}"` } }];
        for (const options of own) {
          const [message] = await once(new Worker(code, { eval: true, ...options }), "message");
          assert.equal(message, true);
        }
      } finally {
        fs.rmSync(file);
      }
    },

  "inherit.ts: a worker refuses flags of the whole process by name, with ERR_WORKER_INVALID_EXEC_ARGV":
    () => {
      const flags = ["--no-warnings", "--expose-gc", "--title=innocent"];
      assert.throws(
        () => new Worker("", { eval: true, execArgv: flags }),
        ({ code, message }) =>
          code === "ERR_WORKER_INVALID_EXEC_ARGV" && flags.slice(1).every((flag) => message.includes(flag)),
      );
    },
};

// A worker of a cluster would live on.
if (process.argv[2] === "nothing") process.exit();

for (const [inside, check] of Object.entries(INSIDES)) {
  try {
    await check();
  } catch (error) {
    console.log(`changed: ${inside}: ${error.message}`);
    process.exitCode = 1;
  }
}
if (!process.exitCode) console.log(`${Object.keys(INSIDES).length} as they were`);
process.exit();
