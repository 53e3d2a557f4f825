/**
 * `node --require selfconnect/register app.js`: the entry that guards a whole program. It is CommonJS, because a module
 * makes the program's own entry asynchronous. Through NODE_OPTIONS it reaches every Node that the program starts, also
 * one that is too old for the guard: that one gets a warning, and runs.
 */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major > 20 || (major === 20 && minor >= 12)) require("./guard/register.cjs");
else {
  const message = `the guard needs Node 20.12 or later: Node ${process.versions.node} runs without it`;
  if (process.env.SELFCONNECT_GUARD === "strict") throw new Error(`selfconnect: ${message}`);
  process.emitWarning(message, "SelfConnectWarning", "ERR_NOT_GUARDED");
}
