import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain } from '#lib/fleet/rollout/explain.js';
import { SEEN, TOLD } from '#lib/fleet/rollout/types.js';
import { makeUndo, undoTarget } from '#lib/fleet/rollout/undo.js';
import { FAIL, hostsOf, MIB, NO_DATA, PASS, SmallFleet } from './small-fleet.js';

const { OLD, NEW, PRIMARY_NEW, COLD, ROLLED_BACK } = TOLD;
const ONE_WAVE = [{ percent: 100 }] as const;

test('warm hosts flip back in one write, hosts that were never told are left alone', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ hosts: 2 }, { percent: 100 }], bake: 1000 } });
  fleet.runTo('Bake', 0);
  fleet.verb('abort');
  assert.deepEqual([...fleet.told], [OLD | ROLLED_BACK, OLD | ROLLED_BACK, OLD, OLD]);
  assert.deepEqual([...fleet.model.tombstones], [2], 'in the same commit');
  fleet.tick();
  assert.equal(fleet.state.hold?.code, 'rolling-back');
  assert.equal(fleet.state.hold?.hostCount, 2);
  assert.match(fleet.state.hold?.message ?? '', /^2 hosts are not back yet/);
  fleet.react();
  fleet.tick();
  assert.equal(fleet.phase, 'Ended');
});

test('what a rollback waits for is told in the singular, too', () => {
  const fleet = new SmallFleet({ hosts: 2, plan: { waves: [{ hosts: 1 }, { percent: 100 }], bake: 1000 } });
  fleet.runTo('Bake', 0);
  fleet.verb('abort');
  fleet.tick();
  assert.match(fleet.state.hold?.message ?? '', /^1 host is not back yet/);
});

test('hosts that were told to fetch the version and no more are told to go back', () => {
  const fleet = new SmallFleet({ hosts: 2, plan: { waves: [{ percent: 100 }] } });
  fleet.runTo('Prefetch');
  assert.deepEqual(fleet.toldAll(TOLD.PREFETCH), [0, 1]);
  fleet.verb('abort');
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(2).fill(TOLD.OLD | TOLD.ROLLED_BACK));
});

test('a dead host that was told of the version gets the cell of the rollback, and does not keep it from ending', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: ONE_WAVE, bake: 1000, minAlive: 50 } });
  fleet.runTo('Bake');
  fleet.kill(1);
  fleet.verb('abort');
  fleet.runTo('Ended');
  assert.equal(fleet.told[1], OLD | ROLLED_BACK);
  assert.match(fleet.audit.at(-1) ?? '', /1 host will follow/);
});

test('cold hosts go back within maxUnavailable, one after the other', () => {
  const plan = { waves: ONE_WAVE, bytes: 100 * MIB, maxUnavailable: 1, bake: 1000 };
  const fleet = new SmallFleet({ hosts: 3, plan });
  fleet.freeMib.fill(0);
  fleet.runTo('Bake');
  assert.deepEqual(fleet.toldAll(COLD | NEW), [0, 1, 2]);
  fleet.react();
  fleet.verb('abort');
  assert.deepEqual(fleet.toldAll(ROLLED_BACK), [0]);
  fleet.tick();
  assert.deepEqual(fleet.toldAll(ROLLED_BACK), [0], 'it counts although it has not reported yet');
  fleet.react();
  fleet.tick();
  assert.deepEqual(fleet.toldAll(ROLLED_BACK), [0, 1]);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(3).fill(OLD | ROLLED_BACK));
});

test('a host that was told to go back while it was away, without room for both, lets the bad version go first', () => {
  const waves = [{ hosts: 2 }, { percent: 100 }] as const;
  const plan = { waves, bytes: 100 * MIB, maxUnavailable: 1, keepWarm: 'wave', bake: 1000 } as const;
  const fleet = new SmallFleet({ hosts: 4, plan });
  fleet.freeMib.fill(0);
  fleet.runTo('Prefetch', 1);
  assert.deepEqual(fleet.toldAll(NEW), [0, 1]);
  fleet.kill(0, 1);
  // Nobody knows how much room there is on a host that is away.
  fleet.freeMib.fill(0xffffffff, 0, 2);
  fleet.verb('abort');
  assert.deepEqual([...fleet.told.subarray(0, 2)], [OLD | ROLLED_BACK, OLD | ROLLED_BACK]);
  for (const place of [0, 1]) fleet.seen[place] = SEEN.ALIVE | SEEN.NEW_READY | SEEN.PRIMARY_NEW;
  fleet.freeMib.fill(0);
  fleet.tick();
  assert.deepEqual(fleet.toldAll(COLD), [], 'they have not read it yet');
  fleet.upToDate.fill(1);
  fleet.tick();
  assert.deepEqual(fleet.toldAll(COLD), [0], 'within maxUnavailable');
  fleet.react([0, 2, 3]);
  fleet.tick();
  assert.deepEqual(fleet.toldAll(COLD), [1]);
  assert.equal(fleet.told[0], OLD | ROLLED_BACK);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(4).fill(OLD | ROLLED_BACK));
});

test('a host that was told anew after lost writes, and has no room for it, lets the bad version go in the rollback', () => {
  const waves = [{ hosts: 1 }, { percent: 100 }] as const;
  const fleet = new SmallFleet({ hosts: 3, plan: { waves, bytes: 100 * MIB, maxUnavailable: 1, bake: 1000 } });
  fleet.runTo('Bake', 0);
  fleet.react();
  // It was in a later wave that the store does not know of any more.
  fleet.freeMib[2] = 0;
  fleet.seen[2] = SEEN.ALIVE | SEEN.NEW_READY | SEEN.PRIMARY_NEW;
  fleet.verb('abort');
  assert.deepEqual([...fleet.told], [OLD | ROLLED_BACK, OLD, OLD | ROLLED_BACK | COLD]);
  fleet.runTo('Ended');
  assert.equal(fleet.told[2], OLD | ROLLED_BACK);
});

test('a rollback that hangs ends the bad version above the budget, and then ends itself', () => {
  const plan = { waves: ONE_WAVE, bytes: 100 * MIB, maxUnavailable: 1, bake: 1000, progressDeadline: 5000 };
  const fleet = new SmallFleet({ hosts: 3, plan });
  fleet.freeMib.fill(0);
  fleet.runTo('Bake');
  fleet.react();
  fleet.verb('abort');
  fleet.now += 4999;
  fleet.tick();
  assert.deepEqual(fleet.toldAll(ROLLED_BACK), [0]);
  fleet.now += 1;
  fleet.tick();
  assert.deepEqual(fleet.toldAll(ROLLED_BACK), [0, 1, 2]);
  fleet.now += 5000;
  fleet.tick();
  assert.equal(fleet.phase, 'Ended');
});

test('a first deployment is taken back to nothing', () => {
  const fleet = new SmallFleet({ hosts: 2, from: null, plan: { waves: ONE_WAVE, bake: 1000 } });
  fleet.runTo('Bake');
  fleet.queue('abort');
  const step = fleet.tick();
  assert.deepEqual(step.writes[0]?.cell, { versions: [], rolledBack: [2] });
  fleet.runTo('Ended');
});

test('a gate that fails rolls back with its figures, or freezes where the plan says so', () => {
  for (const onFailure of ['rollback', 'freeze'] as const) {
    const fleet = new SmallFleet({ plan: { waves: ONE_WAVE, gates: [{ kind: 'traffic' }], bake: 1000, onFailure } });
    fleet.runTo('Bake');
    fleet.gates.set(0, FAIL);
    fleet.tick();
    assert.equal(fleet.phase, onFailure === 'freeze' ? 'Frozen' : 'Rollback');
    assert.match(fleet.audit.at(-1) ?? '', /9 % against 1 %/);
    assert.equal(fleet.state.verdicts?.[0]?.verdict, 'fail');
  }
});

test('without enough data a wave holds, or does what the gate says', () => {
  const ends = { hold: 'Bake', pass: 'Contract', fail: 'Rollback' } as const;
  for (const [onInsufficientData, phase] of Object.entries(ends) as [keyof typeof ends, string][]) {
    const gates = [{ kind: 'traffic', onInsufficientData }] as const;
    const fleet = new SmallFleet({ plan: { waves: ONE_WAVE, gates, bake: 100 } });
    fleet.gates.set(0, NO_DATA);
    fleet.runTo('Bake');
    fleet.react();
    fleet.now += 100;
    fleet.tick();
    assert.equal(fleet.phase, phase, onInsufficientData);
  }
});

test('a webhook before the wave is asked before anything of it is told', () => {
  const gates = [{ kind: 'webhook', url: 'http://127.0.0.1:1/', when: 'before-wave' }] as const;
  const fleet = new SmallFleet({ plan: { waves: ONE_WAVE, gates, progressDeadline: 1000 } });
  assert.deepEqual(fleet.tick().ask, [0]);
  assert.equal(fleet.state.hold?.code, 'gate-pending');
  fleet.now += 60_000;
  assert.equal(fleet.tick().changed, false, 'a gate that takes its time is no host that is late');
  fleet.gates.set(0, PASS);
  assert.deepEqual(fleet.tick().ask, []);
  fleet.runTo('Ended');
});

test('deadlines are looked at though nothing ever becomes ready, and flapping is no progress', () => {
  const fleet = new SmallFleet({ plan: { waves: ONE_WAVE, progressDeadline: 10_000 } });
  fleet.runTo('Expand');
  fleet.tick();
  fleet.react([0]);
  fleet.tick();
  assert.equal(fleet.state.highWater, 1);
  for (let i = 0; i < 9; i++) {
    fleet.now += 1000;
    (i % 2 === 0 ? fleet.kill : fleet.revive).call(fleet, 0);
    fleet.tick();
  }
  assert.equal(fleet.phase, 'WaitReady');
  fleet.now += 1000;
  fleet.tick();
  assert.equal(fleet.phase, 'Rollback');
  assert.match(fleet.state.rollback?.reason ?? '', /no host more became ready within 10 s/);
});

test('the deadline of the whole aborts or freezes, also while it is paused', () => {
  for (const onDeadline of ['abort', 'freeze'] as const) {
    const fleet = new SmallFleet({ plan: { waves: ONE_WAVE, deadline: 20_000, bake: 10_000, onDeadline } });
    fleet.runTo('Bake');
    fleet.verb('pause');
    fleet.now += 20_000;
    fleet.tick();
    assert.equal(fleet.phase, onDeadline === 'abort' ? 'Rollback' : 'Frozen');
  }
});

test('a failure that makes the quorum impossible is not waited out', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: ONE_WAVE, readyQuorum: 75 } });
  fleet.runTo('Expand');
  fleet.errors.set(0, 'unsupported opset');
  fleet.react();
  fleet.tick();
  assert.notEqual(fleet.phase, 'Rollback', 'three of four are enough');
  fleet.errors.set(1, 'unsupported opset');
  fleet.react();
  fleet.seen[1] = SEEN.ALIVE | SEEN.OLD_READY | SEEN.NEW_ERROR;
  fleet.tick();
  assert.equal(fleet.phase, 'Rollback');
  assert.match(fleet.state.rollback?.reason ?? '', /2 of 4 hosts failed for good, of h\d: unsupported opset/);
});

test('no step forward while the store is in doubt, but an abort is carried out', () => {
  for (const storeHold of ['observation-grace', 'mass-expiry', 'store-regression', 'unconfirmed'] as const) {
    const fleet = new SmallFleet({ plan: { waves: ONE_WAVE } });
    fleet.runTo('Expand');
    fleet.react();
    fleet.storeHold = storeHold;
    const step = fleet.tick();
    assert.deepEqual(step.writes, []);
    assert.equal(fleet.phase, 'Expand');
    assert.equal(step.state.hold?.code, storeHold);
    fleet.verb('abort');
    assert.equal(fleet.toldAll(ROLLED_BACK).length, 4, storeHold);
  }
});

test('a hold of the store names its hosts, and others when those are not the ones any more', () => {
  const fleet = new SmallFleet({ hosts: 4 });
  fleet.runTo('Expand', 1);
  fleet.storeHold = 'mass-expiry';
  // Of the whole fleet: also some that are not in this rollout.
  fleet.storeHosts = ['h0', ...Array.from({ length: 29 }, (_, index) => `x${index}`)];
  fleet.tick();
  assert.deepEqual([fleet.state.hold?.hosts, fleet.state.hold?.hostCount], [fleet.storeHosts.slice(0, 20), 30]);
  assert.match(
    explain({ id: 'r', model: 'm', revision: 1, plan: fleet.plan, state: fleet.state, stamps: fleet.stamps }),
    /\(h0, x0, x1, .* and 10 hosts more\)/,
  );
  fleet.storeHosts = [...fleet.storeHosts.slice(19), 'h1'];
  assert.equal(fleet.tick().changed, false, 'one of those that it names is left');
  fleet.storeHosts = fleet.storeHosts.slice(1);
  fleet.tick();
  assert.deepEqual(fleet.state.hold?.hosts, fleet.storeHosts);
  fleet.storeHosts = [...fleet.storeHosts, ...Array.from({ length: 11 }, (_, index) => `y${index}`)];
  assert.equal(fleet.tick().changed, false, 'less than twice as many');
  fleet.storeHosts = [...fleet.storeHosts, 'y11'];
  fleet.tick();
  assert.equal(fleet.state.hold?.hostCount, 23);

  fleet.storeHold = 'observation-grace';
  fleet.storeHosts = undefined;
  fleet.kill(2);
  fleet.tick();
  assert.deepEqual(fleet.state.hold?.hosts, [fleet.plan.hosts[2]], 'in the grace those that are silent');
});

test('a witness of the rollback wins, in any phase, and every host is told', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ hosts: 1 }, { percent: 100 }], bake: 1000 } });
  fleet.runTo('Bake', 0);
  fleet.storeHold = 'store-regression';
  fleet.witness = { host: 'h2', generation: 17 };
  fleet.tick();
  assert.equal(fleet.phase, 'Rollback');
  assert.equal(fleet.toldAll(ROLLED_BACK).length, 4);
  assert.deepEqual([...fleet.model.tombstones], [2]);
});

test('an undo is a rollout that is nothing but a rollback, and makes the version before stable', () => {
  const hosts = hostsOf(3);
  const short = { model: 'm', version: 2, deadline: '5s' };
  assert.equal(makeUndo(short, { hosts }, { to: 1, actor: 'ops', reason: 'wrong' }).plan.deadlineMs, 5000);
  const start = makeUndo({ model: 'm', version: 2 }, { hosts }, { to: 1, actor: 'ops', reason: 'wrong answers' });
  const fleet = new SmallFleet({ start });
  fleet.told.fill(NEW | PRIMARY_NEW);
  fleet.seen.fill(SEEN.ALIVE | SEEN.NEW_READY | SEEN.PRIMARY_NEW);
  assert.equal(fleet.verb('pause').outcome, 'refused');
  fleet.tick();
  assert.equal(fleet.model.stable, 1);
  fleet.runTo('Ended');
  assert.equal(fleet.state.outcome, 'Undone');
  assert.deepEqual([...fleet.told], Array(3).fill(OLD | ROLLED_BACK));
  assert.equal(undoTarget({ stable: 4, previous: [4, 3, 2], tombstones: [3] }), 2);
  assert.equal(undoTarget({ stable: 4, previous: [], tombstones: [] }), undefined);
});

test('an undo that a witness asks for tells every host, also those that the store knows nothing of', () => {
  const hosts = hostsOf(3);
  const witness = { host: 'h1', generation: 17 };
  const start = makeUndo({ model: 'm', version: 2 }, { hosts }, { to: 1, actor: 'controller', witness });
  const fleet = new SmallFleet({ start });
  assert.deepEqual([...fleet.told], Array(3).fill(OLD), 'as if it had been done already');
  fleet.witness = witness;
  fleet.tick();
  assert.equal(fleet.toldAll(ROLLED_BACK).length, 3);
  fleet.witness = undefined;
  fleet.runTo('Ended');
  assert.equal(fleet.state.outcome, 'RolledBack');
  assert.equal(fleet.model.stable, 1);
  assert.deepEqual([...fleet.model.tombstones], [2]);
  assert.match(fleet.audit[0] ?? '', /host h1 has seen generation 17, which took version 2 back/);
});

test('too few living hosts hold a wave, by name', () => {
  const fleet = new SmallFleet({ hosts: 5, plan: { waves: ONE_WAVE } });
  fleet.kill(0, 1);
  fleet.tick();
  assert.equal(fleet.state.hold?.code, 'min-alive');
  assert.deepEqual(fleet.state.hold?.hosts, [fleet.plan.hosts[0], fleet.plan.hosts[1]]);
  assert.match(fleet.state.hold?.message ?? '', /3 of 5 hosts of the wave are alive, 80 % are needed/);
});
