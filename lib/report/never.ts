/** Why a client is never joined to itself, in one line. */
import type { NeverReason } from "../ports/never.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { paint, renderText } from "./terminal.ts";

/** A reason with advice, as whyNever() returns it, or without, as predict() does. */
type NeverWords = Pick<NeverReason, "because"> & { readonly instead?: string };

/** What whyNever() returns, in one line. */
export function neverText(never: NeverWords, options: TextOptions = {}): string {
  return renderText([neverLine(never)], options);
}

export function neverLine({ because, instead }: NeverWords): Line {
  const advice = instead === undefined ? "" : ` Instead: ${instead}.`;
  return [paint("yellow", "never"), `, because ${because}.${advice}`];
}
