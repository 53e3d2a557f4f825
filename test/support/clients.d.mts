/** A row of docs/clients.md's table. */
export interface ClientRow {
  readonly name: string;
  readonly version: string;
  /** Its way in is the preload. */
  readonly isPreload: boolean;
  /** The name of its server for test/support/servers.ts. */
  readonly service: string;
  /** It connects again by itself after a refusal. */
  readonly retries: boolean;
}

export function readClients(): ClientRow[];
export function fetchClients(): string;
export function codeOf(name: string): string;
export function writeClient(
  folder: string,
  name: string,
  values: { host: string; port: number; doors: string },
): string;
