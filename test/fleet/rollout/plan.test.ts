import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { arrivalsOf, cellOf, STAGE, targetOf, toldOf } from '#lib/fleet/rollout/cells.js';
import { explain } from '#lib/fleet/rollout/explain.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import type { RolloutPlanOptions, WaveSelector } from '#lib/fleet/rollout/types.js';
import { orderHosts } from '#lib/fleet/rollout/waves.js';
import { hostsOf, MIB, SmallFleet } from './small-fleet.js';

const HOSTS = hostsOf(20, 2);

const BAD: readonly (readonly [string, Partial<RolloutPlanOptions> & Record<string, unknown>, string, RegExp])[] = [
  ['a name with braces', { model: '{m}' }, 'ERR_FLEET_INVALID_NAME', /the model/],
  ['a name with colons', { model: 'a:b' }, 'ERR_FLEET_INVALID_NAME', /the model/],
  ['a version that is none', { version: -1 }, 'ERR_INVALID_VERSION', /version/],
  ['the stable version', { version: 1 }, 'ERR_PLAN_INVALID', /stable/],
  ['an unknown option', { maxUnavailble: 1 }, 'ERR_UNKNOWN_OPTION', /Did you mean maxUnavailable/],
  ['an unknown kind of wave', { waves: [{ percents: 1 } as never] }, 'ERR_UNKNOWN_OPTION', /percent/],
  ['a duration that is none', { bake: '5 parsecs' }, 'ERR_INVALID_ARGUMENT', /bake/],
  ['a bake longer than the deadline', { bake: '2h' }, 'ERR_PLAN_INVALID', /deadline/],
  ['a budget that is none', { maxUnavailable: '110%' }, 'ERR_INVALID_ARGUMENT', /maxUnavailable/],
  ['an unknown host', { waves: [{ hosts: ['h99'] }] }, 'ERR_PLAN_UNKNOWN_HOST', /h99/],
  ['an unknown zone', { waves: [{ zone: 'z' }] }, 'ERR_PLAN_UNKNOWN_HOST', /zone z/],
  ['an unknown label', { waves: [{ labels: { gpu: 'h100' } }] }, 'ERR_PLAN_UNKNOWN_HOST', /gpu=h100/],
  [
    'a host in two waves',
    { waves: [{ hosts: ['h1'] }, { hosts: ['h1'] }] },
    'ERR_PLAN_OVERLAPPING_WAVES',
    /h1.*waves\[0\]/,
  ],
  ['a zone in two waves', { waves: [{ zone: 'a' }, { zone: 'a' }] }, 'ERR_PLAN_OVERLAPPING_WAVES', /without hosts/],
  ['percentages that fall', { waves: [{ percent: 50 }, { percent: 25 }] }, 'ERR_PLAN_OVERLAPPING_WAVES', /add up/],
];

for (const [what, options, code, message] of BAD) {
  test(`a plan with ${what} is refused with ${code}`, () => {
    const plan = { model: 'm', version: 2, ...options };
    assert.throws(() => makePlan(plan, { hosts: HOSTS, stable: 1 }), { code, message });
  });
}

test('budgets that can never be kept are refused', () => {
  const tight = hostsOf(4, 1, { capacityBytes: 150 * MIB });
  const plan = { model: 'm', version: 2, bytes: 100 * MIB };
  const impossible = { code: 'ERR_PLAN_IMPOSSIBLE' };
  assert.throws(() => makePlan({ ...plan, maxUnavailable: 0 }, { hosts: tight, stable: 1 }), impossible);
  assert.throws(() => makePlan({ ...plan, bytes: 200 * MIB }, { hosts: tight, stable: 1 }), impossible);
  assert.throws(() => makePlan(plan, { hosts: [] }), impossible);
  makePlan({ ...plan, maxUnavailable: 0 }, { hosts: tight });
  makePlan({ ...plan, maxUnavailable: 0, surgeBytes: 50 * MIB }, { hosts: tight, stable: 1 });
  makePlan({ ...plan, maxUnavailable: 1 }, { hosts: tight, stable: 1 });
});

test('every host that is not cordoned is in one wave, and no wave is empty', () => {
  const selector = fc.oneof(
    fc.integer({ min: 1, max: 5 }).map((hosts): WaveSelector => ({ hosts })),
    fc.integer({ min: 1, max: 100 }).map((percent): WaveSelector => ({ percent })),
    fc.constantFrom('a', 'b', 'c').map((zone): WaveSelector => ({ zone })),
  );
  const check = (waves: WaveSelector[], count: number, zones: number, cordoned: number): void => {
    const hosts = hostsOf(count, zones).map((host) => ({ ...host, cordoned: host.index < cordoned }));
    let plan: ReturnType<typeof makePlan>;
    try {
      plan = makePlan({ model: 'm', version: 2, waves }, { hosts, stable: 1 });
    } catch (error) {
      assert.match((error as { code: string }).code, /^ERR_PLAN_(OVERLAPPING_WAVES|UNKNOWN_HOST|IMPOSSIBLE)$/);
      return;
    }
    const ids = hosts.filter((host) => !host.cordoned).map((host) => host.info.id);
    assert.deepEqual([...plan.hosts].sort(), ids.sort());
    assert.deepEqual([...new Set(plan.waveOf)], [...plan.waves.keys()], 'in the order of the waves');
  };
  const count = fc.integer({ min: 1, max: 40 });
  fc.assert(
    fc.property(
      fc.array(selector, { minLength: 1, maxLength: 4 }),
      count,
      fc.integer({ min: 1, max: 3 }),
      fc.nat(5),
      check,
    ),
  );
});

test('one model begins with the same hosts, others with others, and each zone has its share', () => {
  const hosts = hostsOf(90, 3);
  const ids = (model: string, among = hosts): string[] => orderHosts(model, among).map((host) => host.info.id);
  assert.deepEqual(ids('m'), ids('m', [...hosts].reverse()));
  const firsts = new Set(Array.from({ length: 50 }, (_, i) => ids(`m${i}`)[0]));
  assert.ok(firsts.size > 25, `${firsts.size} different canaries for 50 models`);
  const zones = orderHosts('m', hosts)
    .slice(0, 30)
    .map((host) => host.info.zone);
  for (const zone of ['a', 'b', 'c']) assert.equal(zones.filter((one) => one === zone).length, 10);
});

test('a host that leaves changes the order of no others', () => {
  const hosts = hostsOf(30);
  const before = orderHosts('m', hosts).map((host) => host.info.id);
  const after = orderHosts('m', hosts.slice(1)).map((host) => host.info.id);
  assert.deepEqual(
    after,
    before.filter((id) => id !== 'h0'),
  );
});

test('a cell says what its bits say, and back', () => {
  for (let bits = 0; bits < 128; bits++) {
    if ((bits & 4) !== 0 && (bits & 2) === 0) continue;
    assert.equal(toldOf({ ...cellOf(bits, 2, 1) }, 2, 1), bits);
  }
  assert.equal(toldOf(undefined, 2, 1), 0);
});

test('a host that has arrived at a stage is told the same, whatever is seen of it', () => {
  const each = [true, false];
  const cases = each.flatMap((hasOld) => each.map((overdue) => ({ hasOld, overdue })));
  for (const stage of Object.values(STAGE)) {
    let arrived = 0;
    for (const { hasOld, overdue } of cases) {
      for (let told = 0; told < 128; told++) {
        if (arrivalsOf(stage, hasOld, overdue)[told] !== 1) continue;
        if (!hasOld && (told & 1) !== 0) continue;
        arrived++;
        for (let seen = 0; seen < 256; seen++) {
          for (const current of each) {
            for (const fits of each) {
              const target = targetOf(stage, { told, seen, current, fits, overdue }, hasOld, true);
              if (target !== told) assert.fail(`${told} at stage ${stage} becomes ${target}, seen ${seen}`);
            }
          }
        }
      }
    }
    assert.ok(arrived > 0, `stage ${stage} has an end`);
  }
});

test('explain is one sentence: where, why, whom it waits for, and since when', () => {
  const fleet = new SmallFleet({ hosts: 3, plan: { waves: [{ percent: 100 }] } });
  fleet.runTo('Expand');
  fleet.tick();
  fleet.react([0]);
  fleet.tick();
  const record = { id: 'r', model: 'm', revision: 3, plan: fleet.plan, state: fleet.state, stamps: fleet.stamps };
  const [, b, c] = fleet.plan.hosts;
  const since = new Date(fleet.stamps.phaseAt).toISOString();
  assert.equal(
    explain(record),
    `m 1 → 2 is in WaitReady of wave 1 of 1 (100 %) since ${since}: ` +
      `1 have the version available, 3 hosts needed of 3 alive (${b}, ${c}).`,
  );
});
