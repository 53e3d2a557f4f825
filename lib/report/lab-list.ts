/** The experiments and the machines of a lab, as the object of docs/schema/lab-list-1.json and as text. */
import type { Experiment, MachineName } from "../lab/experiment.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText, tableLines } from "./terminal.ts";

/** The object of docs/schema/lab-list-1.json. */
export interface LabListReport {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.lab-list/1";
  /** The questions. */
  readonly experiments: readonly {
    readonly name: string;
    readonly question: string;
    /** Whether it is asked without --all. */
    readonly isDefault: boolean;
  }[];
  /** Where kernels can run, and what is missing here. */
  readonly machines: readonly {
    readonly name: MachineName;
    readonly about: string;
    readonly missing: string | null;
  }[];
}

/** Builds the object of docs/schema/lab-list-1.json. */
export function labListReport(
  experiments: readonly Experiment[],
  machines: LabListReport["machines"],
): LabListReport {
  return {
    schema: "selfconnect.lab-list/1",
    experiments: experiments.map(({ name, question, isSlow }) => ({ name, question, isDefault: !isSlow })),
    machines,
  };
}

/** The lists for a terminal. */
export function labListText({ experiments, machines }: LabListReport, options: TextOptions = {}): string {
  const questions = experiments.map(({ name, question, isDefault }) => [
    name,
    `${question}${isDefault ? "" : " (--all)"}`,
  ]);
  const places = machines.map(({ name, about, missing }) => [name, missing ? `${about}; ${missing}` : about]);
  return renderText(
    ["experiments", ...tableLines(questions, "ll"), "", "machines", ...tableLines(places, "ll")],
    options,
  );
}
