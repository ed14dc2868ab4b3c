// Nothing of what was unloaded stays in memory.
import assert from 'node:assert/strict';
import test from 'node:test';
import { runFixture } from './fixtures/children.js';

async function child(what: string): Promise<Record<string, unknown>> {
  const { stdout, ...ended } = await runFixture('./gc-child.js', [what], {
    node: ['--expose-gc'],
    deadlineMs: 100_000,
  });
  assert.deepEqual(ended, { code: 0, signal: null, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('handles, servables, loaders, signals, transitions and errors of versions that are gone are collected', async () => {
  const { tracked, left } = await child('unloaded');
  assert.ok(Number(tracked) > 10, `${tracked} objects were tracked`);
  assert.deepEqual(left, []);
});

test('a closed manager is collected, with all it had', async () => {
  const { tracked, left } = await child('closed');
  assert.equal(tracked, 4);
  assert.deepEqual(left, []);
});

test('2,000 promotions, refusals and rollbacks leave the heap and the process as large as they were', async () => {
  const { heapPerCycle, rssPerCycle, managedVersions } = await child('cycles');
  assert.ok(Number(heapPerCycle) < 400, `the heap grew by ${heapPerCycle} bytes per cycle`);
  // One servable that stays would be 8 KB.
  assert.ok(Number(rssPerCycle) < 4096, `the process grew by ${rssPerCycle} bytes per cycle`);
  assert.ok(Number(managedVersions) <= 2, `${managedVersions} versions are managed`);
});
