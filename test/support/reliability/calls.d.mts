/** For test/tidy.test.ts: the rows by the name of the call. */
export const CALLS: Readonly<Record<string, object>>;
export const LEFT_OUT: Readonly<Record<string, string>>;
