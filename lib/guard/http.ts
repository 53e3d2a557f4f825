/** node:http and node:https: an agent whose connections are guarded. */
import type http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import type { GuardOptions } from "./guard.ts";
import { checkOnlyGuardOptions } from "./guard-options.ts";
import { guardStream, withAsyncLookup } from "./streams.ts";

type CreateConnection = (options: object, created?: (error: Error | null, stream: Duplex) => void) => Duplex;

/**
 * Guards every connect(2) that this agent makes from now on, and returns the agent: an http.Agent, an https.Agent,
 * or one that inherits from them. Its pools, TLS sessions and timeouts are unchanged. Throws as guardStream() does.
 */
export function guardAgent<A extends http.Agent>(agent: A, options: GuardOptions = {}): A {
  const checked = checkOnlyGuardOptions("guardAgent()", options);
  const own = agent as unknown as { createConnection: CreateConnection };
  const { createConnection } = own;
  own.createConnection = (request, created) =>
    guardIfSocket(createConnection.call(agent, withAsyncLookup(request), created), checked);
  return agent;
}

/** Returns other kinds of streams unguarded, and nothing for an agent that passes the stream to its callback. */
function guardIfSocket(stream: Duplex, options: GuardOptions): Duplex {
  return stream instanceof net.Socket ? guardStream(stream, options) : stream;
}
