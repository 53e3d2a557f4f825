#!/usr/bin/env node
/** What the package's `bin` starts. An old Node could not even link the command line: its version is checked first. */
import { describeOldNode } from "./node-version.ts";

const oldNode = describeOldNode(process.versions.node);
if (oldNode) {
  console.error(oldNode);
  process.exit(1);
}
await import("./main.ts");
