import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RolloutPhase, RolloutVerb, VerbAnswer } from '#lib/fleet/rollout/types.js';
import { makeUndo } from '#lib/fleet/rollout/undo.js';
import { hostsOf, NO_DATA, PASS, SmallFleet } from './small-fleet.js';

type Column = 'first' | 'wave' | 'contract' | 'frozen' | 'rollback' | 'ended';
type Row = Readonly<Record<Column, VerbAnswer['outcome']>>;

/** The column of each phase in the table of verbs.ts. */
const COLUMNS: Readonly<Record<RolloutPhase, Column>> = {
  Pending: 'first',
  Prefetch: 'wave',
  Expand: 'wave',
  WaitReady: 'wave',
  Flip: 'wave',
  Bake: 'wave',
  Contract: 'contract',
  Frozen: 'frozen',
  Rollback: 'rollback',
  Ended: 'ended',
};
const PHASES = Object.keys(COLUMNS) as RolloutPhase[];

const TABLE: Readonly<Record<RolloutVerb, Row>> = {
  pause: row('applied', 'applied', 'applied', 'no-op', 'refused', 'no-op'),
  resume: row('no-op', 'no-op', 'no-op', 'applied', 'refused', 'refused'),
  promote: row('applied', 'applied', 'no-op', 'applied', 'refused', 'refused'),
  'promote-full': row('applied', 'applied', 'no-op', 'applied', 'refused', 'refused'),
  freeze: row('applied', 'applied', 'applied', 'no-op', 'refused', 'no-op'),
  retry: row('refused', 'refused', 'refused', 'applied', 'refused', 'refused'),
  abort: row('applied', 'applied', 'applied', 'applied', 'no-op', 'no-op'),
  undo: row('applied', 'applied', 'applied', 'applied', 'no-op', 'refused'),
};
const VERBS = Object.keys(TABLE) as RolloutVerb[];

/** While it is paused, in any phase in which it can be. */
const PAUSED: Readonly<Record<RolloutVerb, VerbAnswer['outcome']>> = {
  pause: 'no-op',
  resume: 'applied',
  promote: 'applied',
  'promote-full': 'applied',
  freeze: 'applied',
  retry: 'refused',
  abort: 'applied',
  undo: 'applied',
};

function row(
  first: VerbAnswer['outcome'],
  wave: VerbAnswer['outcome'],
  contract: VerbAnswer['outcome'],
  frozen: VerbAnswer['outcome'],
  rollback: VerbAnswer['outcome'],
  ended: VerbAnswer['outcome'],
): Row {
  return { first, wave, contract, frozen, rollback, ended };
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

for (const verb of VERBS) {
  for (const phase of PHASES) {
    const expected = TABLE[verb][COLUMNS[phase]];
    test(`${verb} in ${phase} is ${expected}`, () => {
      const fleet = at(phase);
      const before = fleet.state;
      const answer = fleet.verb(verb);
      assert.equal(answer.outcome, expected, answer.message);
      assert.match(answer.message, /\S/);
      if (answer.outcome !== 'applied') {
        assert.equal(fleet.state.phase, before.phase);
        assert.equal(fleet.state.paused, before.paused);
      }
    });
  }
}

for (const phase of PHASES.filter((one) => !['Frozen', 'Rollback', 'Ended'].includes(one))) {
  for (const verb of VERBS) {
    test(`${verb} in ${phase} while it is paused is ${PAUSED[verb]}`, () => {
      const fleet = at(phase);
      fleet.verb('pause');
      const answer = fleet.verb(verb);
      assert.equal(answer.outcome, PAUSED[verb], answer.message);
      if (answer.outcome === 'applied') assert.equal(fleet.state.paused, verb === 'freeze');
      else assert.ok(fleet.state.paused);
    });
  }
}

test('an undo that has not begun answers as the rollback that it is', () => {
  for (const verb of VERBS) {
    const cause = { to: 1, actor: 'ops', reason: 'wrong answers' };
    const fleet = new SmallFleet({ start: makeUndo({ model: 'm', version: 2 }, { hosts: hostsOf(2) }, cause) });
    assert.equal(fleet.verb(verb).outcome, TABLE[verb].rollback, verb);
    fleet.runTo('Ended');
    assert.equal(fleet.state.outcome, 'Undone');
  }
});

test('promote-full in Contract is applied when waves are left', () => {
  const waves = [{ hosts: 1 }, { percent: 100 }] as const;
  const fleet = new SmallFleet({ hosts: 3, plan: { waves, bake: 1000, keepWarm: 'wave' } });
  fleet.runTo('Contract', 0);
  assert.equal(fleet.verb('promote').outcome, 'no-op');
  assert.equal(fleet.verb('promote-full').outcome, 'applied');
  fleet.runTo('Ended');
  assert.equal(fleet.state.outcome, 'FastPromoted');
});

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
