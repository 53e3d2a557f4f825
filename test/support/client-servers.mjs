// node client-servers.mjs KIND PORT FOLDER: a server for the clients of docs/clients.md that have no Debian package. The
// packages are those in FOLDER. "mongodb" and "kafkajs" are scripts of the first exchange, and no more.
import http from "node:http";
import http2 from "node:http2";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";

const [kind, port, folder] = process.argv.slice(2);
const need = createRequire(path.join(folder, "package.json"));
const address = { port: Number(port), host: "127.0.0.1" };

const SERVERS = {
  http: () => http.createServer((_, response) => response.end("asked")).listen(address),
  "node:http2": () => http2.createServer((_, response) => response.end("asked")).listen(address),
  ws: () => new (need("ws").WebSocketServer)(address),
  "socket.io-client": () => {
    const server = http.createServer().listen(address);
    return new (need("socket.io").Server)(server);
  },
  "@grpc/grpc-js": () => {
    const { Server, ServerCredentials } = need("@grpc/grpc-js");
    const same = (bytes) => bytes;
    const unary = { requestStream: false, responseStream: false };
    const serialize = { requestSerialize: same, requestDeserialize: same };
    const deserialize = { responseSerialize: same, responseDeserialize: same };
    const echo = { path: "/test/Echo", ...unary, ...serialize, ...deserialize };
    const server = new Server();
    server.addService({ echo }, { echo: (call, answer) => answer(null, call.request) });
    server.bindAsync(`${address.host}:${port}`, ServerCredentials.createInsecure(), (error) => {
      if (error) throw error;
    });
  },
  nodemailer: () => serve(answerSmtp),
  mongodb: () => serve(answerMongo),
  kafkajs: () => serve(answerKafka),
};

SERVERS[kind]();

/** A server that answers each piece of data that it receives; one piece is one message on loopback. */
function serve(answer) {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    answer(socket);
  });
  server.listen(address);
}

function answerSmtp(socket) {
  socket.write("220 test\r\n");
  socket.on("data", (line) => socket.write(/^QUIT/.test(line) ? "221 bye\r\n" : "250 test\r\n"));
}

/** Answers every command as a standalone server that is ready: in OP_REPLY to OP_QUERY, else in OP_MSG. */
function answerMongo(socket) {
  const { serialize } = need("bson");
  const hello = { ismaster: true, isWritablePrimary: true, maxWireVersion: 21, minWireVersion: 0 };
  const limits = { maxBsonObjectSize: 2 ** 24, maxMessageSizeBytes: 48_000_000, maxWriteBatchSize: 100_000 };
  const document = serialize({ ...hello, ...limits, readOnly: false, ok: 1 });
  const OP_REPLY = 1;
  const OP_QUERY = 2004;
  const OP_MSG = 2013;
  socket.on("data", (request) => {
    const isQuery = request.readInt32LE(12) === OP_QUERY;
    const head = Buffer.alloc(isQuery ? 36 : 21);
    head.writeInt32LE(head.length + document.length, 0);
    head.writeInt32LE(request.readInt32LE(4), 8);
    head.writeInt32LE(isQuery ? OP_REPLY : OP_MSG, 12);
    if (isQuery) head.writeInt32LE(1, 32);
    socket.write(Buffer.concat([head, document]));
  });
}

/** Answers ApiVersions, the first request of every client: the versions of each request that it may make. */
function answerKafka(socket) {
  const LAST_API = 40;
  socket.on("data", (request) => {
    const version = request.readInt16BE(6);
    const versions = Buffer.alloc(6 * LAST_API);
    for (let api = 0; api < LAST_API; api++) versions.writeInt16BE(api, 6 * api);
    const head = Buffer.alloc(14);
    head.writeInt32BE(request.readInt32BE(8), 4);
    head.writeInt32BE(LAST_API, 10);
    const throttle = Buffer.alloc(version > 0 ? 4 : 0);
    head.writeInt32BE(head.length - 4 + versions.length + throttle.length, 0);
    socket.write(Buffer.concat([head, versions, throttle]));
  });
}
