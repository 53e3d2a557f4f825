/** IP_LOCAL_PORT_RANGE with a bound of 0, or outside ip_local_port_range: inet_sk_get_local_port_range in Linux. */
import { isAtLeast } from "../../kernel/release.ts";
import type { PortRange } from "../../socket/port-range.ts";
import type { Experiment, Subject } from "../experiment.ts";
import { hasPortRange } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback, RANGE } from "../instruments.ts";
import { expectedLack, lackOfPortRange } from "../option-state.ts";
import { BOTH_PARITIES, LOW_PARITY, parityWords } from "../walk.ts";

/** So few ports that these attempts go round them more than once. */
const PORTS: PortRange = { low: RANGE.low, high: RANGE.low + 127 };
const ATTEMPTS = 80;
const MIDDLE = PORTS.low + 64;
/** The largest step of a walk. */
const STEP = 16;
/** The option, and the ports that it leaves where a bound that cannot be used is the range's own. */
const CASES: Readonly<Record<string, { readonly option: PortRange; readonly ports: PortRange }>> = {
  "high bound 0": { option: { low: MIDDLE, high: 0 }, ports: { ...PORTS, low: MIDDLE } },
  "low bound 0": { option: { low: 0, high: MIDDLE }, ports: { ...PORTS, high: MIDDLE } },
  "high bound outside": { option: { low: MIDDLE, high: PORTS.high + 500 }, ports: { ...PORTS, low: MIDDLE } },
  "both outside": { option: { low: PORTS.high + 1, high: PORTS.high + 500 }, ports: PORTS },
};
const OWN = "the range's own";

export const rangeBounds: Experiment = {
  name: "range-bounds",
  isSlow: true,
  question: "IP_LOCAL_PORT_RANGE with a bound that is 0 or outside the ephemeral range: what counts instead?",
  expected: (subject) => (hasPortRange(subject) ? expectedWords(subject) : expectedLack(subject)),
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    if (lack) return { answer: lack, counts: {} };
    return instruments.withRange(PORTS, async () => {
      const words: string[] = [];
      const counts: Record<string, number> = { attempts: ATTEMPTS };
      const all: number[] = [];
      for (const [name, { option, ports }] of Object.entries(CASES)) {
        const picked = await pickIn(instruments, option);
        all.push(...picked);
        [counts[`${name}: lowest`], counts[`${name}: highest`]] = [Math.min(...picked), Math.max(...picked)];
        words.push(`${name}: ${fills(picked, ports) ? OWN : "another"}`);
      }
      return { answer: `${words.join("; ")}; ${parityWords(all, PORTS)}`, counts };
    });
  },
};

async function pickIn(instruments: Instruments, localPortRange: PortRange): Promise<number[]> {
  const peer = loopback(instruments.findPortOutside());
  const ends = await instruments.connectMany(peer, ATTEMPTS, { options: { localPortRange } });
  return ends.map(({ localPort }) => localPort);
}

/** Whether these ports are all in a range and reach both its ends. */
function fills(ports: readonly number[], { low, high }: PortRange): boolean {
  const [lowest, highest] = [Math.min(...ports), Math.max(...ports)];
  return lowest >= low && lowest < low + STEP && highest <= high && highest > high - STEP;
}

/** Since 6.8 a socket with the option walks in steps of 1, whether its bounds count or not. */
function expectedWords({ upstream }: Subject): string {
  const words = Object.keys(CASES).map((name) => `${name}: ${OWN}`);
  return `${words.join("; ")}; ${isAtLeast(upstream, "6.8") ? BOTH_PARITIES : LOW_PARITY}`;
}
