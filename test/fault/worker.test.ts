// A worker with a manager ends as any other, at every stage, in every way, also many at once; the others live on.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ROUNDS, runFixture } from './fixtures/children.js';
import { STAGE_NAMES, type Stage } from './fixtures/stages.js';

async function host(ending: string, rounds: number, parallel: number, stages: readonly Stage[]): Promise<void> {
  const args = [ending, String(rounds), String(parallel), ...stages];
  const { stdout, ...ended } = await runFixture('./worker-host.js', args, { deadlineMs: 100_000 });
  const last = stdout.trimEnd().split('\n').slice(-parallel).join(', ');
  assert.deepEqual(ended, { code: 0, signal: null, stderr: '' }, `${ending}, in or about: ${last}`);
  assert.match(stdout, /done/);
}

test('worker.terminate() at every stage leaves the process and its other managers alone', () =>
  host('terminate', 2 * ROUNDS, 4, STAGE_NAMES));

test('process.exit() in a worker at every stage ends that worker only', () => host('exit', 2 * ROUNDS, 4, STAGE_NAMES));

test('a worker that awaits nothing of its manager ends by itself at every stage', () =>
  host('natural', ROUNDS, 4, STAGE_NAMES));

test('an uncaught exception in a worker at every stage is an error event of that worker', () =>
  host('throw', ROUNDS, 4, STAGE_NAMES));

test('60 workers one after the other, terminated amid loads: the addon is loaded and left again and again', () =>
  host('terminate', 30 * ROUNDS, 1, ['a thousand loads on their way', 'load under way']));

test('8 workers at once, terminated amid a storm of messages', () =>
  host('terminate', 24 * ROUNDS, 8, ['a thousand loads on their way', 'switching for ever']));

test('worker.terminate() at any moment, from before the addon is loaded', () =>
  host('anytime', 70 * ROUNDS, 4, ['a thousand loads on their way', 'switching for ever']));

test('process.exit() on the main thread amid workers at every stage', async () => {
  const quarters = [0, 1, 2, 3].map((rest) => STAGE_NAMES.filter((_, index) => index % 4 === rest));
  const jobs = Array.from({ length: 2 * ROUNDS }, () => quarters).flat();
  for (const stages of jobs) {
    const { stdout, ...ended } = await runFixture('./host-exit.js', stages);
    assert.deepEqual(ended, { code: 0, signal: null, stderr: '' }, stages.join(', '));
    assert.match(stdout, /reached/);
  }
});
