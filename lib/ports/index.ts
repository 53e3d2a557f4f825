/** `selfconnect/ports`: how kernels pick local ports. */
export type { AlgorithmName, PortAlgorithm } from "./algorithms.ts";
export { PORT_ALGORITHMS, portAlgorithm, supposeAlgorithm } from "./algorithms.ts";
export type { PredictionCheck, PredictionCheckOptions } from "./check.ts";
export { checkPrediction } from "./check.ts";
export type { Fingerprint, FingerprintVerdict } from "./fingerprint.ts";
export { fingerprint } from "./fingerprint.ts";
export type { Method } from "./method.ts";
export { METHODS } from "./method.ts";
export type { ModelFacts, Wait } from "./model.ts";
export { PortWalk, simulateWait, waitFor } from "./model.ts";
export type { NamespacePicks } from "./namespace.ts";
export type { Never, Prediction, PredictOptions } from "./predict.ts";
export { expectedAttempts, expectedRemaining, predict, whyNever } from "./predict.ts";
export type { Observation, SampleOptions } from "./sample.ts";
export { samplePorts } from "./sample.ts";
export type { MeasuredWait, MeasureWaitsOptions } from "./waits.ts";
export { measureWaits } from "./waits.ts";
