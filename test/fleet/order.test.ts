/** Orders and answers from others: what is not exactly one of them is refused. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { auditAnswer, checkAuditAnswer } from "../../lib/fleet/audit-answer.ts";
import { checkAnswer, checkOrder, isHostName } from "../../lib/fleet/order.ts";
import { hidePassword, parseQueueUrl } from "../../lib/fleet/queue-url.ts";
import { EXPERIMENTS } from "../../lib/lab/experiments.ts";
import { CLEAN_AUDIT, replyOf } from "../support/fleet.ts";

const NAMES = EXPERIMENTS.map(({ name }) => name);
const run = "0123456789abcdef";
const order = { version: "0.1.0", run, kind: "experiment", experiment: "parity", trials: 12 };
const audit = { version: "0.1.0", run, kind: "audit", round: 0, ports: [8080] };

describe("an order", () => {
  it.each([order, audit])("of a lab or an audit is taken", (given) =>
    expect(checkOrder(given, NAMES)).toEqual(given));

  it.each([
    ["null", null],
    ["a text", "parity"],
    ["a list", [order]],
    ["an unknown kind", { ...order, kind: "shell" }],
    ["a kind of an object's prototype", { ...order, kind: "constructor" }],
    ["an unknown question", { ...order, experiment: "rm -rf /" }],
    ["a question that is a property of every object", { ...order, experiment: "__proto__" }],
    ["a question that is a list", { ...order, experiment: ["parity"] }],
    [
      "a field of the prototype",
      JSON.parse(`{"__proto__":{"kind":"audit"},${JSON.stringify(order).slice(1)}`),
    ],
    ["an unknown field", { ...order, sysctls: { "net.ipv4.ip_forward": "1" } }],
    ["no trials", { ...order, trials: 0 }],
    ["huge trials", { ...order, trials: 1e9 }],
    ["half a trial", { ...order, trials: 1.5 }],
    ["trials as text", { ...order, trials: "12" }],
    ["a run that would be another key", { ...order, run: "../../other:run" }],
    ["an oversized version", { ...order, version: "9".repeat(5_000) }],
    ["too many ports", { ...audit, ports: Array(1_000).fill(80) }],
    ["a port out of its range", { ...audit, ports: [65_536] }],
    ["ports that are no list", { ...audit, ports: { length: 1 } }],
    ["a negative round", { ...audit, round: -1 }],
  ])("with %s is refused", (_, given) => expect(() => checkOrder(given, NAMES)).toThrow());
});

describe("an answer", () => {
  const answer = { host: "web-1", cell: "parity", reply: replyOf(checkOrder(order, NAMES), "words") };

  it("is copied, with the known fields only", () => {
    const extended = { ...answer, more: 1, reply: { ...answer.reply, more: 2 } };
    expect(checkAnswer(extended)).toEqual(answer);
    expect(checkAnswer({ ...answer, reply: { kind: "audit", audit: CLEAN_AUDIT } }).reply.kind).toBe("audit");
  });

  it.each([
    ["another host's key", { ...answer, host: "web-1:wait" }],
    ["a cell that is no name", { ...answer, cell: "__proto__" }],
    ["an unknown kind", { ...answer, reply: { kind: "code" } }],
    ["words that are too long", { ...answer, reply: { kind: "refused", why: "x".repeat(501) } }],
    [
      "an audit without its lists",
      { ...answer, reply: { kind: "audit", audit: { ...CLEAN_AUDIT, joined: 1 } } },
    ],
    [
      "too many rows",
      { ...answer, reply: { kind: "audit", audit: { ...CLEAN_AUDIT, ports: Array(9_999) } } },
    ],
  ])("with %s is refused", (_, given) => expect(() => checkAnswer(given)).toThrow());

  it("of a real audit passes its own check", () => {
    const sent = auditAnswer(JSON.parse(readFileSync("test/golden/audit.input.json", "utf8")));
    expect(sent.listeners.length).toBeGreaterThan(0);
    expect(checkAuditAnswer(JSON.parse(JSON.stringify(sent)))).toEqual(sent);
  });
});

describe("the address of a queue", () => {
  it.each([
    ["redis://lab:s3cret@10.0.0.1/0", "redis://lab:***@10.0.0.1/0"],
    ["rediss://:s3cr@et@host", "rediss://:***@host"],
    ["redis://host?password=s3cret&db=1", "redis://host?password=***&db=1"],
    ["lab --queue unix:///run/s?password=s3cret --all", "lab --queue unix:///run/s?password=*** --all"],
  ])("%s is shown without its password", (text, shown) => expect(hidePassword(text)).toBe(shown));

  it("takes a socket of the file system, with user, password and database", () => {
    const { url, options } = parseQueueUrl("unix:///run/redis.sock?db=3&username=lab&password=a%40b");
    expect({ url, options }).toEqual({
      url: null,
      options: { path: "/run/redis.sock", username: "lab", password: "a@b", db: 3 },
    });
  });

  it.each(["http://user:s3cret@host", "s3cret", "unix://", "unix:///run/s?db=x"])("%s is refused", (text) => {
    const refuse = () => parseQueueUrl(text);
    expect(refuse).toThrow(expect.objectContaining({ code: "ERR_INVALID_QUEUE" }));
    expect(refuse).toThrow(expect.objectContaining({ message: expect.not.stringContaining("s3cret") }));
  });
});

it("a host's name has neither a colon nor a path", () => {
  expect(["web-1", "db.example.org", "a_b"].every(isHostName)).toBe(true);
  expect(["", "Web", "a:b", "../a", "-a", "x".repeat(64), 1, null].some(isHostName)).toBe(false);
});
