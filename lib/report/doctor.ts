/** What works on a host, as the object of docs/schema/doctor-1.json and as text. */
import type { Check, CommandNeed, Diagnosis } from "../audit/doctor.ts";
import { CHECK_GROUPS } from "../audit/doctor.ts";
import type { CheckState } from "../audit/doctor-question.ts";
import type { Line, Style, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** The object of docs/schema/doctor-1.json. */
export interface DoctorReport extends Diagnosis {
  readonly schema: "selfconnect.doctor/1";
}

/** Builds the object of docs/schema/doctor-1.json. */
export function doctorReport(diagnosis: Diagnosis): DoctorReport {
  return { schema: "selfconnect.doctor/1", ...diagnosis };
}

const STYLES: Readonly<Record<CheckState, Style>> = { yes: "green", no: "red", unknown: "yellow" };
const VERDICTS: Readonly<Record<Diagnosis["verdict"], string>> = {
  complete: "everything that was asked for is there",
  lacks: 'something is missing: see the lines with "no"',
  unknown: "nothing is missing that could be seen; not everything could",
};

/** The checks for a terminal, by group, with the cost and the fix of each lack; then what each command needs. */
export function doctorText(found: Diagnosis, options: TextOptions = {}): string {
  const { version, node, platform, architecture, libc, kernel, checks, commands, verdict } = found;
  const platformText = [`${platform}-${architecture}`, libc, `kernel ${kernel}`].filter(Boolean).join(", ");
  const lines: Line[] = [
    `selfconnect ${version}, Node ${node}, ${platformText}`,
    ...CHECK_GROUPS.flatMap((group) =>
      groupLines(
        group,
        checks.filter((check) => check.group === group),
      ),
    ),
    "",
    [paint("bold", "commands")],
    ...indent("  ", commands.map(commandLine)),
    "",
    VERDICTS[verdict],
  ];
  return renderText(lines, options);
}

function groupLines(title: string, checks: readonly Check[]): Line[] {
  if (checks.length === 0) return [];
  return ["", [paint("bold", title)], ...indent("  ", checks.flatMap(checkLines))];
}

const STATE_COLUMNS = 9;
/** The longest name, and a space. */
const NAME_COLUMNS = 25;

function checkLines({ name, state, found, cost, fix }: Check): Line[] {
  const below = " ".repeat(STATE_COLUMNS);
  return [
    [statePiece(state), name.padEnd(NAME_COLUMNS), found],
    ...(cost === null ? [] : [`${below}without it: ${cost}`]),
    ...(fix === null ? [] : [`${below}to get it:  ${fix}`]),
  ];
}

function commandLine({ command, ways, state }: CommandNeed): Line {
  const needs = ways.map((way) => way.join(", ")).join("; or ");
  return [statePiece(state), command.padEnd(NAME_COLUMNS), needs];
}

function statePiece(state: CheckState) {
  return paint(STYLES[state], state.padEnd(STATE_COLUMNS));
}
