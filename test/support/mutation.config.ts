/**
 * The tests that Stryker runs against each mutant: those that import the sources of lib/, for a mutant is never built
 * into dist. Of the loop only those with bursts that the test makes up: real ones take seconds, again for each mutant.
 * MUTATION_TESTS names fewer, separated by commas: a run is then quicker, and its score a lower bound.
 * Without the census: Stryker's own descriptors come and go in the same process.
 */
import { defineConfig } from "vitest/config";
import { define } from "../../vitest.config.ts";

/** A mutant that nothing wakes costs this much; no test of the list needs a tenth of it. */
export const TEST_TIMEOUT_MS = 10_000;

export default defineConfig({
  define,
  test: {
    include: process.env.MUTATION_TESTS?.split(",") ?? [
      "test/socket/{address,address-forms,connecting,errors,inherited,joined-end,message,misuse,option-access,options,pair}.test.ts",
      "test/socket/{reactor,route,server,shared-wait,state,waits}.test.ts",
      "test/socket/{socket,socket.answers,socket.closing,socket.connected,socket.ends,socket.states}.test.ts",
      "test/socket/{stream-options,stream-socket,stream-socket.answers,transfer}.test.ts",
      "test/guard/{address-input,attempt-record,backoff,channels,connect-many,connect-many.answers,dial,dial.addresses,dial.policy}.test.ts",
      "test/guard/{guard,guard.ends,guard-options,handle,http,local-turns,net,pace,prevention,punch,punch.answers}.test.ts",
      "test/guard/{register.inside,seen,statistics,streams,undici}.test.ts",
      "test/loop/{engine.choice,options,reconnect.bursts,statistics}.test.ts",
    ],
    setupFiles: ["test/support/mutation-setup.ts"],
    fileParallelism: false,
    testTimeout: TEST_TIMEOUT_MS,
  },
});
