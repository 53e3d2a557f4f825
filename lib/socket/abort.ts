/** Waiting for an AbortSignal: one listener for each signal, however many wait (Node warns of more than ten). */

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back once when the signal aborts; the answer takes that back. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (!signal) return () => undefined;
  const callbacks = waiting.get(signal) ?? listenTo(signal);
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>();
  waiting.set(signal, callbacks);
  signal.addEventListener("abort", () => callbacks.forEach((callback) => void callback()), { once: true });
  return callbacks;
}
