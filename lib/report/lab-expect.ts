/** How a lab's answers compare with those that were expected, for a terminal. */
import type { Judgement, Unexpected } from "../lab/expectation.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText } from "./terminal.ts";

/**
 * What differs and what could not be asked, line by line, then a summary line. For programs that compare labs with an
 * expectation by judge() and log the result, as `selfconnect lab --expect` does in CI.
 */
export function judgementText(
  { asExpected, differs, unasked }: Judgement,
  options: TextOptions = {},
): string {
  const total = [
    `${asExpected} as expected`,
    `${differs.length} ${differs.length === 1 ? "differs" : "differ"}`,
    `${unasked.length} could not be asked`,
  ];
  return renderText([...differs.map(differenceLine), ...unasked.map(reasonLine), total.join(", ")], options);
}

function differenceLine({ kernel, experiment, answer, expected }: Unexpected): string {
  return `${kernel}, ${experiment}: ${answer}; expected ${expected}`;
}

function reasonLine({ kernel, experiment, reason }: Unexpected): string {
  return `${kernel}${experiment ? `, ${experiment}` : ""} could not be asked: ${reason}`;
}
