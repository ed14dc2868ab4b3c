// A reporter for node:test that appends one JSON line per event to the file named by ASPIRED_TEST_EVENTS. Lines are
// written synchronously, so that they survive a crash or a hang of the process.
import { appendFileSync } from 'node:fs';
import { inspect } from 'node:util';

const file = process.env.ASPIRED_TEST_EVENTS;
const SUMMARY = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

function lineOf({ type, data }) {
  const { name, nesting, details } = data;
  const isSuite = details?.type === 'suite';
  switch (type) {
    case 'test:dequeue':
      return { event: 'start', name, nesting };
    case 'test:pass':
      if (isSuite) return { event: 'suite', name };
      return { event: data.skip !== undefined || data.todo !== undefined ? 'skip' : 'pass', name };
    case 'test:fail': {
      const error = details.error;
      if (data.todo !== undefined) return { event: 'skip', name };
      // A suite that failed only because of its tests is no failure of its own; a failed hook is.
      if (isSuite && error?.failureType === 'subtestsFailed') return { event: 'suite', name };
      return { event: 'fail', name, error: inspect(error?.cause ?? error) };
    }
    case 'test:diagnostic':
      return SUMMARY.test(data.message) ? undefined : { event: 'note', message: data.message };
    default:
      return undefined;
  }
}

// biome-ignore lint/correctness/useYield: a reporter is an async generator; this one writes by itself
export default async function* reporter(source) {
  for await (const event of source) {
    const line = lineOf(event);
    if (line) appendFileSync(file, `${JSON.stringify(line)}\n`);
  }
}
