import { subscribe, unsubscribe } from "node:diagnostics_channel";

/** The messages of a diagnostics channel while `use` runs. */
export async function collectMessages<T>(channel: string, use: () => Promise<unknown>): Promise<T[]> {
  const messages: T[] = [];
  const listener = (message: unknown) => void messages.push(message as T);
  subscribe(channel, listener);
  try {
    await use();
  } finally {
    unsubscribe(channel, listener);
  }
  return messages;
}
