// Policies and the order of actions: the exported classes, one's own, per servable, and ones that misbehave.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type AspiredError,
  type AspiredServableStateSnapshot,
  type AspiredVersionPolicy,
  AvailabilityPreservingPolicy,
  type HarnessState,
  ResourcePreservingPolicy,
  type ServableAction,
} from 'aspired';
import { Decisions } from '#lib/manager/decisions.js';
import type { NativeAction, NativeManager } from '#lib/native/binding.js';
import { CountingLoader, counted, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext, options = {}) => new TestManager(t, { maxNumLoadRetries: 0, ...options });
const snapshot = (version: number, state: HarnessState, isAspired: boolean): AspiredServableStateSnapshot => ({
  id: { name: 'm', version },
  state,
  isAspired,
});
const action = (kind: 'load' | 'unload', version: number): ServableAction => ({
  action: kind,
  id: { name: 'm', version },
});

test('the exported classes answer as the native policies do, whatever the order of the snapshots', () => {
  const [availability, resource] = [new AvailabilityPreservingPolicy(), new ResourcePreservingPolicy()];
  const cases: [AspiredServableStateSnapshot[], ServableAction | undefined, ServableAction | undefined][] = [
    [[], undefined, undefined],
    [[snapshot(1, 'Ready', true)], undefined, undefined],
    [[snapshot(1, 'Ready', false), snapshot(2, 'New', true)], action('load', 2), action('unload', 1)],
    [[snapshot(1, 'Ready', false), snapshot(2, 'Error', true)], undefined, action('unload', 1)],
    [[snapshot(1, 'Ready', false), snapshot(2, 'Ready', true)], action('unload', 1), action('unload', 1)],
    [[snapshot(1, 'Unloading', false), snapshot(2, 'New', true)], action('load', 2), undefined],
    [[snapshot(2, 'New', true), snapshot(3, 'New', true)], action('load', 3), action('load', 3)],
  ];
  for (const [snapshots, preserving, freeing] of cases) {
    for (const order of [snapshots, [...snapshots].reverse()]) {
      assert.deepEqual(availability.getNextAction(order), preserving);
      assert.deepEqual(resource.getNextAction(order), freeing);
    }
  }
  assert.throws(() => availability.getNextAction('nothing' as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => availability.getNextAction([snapshot(1, 'Fine' as never, true)]), /one of New/);
});

test('availability-preserving: never without a version; resource-preserving: never both', async (t) => {
  for (const policy of ['availability-preserving', 'resource-preserving'] as const) {
    const m = start(t, { aspiredVersionPolicy: policy });
    const loader = new ManualLoader();
    await m.aspire('m', counted(1));
    const transition = m.manager.setAspiredVersions('m', one(2, loader));
    const attempt = await loader.loading();
    assert.equal(m.resolve('m'), policy === 'availability-preserving' ? 'm/1' : 'ERR_SERVABLE_NOT_FOUND');
    attempt.succeed(2);
    await m.settled(transition);
    const gone = m.events.indexOf('m', 1, 'End');
    const loading = m.events.indexOf('m', 2, 'Loading');
    assert.equal(gone < loading, policy === 'resource-preserving');
  }
});

test('a policy by name and by object of the exported class is the native one', async (t) => {
  for (const policy of [new ResourcePreservingPolicy(), 'resource-preserving'] as const) {
    const m = start(t, { aspiredVersionPolicy: policy });
    await m.aspire('m', counted(1));
    await m.aspire('m', counted(2));
    assert.ok(m.events.indexOf('m', 1, 'End') < m.events.indexOf('m', 2, 'Loading'));
  }
});

test('one servable has a policy of its own; the others have that of the manager', async (t) => {
  const m = start(t);
  const aspiredVersionPolicy = new ResourcePreservingPolicy();
  for (const list of [counted(1), counted(2)]) {
    await m.aspire('frugal', list, { aspiredVersionPolicy });
    await m.aspire('usual', counted(...list.map(({ version }) => version)));
  }
  assert.ok(m.events.indexOf('frugal', 1, 'End') < m.events.indexOf('frugal', 2, 'Loading'));
  assert.ok(m.events.indexOf('usual', 2, 'Available') < m.events.indexOf('usual', 1, 'Unloading'));
  // It stays when a later list does not give one, and goes when another one is given.
  await m.aspire('frugal', counted(3));
  assert.ok(m.events.indexOf('frugal', 2, 'End') < m.events.indexOf('frugal', 3, 'Loading'));
  await m.aspire('frugal', counted(4), { aspiredVersionPolicy: 'availability-preserving' });
  assert.ok(m.events.indexOf('frugal', 4, 'Available') < m.events.indexOf('frugal', 3, 'Unloading'));
});

test('a policy changed alone is asked at once', async (t) => {
  const m = start(t, { aspiredVersionPolicy: { getNextAction: () => undefined } });
  const transition = m.manager.setAspiredVersions('m', counted(1));
  m.manager.setAspiredVersionPolicy('m', 'availability-preserving');
  await m.settled(transition);
  assert.throws(() => m.manager.setAspiredVersionPolicy('m', 'best' as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => m.manager.setAspiredVersionPolicy('', 'resource-preserving'), coded('ERR_INVALID_NAME'));
});

test('one of your own: at most one load at a time, whatever the threads', async (t) => {
  const native = new AvailabilityPreservingPolicy();
  const oneAtATime: AspiredVersionPolicy = {
    getNextAction(snapshots) {
      const busy = snapshots.some(({ state }) => ['LoadRequested', 'LoadApproved', 'Loading'].includes(state));
      const next = native.getNextAction(snapshots);
      return next?.action === 'load' && busy ? undefined : next;
    },
  };
  const m = start(t, { aspiredVersionPolicy: oneAtATime, numLoadThreads: 4 });
  const loaders = [1, 2, 3].map(() => new ManualLoader());
  const list = loaders.map((loader, i) => ({ version: i + 1, loader }));
  const transition = m.manager.setAspiredVersions('m', list);
  for (const loader of [...loaders].reverse()) {
    const attempt = await loader.loading(); // highest first
    assert.equal(loaders.filter(({ loads }) => loads > 0).indexOf(loader), 0);
    attempt.succeed(1);
  }
  await m.settled(transition);
});

test('a subclass is one of your own', async (t) => {
  const asked: number[] = [];
  class Watched extends AvailabilityPreservingPolicy {
    override getNextAction(snapshots: readonly AspiredServableStateSnapshot[]) {
      asked.push(snapshots.length);
      return super.getNextAction(snapshots);
    }
  }
  const m = start(t, { aspiredVersionPolicy: new Watched() });
  await m.aspire('m', counted(1, 2));
  await m.aspire('m', counted(3));
  assert.deepEqual(m.available(), ['m/3']);
  assert.ok(asked.length > 0 && asked.includes(3), `${asked}`);
});

test('one of your own sees the states as they are, and what its answers lead to', async (t) => {
  const seen: string[] = [];
  const native = new AvailabilityPreservingPolicy();
  const aspiredVersionPolicy: AspiredVersionPolicy = {
    getNextAction(snapshots) {
      seen.push(
        snapshots.map(({ id, state, isAspired }) => `${id.version}${isAspired ? '*' : ''} ${state}`).join(', '),
      );
      return native.getNextAction(snapshots);
    },
  };
  const m = start(t, { aspiredVersionPolicy, manageStateIntervalMs: 0 });
  await m.aspire('m', counted(1));
  m.manager.setAspiredVersions('m', counted(2, 3));
  seen.length = 0;
  m.manager.step();
  assert.deepEqual(seen.slice(0, 3), [
    '1 Ready, 2* New, 3* New',
    '1 Ready, 2* New, 3* LoadRequested',
    '1 Ready, 2* LoadRequested, 3* LoadRequested',
  ]);
});

const nonsense: [string, unknown][] = [
  ['a number', 7],
  ['a word', 'load'],
  ['an unknown action', { action: 'reload', id: { name: 'm', version: 2 } }],
  ['no id', { action: 'load' }],
  ['an unmanaged version', { action: 'load', id: { name: 'm', version: 99 } }],
  ['another servable', { action: 'unload', id: { name: 'other', version: 1 } }],
  ['a load of what is Ready', { action: 'load', id: { name: 'm', version: 1 } }],
  ['an unload of what is New', { action: 'unload', id: { name: 'm', version: 2 } }],
  ['a promise', Promise.resolve(undefined)],
];

for (const [what, answer] of nonsense) {
  test(`a policy that answers ${what} is reported, and nothing breaks`, async (t) => {
    const m = start(t);
    await m.aspire('m', counted(1));
    await m.aspire('other', counted(1));
    const aspiredVersionPolicy = { getNextAction: () => answer as ServableAction };
    const transition = m.manager.setAspiredVersions('m', counted(2), { aspiredVersionPolicy });
    await m.aspire('other', counted(2)); // its policy is asked later than that of m
    assert.deepEqual(m.available(), ['m/1', 'other/2'], 'what was served is served');
    assert.ok(m.errors.length > 0);
    assert.ok(
      m.errors.every(({ code, message }) => code === 'ERR_INVALID_POLICY_ACTION' && /policy of m/.test(message)),
    );
    await m.aspire('m', counted(2), { aspiredVersionPolicy: 'availability-preserving' });
    assert.equal(m.resolve('m'), 'm/2');
    assert.equal((await m.settled(transition)).superseded, true);
  });
}

test('a policy that throws is reported with what it threw, and asked again at the next change', async (t) => {
  const error = new Error('of the policy');
  let fails = true;
  const native = new AvailabilityPreservingPolicy();
  const aspiredVersionPolicy: AspiredVersionPolicy = {
    getNextAction(snapshots) {
      if (fails) throw error;
      return native.getNextAction(snapshots);
    },
  };
  const m = start(t, { aspiredVersionPolicy });
  m.manager.setAspiredVersions('m', counted(1));
  await m.aspire('other', counted(1), { aspiredVersionPolicy: 'availability-preserving' });
  assert.deepEqual([m.errors[0]?.code, m.errors[0]?.cause], ['ERR_INVALID_POLICY_ACTION', error]);
  fails = false;
  await m.aspire('m', counted(1));
  assert.equal(m.resolve('m'), 'm/1');
});

test('without onError a fault is a process warning; an onError that throws is one too', async (t) => {
  const warnings: string[] = [];
  const listen = (warning: Error) => void warnings.push(`${(warning as { code?: string }).code}: ${warning.message}`);
  process.on('warning', listen);
  t.after(() => process.off('warning', listen));
  const aspiredVersionPolicy = { getNextAction: () => 7 as never };
  const bad = { onError: undefined as never, aspiredVersionPolicy };
  const silent = start(t, bad);
  await silent.aspire('x', counted(1), { aspiredVersionPolicy: 'resource-preserving' });
  silent.manager.setAspiredVersions('m', counted(1));
  await silent.aspire('x', counted(2));
  const onError = () => {
    throw new Error('of onError');
  };
  const loud = start(t, { aspiredVersionPolicy, onError });
  loud.manager.setAspiredVersions('m', counted(1));
  await loud.aspire('x', counted(1), { aspiredVersionPolicy: 'resource-preserving' });
  assert.ok(
    warnings.some((text) => /^ERR_INVALID_POLICY_ACTION/.test(text)),
    `${warnings}`,
  );
  assert.ok(
    warnings.some((text) => /onError threw: of onError/.test(text)),
    `${warnings}`,
  );
});

test('customSortActions orders loads among loads and unloads among unloads, over all servables', async (t) => {
  const priority = (a: ServableAction, b: ServableAction) => a.id.name.localeCompare(b.id.name);
  const m = start(t, { customSortActions: priority, numLoadThreads: 1, manageStateIntervalMs: 0 });
  for (const name of ['c', 'a', 'b']) m.manager.setAspiredVersions(name, counted(1));
  await m.saw('c', 1, 'Available');
  const order = (state: string) => m.events.events.filter((e) => e.managerState === state).map(({ id }) => id.name);
  assert.deepEqual(order('Loading'), ['a', 'b', 'c']);
  for (const name of ['b', 'c', 'a']) m.manager.setAspiredVersions(name, []);
  await m.saw('c', 1, 'End');
  assert.deepEqual(order('Unloading'), ['a', 'b', 'c']);
});

test('customSortActions that throws or answers nonsense is no order, and nothing breaks', async (t) => {
  const throws = () => {
    throw new Error('of the order');
  };
  const m = start(t, { customSortActions: throws, manageStateIntervalMs: 0 });
  m.manager.setAspiredVersions('a', counted(1));
  await m.aspire('b', counted(1));
  assert.deepEqual(m.available(), ['a/1', 'b/1']);
  assert.deepEqual(
    [m.errors[0]?.code, /of the order/.test(m.errors[0]?.message ?? '')],
    ['ERR_INVALID_POLICY_ACTION', true],
  );
  for (const answer of ['first', Number.NaN, undefined, {}]) {
    const other = start(t, { customSortActions: () => answer as never, manageStateIntervalMs: 0 });
    other.manager.setAspiredVersions('a', counted(1));
    await other.aspire('b', counted(1));
    assert.deepEqual(other.available(), ['a/1', 'b/1'], String(answer));
  }
});

test('customSortActions that throws does not break a round of very many actions', () => {
  const names = Array.from({ length: 200_000 }, (_, i) => `m${i}`);
  const performed: (readonly NativeAction[])[] = [];
  const native = {
    collectActions: (name: string): NativeAction[] => [['load', name, 1]],
    performActions: (actions: readonly NativeAction[]) => void performed.push(actions),
  } as unknown as NativeManager;
  const errors: AspiredError[] = [];
  const throws = () => {
    throw new Error('of the order');
  };
  new Decisions(
    () => native,
    undefined,
    throws,
    (error) => errors.push(error),
  ).decide(names);
  assert.deepEqual([performed.length, performed[0]?.length, errors.length], [1, names.length, 1]);
});

test('a policy may use the manager it decides for', async (t) => {
  const native = new AvailabilityPreservingPolicy();
  const extra = new CountingLoader(1);
  let asked = false;
  const m: TestManager = start(t, {
    aspiredVersionPolicy: {
      getNextAction(snapshots: readonly AspiredServableStateSnapshot[]) {
        m.manager.getServableStates('m');
        if (!asked) {
          asked = true;
          m.manager.setAspiredVersions('extra', one(1, extra));
        }
        return native.getNextAction(snapshots);
      },
    },
  });
  await m.aspire('m', counted(1));
  await m.saw('extra', 1, 'Available');
  assert.equal(extra.loads, 1);
});
