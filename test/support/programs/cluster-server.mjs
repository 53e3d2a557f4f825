// In a worker of node:cluster: prints why its listening socket cannot go to a server of Node.
import cluster from "node:cluster";
import { listen } from "../../../dist/index.js";

if (cluster.isPrimary) cluster.fork();
else {
  const listener = listen("127.0.0.1:0");
  try {
    listener.toServer();
  } catch ({ code }) {
    console.log(code, listener.state);
  }
  listener.close();
  process.disconnect();
}
