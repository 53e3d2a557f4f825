// A health check that a self-connect cannot fool: exits with 0 when a service accepts, with 1 when not, and says why.
//   node examples/health-check.mjs 127.0.0.1:50000
import { DialError, dial, listen, SocketError } from "selfconnect";

const [asked] = process.argv.slice(2);
const own = asked ? null : listen("127.0.0.1:0"); // Without an argument it checks a listener of its own.
const peer = asked ?? own?.getsockname() ?? "";
try {
  const { socket, attemptCount } = await dial(peer, { deadlineMs: 2000 });
  socket.reset();
  console.log(`healthy, at attempt ${attemptCount}`);
} catch (error) {
  // The kernel's answer, or the guard's verdict; anything else is a wrong argument.
  if (!(error instanceof SocketError || error instanceof DialError)) throw error;
  console.log(error.message);
  process.exitCode = 1;
}
own?.close();
