// A process with a manager ends as any other, at every stage of the manager's life and in every way.
import assert from 'node:assert/strict';
import test from 'node:test';
import { inParallel, ROUNDS, runFixture } from './fixtures/children.js';
import { STAGE_NAMES } from './fixtures/stages.js';

const file = './stage-process.js';

async function everyStage(ending: string, check: (stage: string) => Promise<void>): Promise<void> {
  const jobs = Array.from({ length: ROUNDS }, () => STAGE_NAMES.map((stage) => () => check(stage))).flat();
  await inParallel(jobs);
  assert.ok(jobs.length > 0, ending);
}

test('natural end: a manager keeps no process alive that awaits nothing of it, and it ends without a word', () =>
  everyStage('natural', async (stage) => {
    const { stdout, ...ended } = await runFixture(file, [stage, 'natural']);
    assert.deepEqual(ended, { code: 0, signal: null, stderr: '' }, stage);
    assert.match(stdout, /reached/, stage);
  }));

test('process.exit() ends the process at once, without a word', () =>
  everyStage('exit', async (stage) => {
    const { stdout, ...ended } = await runFixture(file, [stage, 'exit']);
    assert.deepEqual(ended, { code: 0, signal: null, stderr: '' }, stage);
    assert.match(stdout, /reached/, stage);
  }));

test('an uncaught exception ends the process with its own message and code 1', () =>
  everyStage('throw', async (stage) => {
    const { code, signal, stderr } = await runFixture(file, [stage, 'throw']);
    assert.deepEqual({ code, signal }, { code: 1, signal: null }, `${stage}\n${stderr}`);
    assert.match(stderr, /Error: the uncaught one/, stage);
    assert.doesNotMatch(stderr, /FATAL|terminate called|Assertion/, stage);
  }));

test('SIGTERM ends the process by that signal', () =>
  everyStage('signal', async (stage) => {
    const { stdout: _, ...ended } = await runFixture(file, [stage, 'signal'], {
      kill: { signal: 'SIGTERM', after: 'reached' },
    });
    assert.deepEqual(ended, { code: null, signal: 'SIGTERM', stderr: '' }, stage);
  }));

test('process.exit() at any turn of the event loop, amid loads, switches and messages on their way', async () => {
  const jobs = Array.from({ length: 20 * ROUNDS }, (_, turns) =>
    (['a thousand loads on their way', 'switching for ever', 'close() just called'] as const).map(
      (stage) => async () => {
        const { stdout: _, ...ended } = await runFixture(file, [stage, 'exit later', String(turns)]);
        assert.deepEqual(ended, { code: 0, signal: null, stderr: '' }, `${stage}, after ${turns} turns`);
      },
    ),
  );
  await inParallel(jobs.flat());
});
