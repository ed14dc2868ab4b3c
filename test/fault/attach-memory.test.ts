// One model for all workers: it is in memory once, and gone when it is unloaded, whoever still has an object of it.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { defaultModelsDirectory, ensureModels } from '../../scripts/models/ensure-models.js';
import { runFixture } from './fixtures/children.js';

const models = defaultModelsDirectory();

before(() => ensureModels({ out: models, only: ['large', 'half_plus_two'] }));

test('four workers share one model of 300 MB: the process grows by less than 1.2 times the model', async () => {
  const { stdout, stderr, ...ended } = await runFixture('./attach-measure.js', [models], {
    node: ['--expose-gc'],
    deadlineMs: 100_000,
  });
  assert.deepEqual(ended, { code: 0, signal: null }, stderr);
  const seen = JSON.parse(stdout) as Record<'beforeMb' | 'sharedMb' | 'afterMb' | 'modelMb', number>;
  assert.ok(seen.modelMb > 290, `${stdout}: the model is too small to tell`);
  assert.ok(seen.sharedMb - seen.beforeMb > 0.9 * seen.modelMb, `${stdout}: the model is not in memory`);
  assert.ok(seen.sharedMb - seen.beforeMb < 1.2 * seen.modelMb, `${stdout}: it is in memory more than once`);
  assert.ok(seen.afterMb - seen.beforeMb < 0.1 * seen.modelMb, `${stdout}: memory did not come back`);
});
