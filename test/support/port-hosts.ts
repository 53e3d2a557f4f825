/** Simulated hosts that pick local ports in known ways, and what a capture shows of them. */

/** How a simulated host picks, and the names that are right for it. "unknown" is never wrong. */
export interface PortHost {
  readonly kind: string;
  readonly names: readonly string[];
  /** The next local port for a peer. */
  pick(peer: number, atMs: number): number;
}

/** Creates a host with a random state. */
export type MakeHost = (random: () => number) => PortHost;

const below = (random: () => number, limit: number) => Math.floor(random() * limit);
const choose = <Item>(random: () => number, items: readonly Item[]) => items[below(random, items.length)]!;

/** A walk: where counters start, how they advance, which ports are in use. */
interface WalkOptions {
  readonly low: number;
  readonly size: number;
  readonly stride: 1 | 2;
  readonly increment: (random: () => number) => number;
  /** The counters; 0: each peer has one of its own, which depends on the salt. */
  readonly counters: number;
  readonly hasOffsets: boolean;
  readonly saltMs?: number;
}

function walk(random: () => number, options: WalkOptions): PortHost["pick"] {
  const { low, size, stride, increment, counters, hasOffsets, saltMs = Infinity } = options;
  const choices = Math.floor(size / stride);
  const slots = new Map<number, number>();
  const offsets = new Map<string, number>();
  const phase = random() * 10_000;
  const inUse = new Set<number>();
  if (random() < 0.3) {
    const share = random() * 0.05;
    for (let choice = 0; choice < choices; choice++) if (random() < share) inUse.add(choice);
  }
  const remember = <Key>(map: Map<Key, number>, key: Key) => {
    if (!map.has(key)) map.set(key, below(random, choices));
    return map.get(key)!;
  };
  const slotOf = new Map<number, number>();
  return (peer, atMs) => {
    if (!slotOf.has(peer)) slotOf.set(peer, below(random, counters));
    const slot = slotOf.get(peer)!;
    const salt = Math.floor((atMs + phase) / saltMs);
    const offset = hasOffsets ? remember(offsets, `${peer} ${salt}`) : 0;
    let count = remember(slots, slot);
    while (inUse.has((offset + count) % choices)) count++;
    slots.set(slot, count + increment(random));
    return low + stride * ((offset + count) % choices);
  };
}

const uniform = (most: number) => (random: () => number) => 1 + below(random, most);
const one = () => 1;

function range(random: () => number, stride: 1 | 2): { low: number; size: number } {
  const [low, high] = choose(random, [
    [32_768, 60_999],
    [32_768, 60_999],
    [1024, 65_535],
    [49_152, 65_535],
    [40_000, 40_000 + 2 * (50 + below(random, 1000)) - 1],
  ]) as [number, number];
  return { low: low + (stride === 2 ? below(random, 2) : 0), size: high - low + 1 };
}

/** Every kind of host. */
export const PORT_HOSTS: readonly MakeHost[] = [
  (random) => {
    const { low, size } = choose(random, [range(random, 1), { low: 10_001, size: 55_535 }]);
    return { kind: "uniform", names: ["simple-random"], pick: () => low + below(random, size) };
  },
  (random) => ({
    kind: "sequential",
    names: ["sequential"],
    pick: walk(random, {
      ...range(random, 1),
      stride: 1,
      increment: one,
      counters: 1,
      hasOffsets: false,
    }),
  }),
  (random) => ({
    kind: "hash-based, also gVisor",
    names: ["hash-based"],
    pick: walk(random, {
      ...choose(random, [range(random, 1), { low: 16_000, size: 49_536 }]),
      stride: 1,
      increment: one,
      counters: 1,
      hasOffsets: true,
    }),
  }),
  (random) => ({
    kind: "double-hash",
    names: ["double-hash"],
    pick: walk(random, {
      ...range(random, 1),
      stride: 1,
      increment: one,
      counters: choose(random, [10, 64, 1024]),
      hasOffsets: true,
    }),
  }),
  (random) => {
    const most = choose(random, [500, 500, 2 + below(random, 1000)]);
    const increment = uniform(most);
    const pick = walk(random, {
      ...range(random, 1),
      stride: 1,
      increment,
      counters: 1,
      hasOffsets: false,
    });
    return { kind: `random increments up to ${most}`, names: ["random-increments"], pick };
  },
  (random) => {
    const increment = uniform(choose(random, [500, 20, 100]));
    const pick = walk(random, {
      ...range(random, 1),
      stride: 1,
      increment,
      counters: 10,
      hasOffsets: true,
    });
    return { kind: "random increments, many counters", names: [], pick };
  },
  (random) => ({
    kind: "Linux 5.18",
    names: ["linux-5.18"],
    pick: walk(random, linux(random, 65_536, 10_000)),
  }),
  (random) => ({
    kind: "Linux 6.8 with a range",
    names: ["linux-6.8-range"],
    pick: walk(random, { ...linux(random, 65_536, 10_000), ...range(random, 1), stride: 1 }),
  }),
  (random) => ({
    kind: "Linux 5.12",
    names: ["linux-5.12"],
    pick: walk(random, {
      ...linux(random, 256),
      increment: (next) => (next() < 1 / 16 ? 2 : 1),
    }),
  }),
  (random) => ({
    kind: "Linux 5.10.119",
    // The table of algorithms has it in the row of 5.12.
    names: ["linux-5.12"],
    pick: walk(random, { ...linux(random, 256, 10_000), increment: one }),
  }),
  (random) => ({
    kind: "Linux 4.6, also with salts",
    names: ["linux-4.6"],
    pick: walk(random, { ...linux(random, 1, choose(random, [10_000, Infinity])), increment: one }),
  }),
  (random) => {
    const { low, size } = range(random, 2);
    const pick = () => low + 2 * below(random, Math.floor(size / 2));
    return { kind: "Linux, bind(0)", names: ["linux-bind"], pick };
  },
  (random) => {
    const increment = () => choose(random, [1, 3, 7]);
    const pick = walk(random, {
      ...range(random, 2),
      stride: 2,
      increment,
      counters: 1,
      hasOffsets: true,
    });
    return { kind: "no known algorithm", names: [], pick };
  },
  (random) => {
    const { low, size } = range(random, 1);
    const pick = () => low + Math.floor(size * random() ** 1.5);
    return { kind: "uneven", names: [], pick };
  },
  (random) => {
    const hosts = Array.from({ length: choose(random, [2, 3, 10, 100]) }, () =>
      walk(random, linux(random, 65_536, 10_000)),
    );
    const pick = (peer: number, atMs: number) => choose(random, hosts)(peer, atMs);
    return { kind: `${hosts.length} Linux hosts behind one address`, names: ["linux-5.18"], pick };
  },
  (random) => {
    const ways = [
      choose(random, PORT_HOSTS.slice(0, 12))(random),
      choose(random, PORT_HOSTS.slice(0, 12))(random),
    ];
    const pick = (peer: number, atMs: number) => choose(random, ways).pick(peer, atMs);
    const names = ways[0]!.kind === ways[1]!.kind ? ways[0]!.names : [];
    return { kind: `mixed: ${ways.map(({ kind }) => kind).join(" and ")}`, names, pick };
  },
];

function linux(random: () => number, counters: number, saltMs = Infinity): WalkOptions {
  return { ...range(random, 2), stride: 2, increment: uniform(8), counters, hasOffsets: true, saltMs };
}

/** A SYN as it was captured. */
export interface SeenSyn {
  readonly peer: number;
  readonly port: number;
  readonly atMs: number;
  /** The initial sequence number. */
  readonly sequence: number;
}

/** What a capture shows of a host's SYNs: to some peers, at some pace, with loss, repeats and another order. */
export function seeSyns(host: PortHost, random: () => number): { syns: SeenSyn[]; about: string } {
  const count = choose(random, [150, 300, 1000, 3000]);
  const peers = choose(random, [1, 1, 2, 4, 12, 1000]);
  const everyMs = choose(random, [0.01, 1, 50, 1000, 30_000]);
  const loss = choose(random, [0, 0, 0.01, 0.06, 0.2]);
  const [repeats, swaps] = [choose(random, [0, 0.02]), choose(random, [0, 0, 0.01])];
  const isInBlocks = random() < 0.2;
  const syns: SeenSyn[] = [];
  for (let made = 0, atMs = 0; made < count; made++) {
    atMs += -Math.log(1 - random()) * everyMs;
    const peer = isInBlocks ? Math.floor((made * peers) / count) : below(random, peers);
    const syn = { peer, port: host.pick(peer, atMs), atMs, sequence: below(random, 2 ** 32) };
    if (random() >= loss) syns.push(syn);
    if (random() < repeats && syns.length > 0) syns.push({ ...syns[below(random, syns.length)]!, atMs });
    if (random() < swaps && syns.length > 1) syns.push(...syns.splice(-2).reverse());
  }
  const blocks = isInBlocks ? " one after the other" : "";
  return {
    syns,
    about: `${count} SYNs to ${peers} peers${blocks}, every ${everyMs} ms, loss ${loss}, swaps ${swaps}`,
  };
}
