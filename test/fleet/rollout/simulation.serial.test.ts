// Rollouts in virtual time: a fleet of a thousand hosts with a hundred models per seed, and a thousand seeds of faults.
// What each invariant says is in test/fleet/simulation/README.md.
//
//   ASPIRED_SEEDS=20000 node --test dist-test/test/fleet/rollout/simulation.serial.test.js      a long run
//   ASPIRED_SEEDS=1 ASPIRED_FIRST_SEED=174 node --test ...                                      one seed again
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MUTANTS } from '../simulation/mutants.js';
import { SeedThreads } from '../simulation/run-many.js';
import { runSeed } from '../simulation/run-seed.js';

const FIRST = Number(process.env.ASPIRED_FIRST_SEED ?? 1);
const SEEDS = Number(process.env.ASPIRED_SEEDS ?? 1000);
/** Seeds of one test: so that a run tells how far it is. */
const BATCH = 100;
/** Seeds in which each mutant is to be caught. */
const MUTANT_SEEDS = 25;

let threads: SeedThreads;
before(() => {
  threads = new SeedThreads();
});
after(() => threads.close());

for (let first = FIRST; first < FIRST + SEEDS; first += BATCH) {
  const count = Math.min(BATCH, FIRST + SEEDS - first);
  test(`the invariants hold in the seeds ${first} to ${first + count - 1}`, async (t) => {
    const start = performance.now();
    const { failures, outcomes, rounds, seeds } = await threads.run(first, count);
    assert.equal(seeds, count);
    const perSecond = (count / ((performance.now() - start) / 1000)).toFixed(1);
    t.diagnostic(`${perSecond} seeds per second, ${rounds} ticks, ${JSON.stringify(outcomes)}`);
    const say = failures.map(({ seed, violation }) => {
      return `seed ${seed}, model ${violation?.model}, ${violation?.invariant}: ${violation?.message}`;
    });
    assert.deepEqual(say, []);
    if (count < BATCH) return;
    for (const outcome of ['Promoted', 'FastPromoted', 'Aborted', 'RolledBack', 'Undone']) {
      assert.ok((outcomes[outcome] ?? 0) > 40, `too few rollouts ended as ${outcome} to prove anything`);
    }
  });
}

test('a seed is the same run each time', () => {
  const { outcomes, rounds } = runSeed(FIRST);
  assert.deepEqual(runSeed(FIRST), { seed: FIRST, outcomes, rounds });
});

test('whoever is passed over at a tick would have done nothing', () => {
  for (let seed = FIRST; seed < FIRST + 5; seed++) {
    assert.deepEqual(runSeed(seed), runSeed(seed, { everyone: true }));
  }
});

for (const [name, { breaks, mutant }] of Object.entries(MUTANTS)) {
  test(`${breaks} is judged: it catches that ${name}`, () => {
    const others = new Set<string>();
    for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
      const { violation } = runSeed(seed, mutant);
      if (violation?.invariant === breaks) return;
      if (violation) others.add(violation.invariant);
    }
    assert.fail(`nothing was caught${others.size > 0 ? ` but ${[...others].join(', ')}` : ''}`);
  });
}
