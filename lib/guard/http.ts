/** node:http and node:https: an agent whose connections are guarded. */
import type http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { checkShape } from "../socket/misuse.ts";
import type { GuardOptions } from "./guard.ts";
import { checkOnlyGuardOptions } from "./guard-options.ts";
import { guardStream, withAsyncLookup } from "./streams.ts";

type CreateConnection = http.Agent["createConnection"];

/**
 * Guards every connect(2) that this agent makes from now on, and returns the agent: an http.Agent, an https.Agent,
 * or one that inherits from them. Its pools, TLS sessions and timeouts are unchanged. Throws as guardStream() does.
 */
export function guardAgent<A extends http.Agent>(agent: A, options: GuardOptions = {}): A {
  const checked = checkOnlyGuardOptions("guardAgent()", options);
  checkShape("guardAgent() takes an agent of http or https", agent, ["createConnection"]);
  const createConnection: CreateConnection = Reflect.get(agent, "createConnection");
  const guarded: CreateConnection = (request, created) =>
    guardIfSocket(createConnection.call(agent, withAsyncLookup(request), created), checked);
  return Object.assign(agent, { createConnection: guarded });
}

/** Returns other kinds of streams unguarded, and nothing for an agent that passes the stream to its callback. */
function guardIfSocket<D extends Duplex | null | undefined>(stream: D, options: GuardOptions): D {
  return stream instanceof net.Socket ? guardStream(stream, options) : stream;
}
