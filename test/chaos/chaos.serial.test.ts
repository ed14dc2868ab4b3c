// A round of seeds: each kind of fault at least once, against real processes. More of them: npm run test:chaos -- --seeds N.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { withoutRedis } from '../support/redis-server.js';
import { runSeed } from './harness/run.js';
import { details, keep, summary } from './report.js';
import { ROUND } from './seeded/schedule.js';

// Most of a run is waiting: two at a time.
describe('a fleet under faults keeps its promises', { concurrency: 2, skip: withoutRedis }, () => {
  for (let seed = 1; seed <= ROUND; seed++) {
    it(`seed ${seed}`, async (t) => {
      const result = await runSeed({ seed });
      t.diagnostic(summary(result));
      if (result.violations.length > 0) assert.fail(details(result, {}, keep(result, join('.cache', 'chaos'))));
    });
  }
});
