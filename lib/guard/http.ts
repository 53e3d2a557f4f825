/** node:http and node:https: an agent whose connections are guarded. */
import type http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import type { GuardOptions } from "./guard.ts";
import { checkGuardOptions, guardStream, unhurried } from "./streams.ts";

type CreateConnection = (options: object, created?: (error: Error | null, stream: Duplex) => void) => Duplex;

/**
 * Guards every connection that this agent makes from now on, and gives the agent back: an http.Agent, an
 * https.Agent, or one that inherits from them. Pools, TLS sessions and timeouts stay the agent's own.
 */
export function guardAgent<A extends http.Agent>(agent: A, options: GuardOptions = {}): A {
  const checked = checkGuardOptions(options);
  const own = agent as unknown as { createConnection: CreateConnection };
  const { createConnection } = own;
  own.createConnection = (request, created) =>
    guarded(createConnection.call(agent, unhurried(request), created), checked);
  return agent;
}

/** An agent may answer with a stream of another kind, or later by its callback: that one is not ours to guard. */
function guarded(stream: Duplex, options: GuardOptions): Duplex {
  return stream instanceof net.Socket ? guardStream(stream, options) : stream;
}
