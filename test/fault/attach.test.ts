// Workers that are attached to a manager end at any moment, in every way: the others go on, and no unload waits for them.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { defaultModelsDirectory, ensureModels } from '../../scripts/models/ensure-models.js';
import type { ChildOptions } from '../support/children.js';
import { deadline } from '../support/deadline.js';
import { STEP_MS, Steps } from '../support/steps.js';
import { inParallel, ROUNDS, runFixture } from './fixtures/children.js';

const models = defaultModelsDirectory();

async function host<T>(what: string, count: number, more: ChildOptions = {}): Promise<T> {
  const { stdout, stderr, ...ended } = await runFixture('./attach-host.js', [what, models, String(count)], {
    deadlineMs: STEP_MS,
    ...more,
  });
  assert.deepEqual(ended, { code: 0, signal: null }, stderr);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as T;
}

before(() => ensureModels({ out: models, only: ['mlp_4x256'] }));

interface Cycled {
  readonly switches: number;
  readonly abandoned: readonly unknown[];
  readonly attached: number;
  readonly most: number;
}

/** Every lease came back, for every switch has unloaded what was there, and nobody is attached any more. */
function assertNothingLeft({ most, ...left }: Cycled, count: number): void {
  assert.deepEqual(left, { switches: count / 50, abandoned: [], attached: 0 });
  assert.ok(most > 0, 'nobody ever was attached');
}

// One process with one manager.
const terminations = new Steps<Cycled>(1000, 100, ({ heard, deadlineMs }) =>
  host('terminations', 1000, { heard, deadlineMs }),
);
terminations.declare('1,000 workers attach, run, and are terminated amid runs with handles held');
test('of 1,000 workers that were terminated nothing is left', async () => {
  assertNothingLeft(await deadline(terminations.run(), 'the end of the manager', STEP_MS), 1000);
});

test('200 workers attach, run, and are terminated, throw or exit amid runs with handles held', async () => {
  assertNothingLeft(await host<Cycled>('cycles', 200), 200);
});

test('100 workers attach with copies of their own and are terminated', async () => {
  assertNothingLeft(await host<Cycled>('copies', 100), 100);
});

test('30 promotions while four workers run requests: none fails', async () => {
  interface Seen {
    readonly requests: number;
    readonly seen: readonly Record<string, number>[];
    readonly abandoned: readonly unknown[];
  }
  const { requests, seen, abandoned } = await host<Seen>('promotions', 30);
  assert.deepEqual(abandoned, []);
  assert.ok(requests > 30, `${requests} requests in the thread of the manager`);
  for (const counts of seen) {
    const keys = Object.keys(counts);
    assert.deepEqual(
      keys.filter((key) => !/^\d+$/.test(key)),
      [],
      JSON.stringify(counts),
    );
    // A worker that saw no switch proves nothing.
    assert.ok(keys.length > 5, JSON.stringify(counts));
    assert.ok(keys.includes('31'), JSON.stringify(counts));
  }
});

test('process.exit() of the main thread amid a switch and attached workers ends the process well', async () => {
  const jobs = Array.from({ length: 8 * ROUNDS }, (_, round) => async () => {
    assert.deepEqual(await host('main-exit', round * 5), {});
  });
  await inParallel(jobs);
});

test('the thread of the manager ends: runs finish, held handles work, and nothing new is found', async () => {
  const { code, seen } = await host<{ code: string; seen: Record<string, number>[] }>('owner', 1);
  assert.equal(code, 'ERR_MANAGER_CLOSED');
  for (const counts of seen) {
    const codes = Object.keys(counts).filter((key) => key !== '1');
    assert.deepEqual(codes, ['ERR_MANAGER_CLOSED'], JSON.stringify(counts));
    assert.ok((counts[1] ?? 0) > 0, JSON.stringify(counts));
  }
});
