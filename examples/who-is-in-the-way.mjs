// A server cannot bind: one line names the holder of its port, and what to do. For an http server, and for a database.
import { spawn } from "node:child_process";
import http from "node:http";
import { listen } from "selfconnect";
import { explainBind } from "selfconnect/audit";
import { whoText } from "selfconnect/report";

const holder = listen("127.0.0.1:0");
const { port } = holder.getsockname();

const server = http.createServer().listen(port, "127.0.0.1");
server.on("error", (error) => console.log(whoText(explainBind(error))));

// A database ends when it cannot bind, and prints no more than "Address already in use".
const database = spawn("redis-server", ["--bind", "127.0.0.1", "--port", String(port), "--save", ""]);
database.on("exit", (code) => {
  if (code !== 0) console.log(whoText(explainBind(`127.0.0.1:${port}`)));
});
database.on("error", () => console.log("redis-server is not installed"));
database.on("close", () => holder.close());
