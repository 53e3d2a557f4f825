/** `node --import selfconnect/register app.js`: the same as register.cts, for those who load modules first. */
import "./register.cts";
