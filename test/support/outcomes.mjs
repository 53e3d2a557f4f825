// A reporter of vitest's for test/all.mjs: each test's outcome as a line of JSON, in the file that OUTCOMES names. vitest's
// own JSON lacks the reason of a skip.
import { appendFileSync } from "node:fs";

export default class Outcomes {
  onTestCaseResult(test) {
    const { state, note, errors = [] } = test.result();
    const name = `${test.module.relativeModuleId} > ${test.fullName}`;
    write({ state, name, reason: note?.replaceAll("\n", " "), messages: messagesOf(errors) });
  }

  onTestSuiteResult(suite) {
    writeErrors(`${suite.module.relativeModuleId} > ${suite.fullName}`, suite.errors());
  }

  onTestModuleEnd(file) {
    writeErrors(file.relativeModuleId, file.errors());
  }
}

/** What failed around the tests: a file that could not be loaded, a hook. */
function writeErrors(name, errors) {
  if (errors.length > 0) write({ state: "failed", name, messages: messagesOf(errors) });
}

function write(outcome) {
  appendFileSync(process.env.OUTCOMES, `${JSON.stringify(outcome)}\n`);
}

function messagesOf(errors) {
  return errors.map(({ message }) => message);
}
