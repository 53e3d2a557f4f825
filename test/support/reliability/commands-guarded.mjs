// What `selfconnect run` starts in the part `commands`: one connect to the port that is its argument.
import net from "node:net";

const stream = net.connect(Number(process.argv[2]), "127.0.0.1");
stream.once("connect", () => stream.end());
stream.once("error", ({ message }) => {
  console.error(message);
  process.exitCode = 1;
});
