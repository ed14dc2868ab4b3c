import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SEEN, TOLD } from '#lib/fleet/rollout/types.js';
import { MIB, PASS, SmallFleet } from './small-fleet.js';

const { OLD, NEW, PRIMARY_NEW, PREFETCH, WATCH, COLD } = TOLD;

test('a wave is fetched, expanded, awaited, flipped and baked, then the next; the old version goes at the end', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ hosts: 1 }, { percent: 100 }], bake: 100 } });
  for (const wave of [0, 1]) {
    fleet.runTo('Expand', wave);
    fleet.tick();
    assert.equal(fleet.phase, 'WaitReady', 'all are told, nobody is ready');
  }
  fleet.runTo('Ended');
  assert.deepEqual(fleet.phases, [
    'Prefetch 0',
    'Expand 0',
    'WaitReady 0',
    'Flip 0',
    'Bake 0',
    'Prefetch 1',
    'Expand 1',
    'WaitReady 1',
    'Flip 1',
    'Bake 1',
    'Contract 1',
    'Ended',
  ]);
  assert.equal(fleet.state.outcome, 'Promoted');
  assert.deepEqual([...fleet.told], Array(4).fill(NEW | PRIMARY_NEW));
  assert.deepEqual(fleet.model, { stable: 2, tombstones: new Set(), released: true });
});

test('what the hosts of a wave are told, phase by phase, while the others are left alone', () => {
  const fleet = new SmallFleet({ hosts: 3, plan: { waves: [{ hosts: 1 }, { percent: 100 }], bake: 100 } });
  const told: number[][] = [];
  for (const phase of ['Prefetch', 'Expand', 'Flip', 'Bake'] as const) {
    fleet.runTo(phase, 0);
    told.push([...fleet.told]);
  }
  assert.deepEqual(told, [
    [OLD | PREFETCH | WATCH, OLD, OLD],
    [OLD | NEW | WATCH, OLD, OLD],
    [OLD | NEW | PRIMARY_NEW | WATCH, OLD, OLD],
    [OLD | NEW | PRIMARY_NEW | WATCH, OLD, OLD],
  ]);
});

test('with keepWarm wave the old version goes after each wave', () => {
  const fleet = new SmallFleet({ hosts: 3, plan: { waves: [{ hosts: 1 }, { percent: 100 }], keepWarm: 'wave' } });
  fleet.runTo('Prefetch', 1);
  assert.deepEqual([...fleet.told], [NEW | PRIMARY_NEW, OLD | PREFETCH | WATCH, OLD | PREFETCH | WATCH]);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(3).fill(NEW | PRIMARY_NEW));
});

test('no wave is passed over', () => {
  const fleet = new SmallFleet({
    hosts: 4,
    plan: { waves: [{ hosts: 1 }, { hosts: 1 }, { hosts: 1 }, { percent: 100 }] },
  });
  fleet.runTo('Ended');
  assert.deepEqual(
    fleet.phases.filter((phase) => phase.startsWith('Flip')),
    ['Flip 0', 'Flip 1', 'Flip 2', 'Flip 3'],
  );
});

test('a host that becomes ready just before the progress deadline is looked at is progress', () => {
  const fleet = new SmallFleet({ hosts: 2, plan: { waves: [{ percent: 100 }], progressDeadline: 1000 } });
  fleet.runTo('Expand');
  fleet.tick();
  fleet.now += 1500;
  fleet.react([0]);
  fleet.tick();
  assert.deepEqual([fleet.phase, fleet.state.highWater], ['WaitReady', 1]);
});

test('a frozen rollout stands still, whatever its hosts do', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ hosts: 1 }, { percent: 100 }] } });
  fleet.runTo('Expand', 0);
  fleet.tick();
  fleet.verb('freeze');
  const told = [...fleet.told];
  for (let looks = 0; looks < 5; looks++) {
    fleet.react();
    fleet.now += 1000;
    fleet.tick();
    assert.deepEqual([fleet.phase, fleet.state.wave, ...fleet.told], ['Frozen', 0, ...told]);
  }
});

test('the end of a wave waits for the hosts of that wave, and a pause there for nobody else', () => {
  const plan = { waves: [{ hosts: 1 }, { percent: 100 }], keepWarm: 'wave', progressDeadline: 1000 } as const;
  const fleet = new SmallFleet({ hosts: 3, plan });
  fleet.runTo('Contract', 0);
  fleet.tick();
  assert.deepEqual(fleet.state.hold?.hosts, [fleet.plan.hosts[0]]);
  fleet.react();
  fleet.verb('pause');
  fleet.now += 5000;
  fleet.tick();
  assert.equal(fleet.phase, 'Contract', 'who was told has done it: the deadline is for nobody');
});

test('without prefetch nothing is written before the expansion', () => {
  const fleet = new SmallFleet({ hosts: 2, plan: { prefetch: false, waves: [{ hosts: 1 }, { percent: 100 }] } });
  fleet.tick();
  assert.equal(fleet.phase, 'Expand');
  assert.deepEqual([...fleet.told], [OLD | NEW | WATCH, OLD]);
});

test('a first deployment has no old version to keep, and ends like any other', () => {
  const fleet = new SmallFleet({ hosts: 3, from: null, plan: { waves: [{ hosts: 1 }, { percent: 100 }] } });
  fleet.runTo('Expand', 0);
  assert.deepEqual([...fleet.told], [NEW | WATCH, 0, 0]);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(3).fill(NEW | PRIMARY_NEW));
  assert.equal(fleet.model.stable, 2);
});

test('control hosts are watched from the start where traffic is compared', () => {
  const fleet = new SmallFleet({ hosts: 50, plan: { gates: [{ kind: 'traffic' }], bake: 100 } });
  fleet.tick();
  assert.equal(fleet.phase, 'Pending');
  assert.deepEqual(fleet.toldAll(OLD | WATCH).length, 20, 'twenty of the zone');
  fleet.gates.set(0, PASS);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(50).fill(NEW | PRIMARY_NEW), 'nobody is watched for ever');
});

test('a host without room lets the old version go first, and its cell says so until the new one is there', () => {
  const fleet = new SmallFleet({ hosts: 3, plan: { bytes: 100 * MIB, waves: [{ percent: 100 }], maxUnavailable: 1 } });
  fleet.freeMib.fill(50, 0, 2);
  fleet.runTo('Expand');
  assert.deepEqual([...fleet.told], [NEW | PRIMARY_NEW | COLD | WATCH, OLD | PREFETCH | WATCH, OLD | NEW | WATCH]);
  fleet.tick();
  assert.equal(fleet.state.hold?.code, 'budget', 'one of the zone at a time');
  assert.deepEqual(fleet.state.hold?.hosts, [fleet.plan.hosts[1]]);
  fleet.react();
  fleet.tick();
  assert.deepEqual(fleet.toldAll(COLD), [0, 1]);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(3).fill(NEW | PRIMARY_NEW));
});

test('a host whose room was taken after it was told lets the old version go, after a while, within the budget', () => {
  const fleet = new SmallFleet({
    hosts: 4,
    plan: { waves: [{ percent: 100 }], bytes: 100 * MIB, maxUnavailable: 1, progressDeadline: 40_000, prefetch: false },
  });
  fleet.freeMib.fill(150);
  fleet.tick();
  assert.equal(fleet.toldAll(TOLD.OLD | TOLD.NEW).length, 4);
  const cold = (): number[] => fleet.toldAll(TOLD.COLD);
  // Another model took it: managers wait for room, with what they have. Place 0 loads, place 1 failed.
  fleet.freeMib.fill(50);
  fleet.upToDate.fill(1);
  fleet.seen[0] = (fleet.seen[0] as number) | SEEN.PREFETCHED;
  fleet.seen[1] = (fleet.seen[1] as number) | SEEN.NEW_ERROR;
  fleet.tick();
  assert.equal(fleet.phase, 'WaitReady');
  fleet.now += 9_999;
  fleet.tick();
  assert.deepEqual(cold(), [], 'room may come by itself');
  fleet.now += 1;
  fleet.tick();
  assert.deepEqual(cold(), [2], 'one at a time may be unavailable');
  assert.equal((fleet.told[2] as number) & (TOLD.OLD | TOLD.NEW), TOLD.NEW);
  fleet.tick();
  assert.deepEqual(cold(), [2]);
  fleet.react([2]);
  fleet.tick();
  assert.deepEqual(cold(), [2, 3]);
  fleet.react();
  fleet.runTo('Ended');
  assert.equal(fleet.state.outcome, 'Promoted');
});

test('a host whose room came back is left as it is', () => {
  const fleet = new SmallFleet({ hosts: 1, plan: { bytes: 100 * MIB, progressDeadline: 40_000, prefetch: false } });
  fleet.tick();
  fleet.upToDate.fill(1);
  fleet.tick();
  assert.equal(fleet.phase, 'WaitReady');
  fleet.now += 20_000;
  assert.equal(fleet.tick().writes.length, 0, 'it has room, and loads any moment');
});

test('surge bytes may be taken above what is free', () => {
  const plan = { bytes: 100 * MIB, surgeBytes: 50 * MIB, waves: [{ percent: 100 }] };
  const fleet = new SmallFleet({ hosts: 2, plan });
  fleet.freeMib.set([50, 49]);
  fleet.runTo('Expand');
  assert.deepEqual([...fleet.told], [OLD | NEW | WATCH, NEW | PRIMARY_NEW | COLD | WATCH]);
});

test('what the first hosts measured replaces the bytes of the plan', () => {
  const fleet = new SmallFleet({ hosts: 3, plan: { waves: [{ hosts: 1 }, { percent: 100 }], maxUnavailable: 2 } });
  fleet.freeMib.fill(50);
  fleet.runTo('Flip', 0);
  assert.deepEqual(fleet.toldAll(COLD), [], 'nothing is known of it yet');
  fleet.measuredBytes = 60 * MIB;
  fleet.runTo('Expand', 1);
  assert.deepEqual(fleet.toldAll(COLD), [1, 2]);
  assert.equal(fleet.state.measuredBytes, 60 * MIB);
});

test('a step writes to 500 hosts at most, and the rest follows', () => {
  const fleet = new SmallFleet({ hosts: 1201, plan: { waves: [{ percent: 100 }], prefetch: false } });
  const sizes = [fleet.tick(), fleet.tick(), fleet.tick(), fleet.tick()].map((step) => step.writes.length);
  assert.deepEqual(sizes, [500, 500, 201, 0]);
});

test('a commit that was lost is made again, and one that was made twice changes nothing more', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ percent: 100 }], prefetch: false } });
  fleet.tick();
  fleet.told[2] = OLD;
  const again = fleet.tick();
  assert.deepEqual(
    again.writes.map((write) => write.place),
    [2],
  );
});

test('a host that returns after its wave catches up', () => {
  const fleet = new SmallFleet({
    hosts: 10,
    plan: { waves: [{ percent: 50 }, { percent: 100 }], minAlive: 50, bake: 50 },
  });
  fleet.kill(1);
  fleet.runTo('Bake', 0);
  assert.equal(fleet.told[1], OLD | NEW | WATCH, 'it finds this when it comes back');
  fleet.revive(1);
  fleet.runTo('Bake', 1);
  assert.equal(fleet.told[1], OLD | NEW | PRIMARY_NEW | WATCH);
  fleet.runTo('Ended');
  assert.equal(fleet.told[1], NEW | PRIMARY_NEW);
});

test('a dead host does not keep a rollout from ending, and its document has the new version', () => {
  const fleet = new SmallFleet({ hosts: 10, plan: { waves: [{ percent: 100 }] } });
  fleet.kill(3);
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], Array(10).fill(NEW | PRIMARY_NEW));
});

test('a cordoned host is neither told nor counted', () => {
  const fleet = new SmallFleet({ hosts: 4, plan: { waves: [{ percent: 100 }] } });
  fleet.seen[0] = (fleet.seen[0] as number) | SEEN.CORDONED;
  fleet.runTo('Ended');
  assert.deepEqual([...fleet.told], [OLD, ...Array(3).fill(NEW | PRIMARY_NEW)]);
});

test('a bake ends by the clock of the store and not before', () => {
  const fleet = new SmallFleet({ hosts: 2, plan: { waves: [{ percent: 100 }], bake: 1000 } });
  fleet.runTo('Bake');
  const { phaseAt } = fleet.stamps;
  fleet.react();
  fleet.now = phaseAt + 999;
  assert.equal(fleet.tick().changed, false);
  assert.equal(fleet.state.hold?.until, phaseAt + 1000);
  fleet.now = phaseAt + 1000;
  fleet.tick();
  assert.equal(fleet.phase, 'Contract');
});
