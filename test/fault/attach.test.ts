// Workers that are attached to a manager end at any moment, in every way: the others go on, and no unload waits for them.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { defaultModelsDirectory, ensureModels } from '../../scripts/models/ensure-models.js';
import { inParallel, ROUNDS, runFixture } from './fixtures/children.js';

const models = defaultModelsDirectory();
const DEADLINE_MS = 110_000;

async function host<T>(what: string, count: number): Promise<T> {
  const { stdout, stderr, ...ended } = await runFixture('./attach-host.js', [what, models, String(count)], {
    deadlineMs: DEADLINE_MS,
  });
  assert.deepEqual(ended, { code: 0, signal: null }, stderr);
  return JSON.parse(stdout) as T;
}

before(() => ensureModels({ out: models, only: ['mlp_4x256'] }));

const CYCLES = 100;

// In parts, because a file that says nothing for two minutes is taken for one that hangs.
for (let part = 1; part <= 8; part++) {
  test(`100 workers attach, run, and are terminated, throw or exit amid runs with handles held (${part} of 8)`, async () => {
    const { switches, abandoned } = await host<Record<string, unknown>>('cycles', CYCLES);
    assert.equal(switches, 2);
    assert.deepEqual(abandoned, []);
  });
}

for (let part = 1; part <= 2; part++) {
  test(`100 workers attach with copies of their own and are terminated (${part} of 2)`, async () => {
    assert.deepEqual(await host('copies', CYCLES), { switches: 2, abandoned: [] });
  });
}

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
