/** Who holds a port, as the object of docs/schema/who-1.json and as text. */
import type { BindExplanation, BindTry, ExplainedHolder } from "../audit/explain-bind.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { formatAddress } from "../socket/address.ts";
import { duration, pluralize } from "./numbers.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** The object of docs/schema/who-1.json: the result of `explainBind()` and the environment. */
export interface WhoReport extends BindExplanation {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.who/1";
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** Builds the object of docs/schema/who-1.json. */
export function whoReport(found: BindExplanation): WhoReport {
  return { schema: "selfconnect.who/1", ...found, environment: environment() };
}

/** For a terminal or a log: whether a server can start, who is in the way, what to do, where else it could start. */
export function whoText(found: BindExplanation, options: TextOptions = {}): string {
  const [asked, ...others] = found.tries;
  const inTheWay = found.holders.filter((holder) => holder.isInTheWay);
  const beside = found.holders.filter((holder) => !holder.isInTheWay);
  const lines: Line[] = [
    serverLine(asked!, found.waitMs),
    ...indent("  ", inTheWay.flatMap(holderLines)),
    ...(beside.length > 0 ? [inTheWay.length > 0 ? "not in the way" : "on this port"] : []),
    ...indent("  ", beside.flatMap(holderLines)),
    ...(found.omitted > 0 ? [`  and ${pluralize(found.omitted, "more socket")}`] : []),
    ...(asked!.refusal === null
      ? []
      : [
          "elsewhere",
          ...indent(
            "  ",
            others.map((one) => serverLine(one, null)),
          ),
        ]),
    ...found.unseen,
  ];
  return renderText(lines, options);
}

/** A holder and what to do about it, as every command prints it. */
export function holderLines({ local, is, remedy }: Pick<ExplainedHolder, "local" | "is" | "remedy">): Line[] {
  const what = `${formatAddress(local)} ${is}`;
  return remedy === null ? [what] : [what, [paint("green", `  ${nameCommands(remedy)}`)]];
}

/** A holder and what to do about it in one line, for the message of an error. */
export function holderText({ local, is, remedy }: Pick<ExplainedHolder, "local" | "is" | "remedy">): string {
  return `${formatAddress(local)} ${is}${remedy === null ? "" : `; ${nameCommands(remedy)}`}`;
}

/** Replaces the calls that a remedy names by the commands that make them. */
function nameCommands(remedy: string): string {
  return remedy
    .replace(/free\("(.+?)"\)/, (_, address: string) => `selfconnect free ${quoteForShell(address)}`)
    .replace(
      /waitUntilFree\("?(.+?)"?\)/,
      (_, asked: string) => `selfconnect who ${quoteForShell(asked)} --wait 60s`,
    )
    .replace(/explainBind\("?(.+?)"?\)/, (_, asked: string) => `selfconnect who ${quoteForShell(asked)}`);
}

/** A shell takes the brackets of an IPv6 address for a pattern. */
function quoteForShell(address: string): string {
  return address.startsWith("[") ? `'${address}'` : address;
}

/** "a server on 127.0.0.1:80 cannot start: EADDRINUSE", as every command prints it. */
export function serverLine({ local, refusal, needs, because }: BindTry, waitMs: number | null): Line {
  const subject = `a server on ${formatAddress(local)} `;
  if (refusal === null) return [subject, paint("green", "can start")];
  if (needs?.includes("reuseAddress"))
    return [subject, paint("green", "can start with SO_REUSEADDR, as in Node")];
  if (needs?.includes("reusePort")) return [subject, paint("yellow", "can start with SO_REUSEPORT only")];
  const left = waitMs ? `, for another ${duration(waitMs)}` : "";
  return [
    subject,
    paint("red", "cannot start"),
    `: ${refusal}${left}${because === null ? "" : `, ${because}`}`,
  ];
}
