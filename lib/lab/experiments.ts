/** All experiments, in the order of the report. */
import type { Experiment } from "./experiment.ts";
import { autobind } from "./experiments/autobind.ts";
import { autobindReuse } from "./experiments/autobind-reuse.ts";
import { bindFirst } from "./experiments/bind-first.ts";
import { closing } from "./experiments/closing.ts";
import { exhaustion } from "./experiments/exhaustion.ts";
import { freeing } from "./experiments/freeing.ts";
import { laps } from "./experiments/laps.ts";
import { lateBind } from "./experiments/late-bind.ts";
import { oddLowEnd } from "./experiments/odd-low-end.ts";
import { parity } from "./experiments/parity.ts";
import { peers } from "./experiments/peers.ts";
import { rangeFull } from "./experiments/range-full.ts";
import { rangeOne } from "./experiments/range-one.ts";
import { rangeWithout } from "./experiments/range-without.ts";
import { rate } from "./experiments/rate.ts";
import { refusal } from "./experiments/refusal.ts";
import { reserved } from "./experiments/reserved.ts";
import { reuseAddress } from "./experiments/reuse-address.ts";
import { sameSocket } from "./experiments/same-socket.ts";
import { sequence } from "./experiments/sequence.ts";
import { stepWidth } from "./experiments/step-width.ts";
import { steps } from "./experiments/steps.ts";
import { time } from "./experiments/time.ts";

export const EXPERIMENTS: readonly Experiment[] = [
  parity,
  oddLowEnd,
  steps,
  laps,
  sequence,
  time,
  peers,
  bindFirst,
  rangeOne,
  rangeWithout,
  rangeFull,
  autobind,
  autobindReuse,
  lateBind,
  sameSocket,
  refusal,
  closing,
  freeing,
  reuseAddress,
  exhaustion,
  reserved,
  stepWidth,
  rate,
];
