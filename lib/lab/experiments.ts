/** All experiments, in the order of the report. */
import type { Experiment } from "./experiment.ts";
import { autobind } from "./experiments/autobind.ts";
import { autobindReuse } from "./experiments/autobind-reuse.ts";
import { bindFirst } from "./experiments/bind-first.ts";
import { closing } from "./experiments/closing.ts";
import { connectBucket } from "./experiments/connect-bucket.ts";
import { exhaustion } from "./experiments/exhaustion.ts";
import { fastOpen } from "./experiments/fast-open.ts";
import { firstPorts } from "./experiments/first-ports.ts";
import { freeing } from "./experiments/freeing.ts";
import { ioUring } from "./experiments/io-uring.ts";
import { lastPort } from "./experiments/last-port.ts";
import { lateBind } from "./experiments/late-bind.ts";
import { lateBindFull } from "./experiments/late-bind-full.ts";
import { mptcp } from "./experiments/mptcp.ts";
import { oddLowEnd } from "./experiments/odd-low-end.ts";
import { order } from "./experiments/order.ts";
import { otherFamily } from "./experiments/other-family.ts";
import { parity } from "./experiments/parity.ts";
import { peers } from "./experiments/peers.ts";
import { rangeBounds } from "./experiments/range-bounds.ts";
import { rangeFull } from "./experiments/range-full.ts";
import { rangeOne } from "./experiments/range-one.ts";
import { rangeWithout } from "./experiments/range-without.ts";
import { rate } from "./experiments/rate.ts";
import { refusal } from "./experiments/refusal.ts";
import { reserved } from "./experiments/reserved.ts";
import { reservedBlock } from "./experiments/reserved-block.ts";
import { reuseAddress } from "./experiments/reuse-address.ts";
import { reuseGroups } from "./experiments/reuse-groups.ts";
import { saltPhase } from "./experiments/salt-phase.ts";
import { sameSocket } from "./experiments/same-socket.ts";
import { sequence } from "./experiments/sequence.ts";
import { staleBucket } from "./experiments/stale-bucket.ts";
import { stepWidth } from "./experiments/step-width.ts";
import { steps } from "./experiments/steps.ts";
import { threads } from "./experiments/threads.ts";
import { time } from "./experiments/time.ts";
import { timeWait } from "./experiments/time-wait.ts";
import { timeWaitReuse } from "./experiments/time-wait-reuse.ts";
import { waits } from "./experiments/waits.ts";

export const EXPERIMENTS: readonly Experiment[] = [
  parity,
  oddLowEnd,
  steps,
  order,
  firstPorts,
  sequence,
  time,
  saltPhase,
  peers,
  bindFirst,
  rangeOne,
  rangeWithout,
  rangeFull,
  rangeBounds,
  autobind,
  autobindReuse,
  lateBind,
  lateBindFull,
  sameSocket,
  refusal,
  closing,
  timeWait,
  timeWaitReuse,
  freeing,
  reuseAddress,
  reuseGroups,
  otherFamily,
  connectBucket,
  staleBucket,
  exhaustion,
  lastPort,
  reserved,
  reservedBlock,
  stepWidth,
  threads,
  mptcp,
  fastOpen,
  ioUring,
  rate,
  waits,
];
