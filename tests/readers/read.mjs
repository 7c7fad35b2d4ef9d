// What test-results-parser (npm) reads in a folder's junit.xml, as JSON.
import parser from 'test-results-parser';

const result = parser.parse({ type: 'junit', files: [`${process.argv[2]}/junit.xml`] });
// It counts what is not skipped, and takes failures and errors for one kind of case.
const stated = { tests: result.total + result.skipped, failures: result.failed, errors: result.errors, skipped: result.skipped };
const kinds = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' };
const cases = result.suites.flatMap((suite) => suite.cases).map((one) => ({
  name: one.name,
  kind: kinds[one.status],
  message: one.failure || null,
  text: one.stack_trace || null,
}));
console.log(JSON.stringify({ stated, cases, passed: result.passed }));
