/** Real clients (ioredis, pg, mysql2) of real servers through the guard. */

import type net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { AbstractConnector, Redis } from "ioredis";
import mysql from "mysql2/promise";
import pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import type { GuardOptions } from "../../lib/guard/guard.ts";
import { connect } from "../../lib/guard/net.ts";
import { streamFactory } from "../../lib/guard/streams.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { deadPeer, LOOPBACK, requires } from "../support/harness.ts";
import type { ServiceName } from "../support/servers.ts";
import { Service } from "../support/servers.ts";

const host = LOOPBACK[4];
const RESTARTS = 2;
const PATIENCE_MS = 20_000;

/** The streams of a client, so that a test can end those that the client would keep. */
const streams: net.Socket[] = [];

function keepStream(stream: net.Socket): net.Socket {
  streams.push(stream);
  return stream;
}

afterEach(() => {
  for (const stream of streams.splice(0)) stream.destroy();
});

/** One connection, one question, one answer. */
type Ask = (port: number, options?: GuardOptions) => Promise<unknown>;

const CLIENTS = {
  async redis(port, options = {}) {
    class Connector extends AbstractConnector {
      constructor() {
        super(1000);
      }
      override async connect() {
        this.connecting = true;
        this.stream = keepStream(connect({ port, host, ...options }));
        return this.stream;
      }
    }
    const plan = { lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0, enableReadyCheck: false };
    const redis = new Redis({ Connector, ...plan } as never);
    let failure: unknown;
    redis.on("error", (error) => {
      failure ??= error;
    });
    try {
      await redis.connect();
      return await redis.echo("asked");
    } catch (error) {
      throw failure ?? error;
    } finally {
      redis.disconnect();
    }
  },
  async postgres(port, options) {
    const make = streamFactory(options);
    const plan = { host, port, user: "tester", database: "postgres", stream: () => keepStream(make()) };
    const client = new pg.Client(plan);
    client.on("error", () => {}); // Errors after connect() come from the test itself.
    await client.connect();
    try {
      return (await client.query("select 'asked' as answer")).rows[0].answer;
    } finally {
      await client.end();
    }
  },
  async mariadb(port, options = {}) {
    const stream = () => keepStream(connect({ port, host, ...options }));
    const connection = await mysql.createConnection({ host, port, user: "tester", stream });
    try {
      const [rows] = await connection.query("select 'asked' as answer");
      return (rows as { answer: string }[])[0]!.answer;
    } finally {
      connection.destroy();
    }
  },
} satisfies Partial<Record<ServiceName, Ask>>;

/** Asks again while PostgreSQL, which listens before it has recovered, reports that it is starting. */
async function askUntilAnswered(ask: Ask, port: number): Promise<unknown> {
  const endsAt = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask(port);
    } catch (error) {
      const isStarting = /starting up|not yet accepting/.test((error as Error).message);
      if (!isStarting || performance.now() > endsAt) throw error;
      await sleep(20);
    }
  }
}

describe.each(Object.keys(CLIENTS) as (keyof typeof CLIENTS)[])("%s", (name) => {
  const ask: Ask = CLIENTS[name];

  it("control: unguarded, the client is joined to itself and its server cannot start", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    const asking = ask(peer.port, { guard: "off", options }).catch(() => "failed");
    const endsAt = performance.now() + PATIENCE_MS;
    while (streams.every((stream) => stream.connecting) && performance.now() < endsAt) await sleep(1);
    expect(streams.map((stream) => stream.localPort)).toEqual([peer.port]);
    expect(streams.map((stream) => stream.remotePort)).toEqual([peer.port]);
    expect(listenRefusal(peer)).toBe("EADDRINUSE");
    for (const stream of streams) stream.resetAndDestroy();
    expect(await asking).toBe("failed");
  });

  it("guarded, its error is a refusal and the port is free", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    await expect(ask(peer.port, { options })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(listenRefusal(peer)).toBe(null);
  });

  it(
    "talks to its server, which starts at its first try while clients reconnect at full speed",
    async (context) => {
      await using service = new Service(name, context);
      for (let restart = 0; restart < RESTARTS; restart++) {
        let isUp = false;
        const reconnecting = (async () => {
          while (!isUp) await ask(service.port).catch(() => undefined);
        })();
        await service.start();
        isUp = true;
        await reconnecting;
        expect(await askUntilAnswered(ask, service.port)).toBe("asked");
        await service.stop();
        await expect(ask(service.port)).rejects.toThrow();
      }
    },
    6 * PATIENCE_MS,
  );
});
