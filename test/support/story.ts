/** The article's story, run by test/support/programs: a service that dies and restarts, a client at full speed. */
import { expect } from "vitest";
import type { CommandResult } from "./harness.ts";
import { command, runInNamespace } from "./harness.ts";

const program = (name: string) => new URL(`programs/${name}`, import.meta.url).pathname;

export const REGISTER = ["--require", new URL("../../dist/register.cjs", import.meta.url).pathname];
/** The other way to load it. */
export const REGISTER_MODULE = ["--import", new URL("../../dist/register.js", import.meta.url).href];

/** Guarded and unguarded ways to connect. */
const FUNCTIONS = ["connect", "stream", "streams", "tls", "http", "undici", "dial", "connectMany"];
export const GUARDED_DOORS = FUNCTIONS.map((name) => `guarded ${name}`);
export const PLAIN_DOORS = ["net", "socket", "tls", "http", "undici", "fetch"];

export interface Story {
  readonly restarts: number;
  /** The errno names of failed restarts. */
  readonly refusals: readonly string[];
  readonly accepted: number;
  /** Sockets joined to themselves that the kernel's socket table listed between restarts. */
  readonly selfConnectsSeen: number;
  readonly refusalAtTheEnd: string | null;
  readonly client: {
    readonly attempts: number;
    readonly selfConnects: number;
    readonly rejected: number;
    readonly outcomes: Readonly<Record<string, number>>;
  };
}

interface Plot {
  readonly door: string;
  readonly port: number;
  readonly attempts: number;
  readonly restarts: number;
  /** Node's flags for the client. */
  readonly flags?: readonly string[];
  /** The ephemeral range of a new namespace; without it the client runs in the host's. */
  readonly range?: string;
}

export async function runStory({ door, port, attempts, restarts, flags = [], range }: Plot): Promise<Story> {
  const client = [...flags, program("client.mjs"), door, String(port), String(attempts)];
  const args = [program("service.mjs"), String(port), String(restarts), ...client];
  const run = range ? runInNamespace(range, process.execPath, args) : command(process.execPath, args);
  const { status, stdout, stderr }: CommandResult = await run;
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return JSON.parse(stdout);
}

/** Expects that all attempts were made, none was joined to itself, and every restart bound at its first try. */
export function expectGuarded(story: Story, attempts: number, restarts: number): void {
  expect(story.client.attempts).toBeGreaterThanOrEqual(attempts);
  expect(story.client.selfConnects).toBe(0);
  expect(story.selfConnectsSeen).toBe(0);
  expect(story.refusals).toEqual([]);
  expect(story.restarts).toBe(restarts);
  expect(story.accepted).toBeGreaterThan(0);
  expect(story.refusalAtTheEnd).toBe(null);
  // The client reconnected while the service was down, which is when self-connects happen.
  expect(story.client.outcomes.ECONNREFUSED).toBeGreaterThan(story.client.attempts / 2);
}
