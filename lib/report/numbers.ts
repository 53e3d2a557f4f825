/** Formats numbers and times, for every output format. */

/** 13712.4 as "13,712". */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** "1 packet", "2,500 packets". */
export function pluralize(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Milliseconds as "205 ms", "4.1 s", "3.9 h". */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}

/** "0.98", "23.5", "101". */
export function ratio(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The name of a counter as words: "otherAttempts" as "other attempts", "elapsedMs" as "elapsed, ms". */
export function counterName(key: string): string {
  return key
    .replace(/Ms$/, ", ms")
    .replace(/[sS]elfConnect/, (found) => (found.startsWith("s") ? "self-connect" : " self-connect"))
    .replaceAll(/[a-z](?=[A-Z])/g, "$& ")
    .toLowerCase();
}

/** "4.2 KiB", "1.2 MiB". */
export function bytes(value: number): string {
  return value < 2 ** 17 ? `${(value / 2 ** 10).toFixed(1)} KiB` : mebibytes(value);
}

/** "1.2 MiB". */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
