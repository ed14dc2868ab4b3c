import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RolloutPhase, RolloutVerb, VerbAnswer } from '#lib/fleet/rollout/types.js';
import { NO_DATA, PASS, SmallFleet } from './small-fleet.js';

const PHASES: readonly RolloutPhase[] = [
  'Pending',
  'Prefetch',
  'Expand',
  'WaitReady',
  'Flip',
  'Bake',
  'Contract',
  'Frozen',
  'Rollback',
  'Ended',
];

type Row = Readonly<Record<'first' | 'wave' | 'contract' | 'frozen' | 'rollback' | 'ended', VerbAnswer['outcome']>>;

/** The table of verbs.ts; `wave` is Prefetch to Bake. */
const TABLE: Readonly<Record<RolloutVerb, Row>> = {
  pause: row('applied', 'applied', 'applied', 'no-op', 'refused'),
  resume: row('no-op', 'no-op', 'no-op', 'applied', 'refused'),
  promote: row('applied', 'applied', 'no-op', 'applied', 'refused'),
  'promote-full': row('applied', 'applied', 'no-op', 'applied', 'refused'),
  freeze: row('applied', 'applied', 'applied', 'no-op', 'refused'),
  retry: row('refused', 'refused', 'refused', 'applied', 'refused'),
  abort: row('applied', 'applied', 'applied', 'applied', 'no-op'),
  undo: row('applied', 'applied', 'applied', 'applied', 'no-op'),
};

function row(
  first: VerbAnswer['outcome'],
  wave: VerbAnswer['outcome'],
  contract: VerbAnswer['outcome'],
  frozen: VerbAnswer['outcome'],
  rollback: VerbAnswer['outcome'],
): Row {
  return { first, wave, contract, frozen, rollback, ended: 'refused' };
}

function column(phase: RolloutPhase): keyof Row {
  const columns: Partial<Record<RolloutPhase, keyof Row>> = {
    Pending: 'first',
    Contract: 'contract',
    Frozen: 'frozen',
    Rollback: 'rollback',
    Ended: 'ended',
  };
  return columns[phase] ?? 'wave';
}

function at(phase: RolloutPhase): SmallFleet {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ percent: 100 }], bake: 1000 } });
  if (phase === 'Frozen') fleet.verb('freeze');
  else if (phase === 'Rollback') {
    fleet.runTo('Flip');
    fleet.verb('abort');
  } else if (phase === 'WaitReady') {
    fleet.runTo('Expand');
    fleet.tick();
  } else fleet.runTo(phase);
  assert.equal(fleet.phase, phase);
  return fleet;
}

for (const [verb, outcomes] of Object.entries(TABLE) as [RolloutVerb, Row][]) {
  for (const phase of PHASES) {
    test(`${verb} in ${phase} is ${outcomes[column(phase)]}`, () => {
      const fleet = at(phase);
      const before = fleet.state;
      const answer = fleet.verb(verb);
      assert.equal(answer.outcome, outcomes[column(phase)], answer.message);
      assert.match(answer.message, /\S/);
      if (answer.outcome !== 'applied') {
        assert.equal(fleet.state.phase, before.phase);
        assert.equal(fleet.state.paused, before.paused);
      }
    });
  }
}

for (const phase of PHASES.filter((one) => one !== 'Ended' && one !== 'Rollback')) {
  for (const verb of ['abort', 'undo'] as const) {
    test(`${verb} in ${phase} wins, also after promote-full and while paused, and it ends`, () => {
      const fleet = at(phase);
      fleet.queue('promote-full');
      fleet.queue('pause');
      fleet.queue(verb);
      fleet.tick();
      assert.equal(fleet.phase, 'Rollback');
      fleet.runTo('Ended');
      assert.equal(fleet.state.outcome, verb === 'abort' ? 'Aborted' : 'Undone');
      assert.deepEqual(fleet.model, { tombstones: new Set([2]), released: true });
    });
  }
}

test('a paused rollout makes no step forward, and goes on where it was', () => {
  const fleet = at('Expand');
  fleet.verb('pause');
  fleet.react();
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(fleet.tick().writes, []);
    fleet.now += 100;
  }
  assert.equal(fleet.phase, 'Expand');
  assert.equal(fleet.state.hold?.code, 'paused');
  assert.equal(fleet.verb('pause').outcome, 'no-op');
  fleet.verb('resume');
  fleet.runTo('Ended');
  assert.equal(fleet.state.outcome, 'Promoted');
});

test('promote skips bake and gates of this wave only, promote-full of all', () => {
  const plan = { waves: [{ hosts: 1 }, { percent: 100 }], bake: 1000, gates: [{ kind: 'load' }] } as const;
  const one = new SmallFleet({ hosts: 3, plan });
  one.runTo('Bake', 0);
  one.verb('promote');
  one.runTo('Bake', 1);
  one.react();
  one.tick();
  assert.equal(one.state.hold?.code, 'bake');
  const all = new SmallFleet({ hosts: 3, plan });
  all.verb('promote-full');
  all.runTo('Ended');
  assert.equal(all.state.outcome, 'FastPromoted');
});

test('a frozen rollout goes on with a whole bake, and its gates are asked anew', () => {
  const fleet = at('Bake');
  fleet.now += 999;
  fleet.verb('freeze');
  assert.equal(fleet.state.frozenIn, 'Bake');
  fleet.now += 5000;
  fleet.verb('resume');
  assert.equal(fleet.phase, 'Bake');
  assert.equal(fleet.state.gateAttempt, 1);
  assert.equal(fleet.stamps.phaseAt, fleet.now);
  fleet.react();
  fleet.now += 999;
  fleet.tick();
  assert.equal(fleet.phase, 'Bake');
});

test('retry asks a gate again that had not enough data', () => {
  const fleet = new SmallFleet({ plan: { waves: [{ percent: 100 }], gates: [{ kind: 'traffic' }] } });
  fleet.gates.set(0, NO_DATA);
  fleet.runTo('Bake');
  fleet.react();
  fleet.tick();
  assert.equal(fleet.state.hold?.code, 'gate-insufficient-data');
  assert.equal(fleet.verb('retry').outcome, 'applied');
  assert.equal(fleet.state.gateAttempt, 1);
  assert.equal(fleet.state.verdicts?.[0], undefined);
  fleet.gates.set(0, PASS);
  fleet.runTo('Ended');
});
