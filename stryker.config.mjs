/** Mutation testing, part of `npm run check:deep`: docs/mutation.md says how to read it. */
export default {
  mutate: [
    "lib/socket/{socket,shared-wait,reactor,transfer,waits,connecting,stream-socket,joined-end}.ts",
    "lib/socket/{address-socket,inherited,pair,option-access,option-socket,self-connect,state}.ts",
    "lib/guard/*.ts",
    "!lib/guard/index.ts",
    "lib/loop/{engine,options,reconnect,statistics}.ts",
  ],
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner", "./test/support/message-texts.mjs"],
  ignorers: ["message-texts"],
  vitest: { configFile: "test/support/mutation.config.ts", related: true },
  // One at a time: the tests share one host's ports.
  concurrency: 1,
  coverageAnalysis: "perTest",
  // What runs when a module is loaded (constants, tables) would need every test again for each mutant.
  ignoreStatic: true,
  reporters: ["clear-text", "json"],
  jsonReporter: { fileName: "build/mutation/report.json" },
  clearTextReporter: { allowColor: false, logTests: false },
  tempDirName: "build/mutation/sandbox",
  ignorePatterns: [".git", "coverage", "prebuilds", "build/mutation", "build/asan", "build/tsan"],
  timeoutMS: 10_000,
  // A little below the score in docs/mutation.md: tests that notice less than today's are a failure.
  thresholds: { high: 95, low: 90, break: 85 },
  allowConsoleColors: false,
};
