// The built-in policies as pure functions: what they never do, and where following them leads.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type AspiredServableStateSnapshot,
  type AspiredVersionPolicy,
  AvailabilityPreservingPolicy,
  type HarnessState,
  ResourcePreservingPolicy,
  type ServableAction,
} from 'aspired';
import fc from 'fast-check';
import { runs } from './support/operations.js';

const STATES = [
  'New',
  'LoadRequested',
  'LoadApproved',
  'Loading',
  'Ready',
  'UnloadRequested',
  'Quiescing',
  'Quiesced',
  'Unloading',
  'Disabled',
  'Error',
] as const satisfies readonly HarnessState[];

const snapshotsIn = (states: readonly HarnessState[]): fc.Arbitrary<AspiredServableStateSnapshot[]> =>
  fc.uniqueArray(
    fc
      .record({ version: fc.nat(9), state: fc.constantFrom(...states), isAspired: fc.boolean() })
      .map(({ version, state, isAspired }) => ({ id: { name: 's', version }, state, isAspired })),
    { maxLength: 6, selector: ({ id }) => id.version },
  );
const snapshots = snapshotsIn(STATES);

const policies = {
  'availability-preserving': new AvailabilityPreservingPolicy(),
  'resource-preserving': new ResourcePreservingPolicy(),
} as const;

const shuffled = fc.tuple(snapshots, fc.infiniteStream(fc.nat())).map(([list, keys]) => {
  const order = list.map((snapshot) => ({ snapshot, key: keys.next().value ?? 0 }));
  return { list, other: order.sort((a, b) => a.key - b.key).map(({ snapshot }) => snapshot) };
});

for (const [name, policy] of Object.entries(policies)) {
  test(`${name}: an action is one that the state of its version allows, and is useful`, () => {
    const property = fc.property(snapshots, (list) => {
      const action = policy.getNextAction(list);
      if (!action) return;
      const target = list.find(({ id }) => id.version === action.id.version);
      assert.ok(target, 'the version is managed');
      assert.equal(target.state, action.action === 'load' ? 'New' : 'Ready');
      assert.equal(target.isAspired, action.action === 'load');
    });
    fc.assert(property, runs(1000));
  });

  test(`${name}: the highest aspired New version is loaded first`, () => {
    const property = fc.property(snapshots, (list) => {
      const action = policy.getNextAction(list);
      if (action?.action !== 'load') return;
      const versions = list.filter(({ state, isAspired }) => isAspired && state === 'New').map(({ id }) => id.version);
      assert.equal(action.id.version, Math.max(...versions));
    });
    fc.assert(property, runs(1000));
  });
}

test('availability-preserving: the order of the snapshots makes no difference', () => {
  const policy = policies['availability-preserving'];
  const property = fc.property(shuffled, ({ list, other }) => {
    assert.deepEqual(policy.getNextAction(other), policy.getNextAction(list));
  });
  fc.assert(property, runs(1000));
});

test('resource-preserving: the order decides at most which dropped version is unloaded first', () => {
  const policy = policies['resource-preserving'];
  const property = fc.property(shuffled, ({ list, other }) => {
    const [a, b] = [policy.getNextAction(list), policy.getNextAction(other)];
    assert.equal(a?.action, b?.action);
    if (a?.action === 'load') assert.deepEqual(a, b);
  });
  fc.assert(property, runs(1000));
});

test('availability-preserving: the last Ready version is never unloaded while anything is aspired', () => {
  const property = fc.property(snapshots, (list) => {
    const action = policies['availability-preserving'].getNextAction(list);
    if (action?.action !== 'unload' || !list.some(({ isAspired }) => isAspired)) return;
    const ready = list.filter(({ id, state }) => state === 'Ready' && id.version !== action.id.version);
    assert.ok(ready.length > 0, 'another version is Ready');
  });
  fc.assert(property, runs(1000));
});

test('resource-preserving: nothing is loaded while a dropped version holds resources', () => {
  const property = fc.property(snapshots, (list) => {
    const action = policies['resource-preserving'].getNextAction(list);
    if (action?.action !== 'load') return;
    const busy = list.filter(({ state, isAspired }) => !isAspired && state !== 'Disabled' && state !== 'Error');
    assert.deepEqual(busy, []);
  });
  fc.assert(property, runs(1000));
});

// ------------------------------------------------------------------ simulation

interface Outcome {
  readonly ready: number[];
  readonly residents: number;
}

/** Does what the policy says, one action after the other, until it says nothing more. */
function follow(policy: AspiredVersionPolicy, start: AspiredServableStateSnapshot[], fails: Set<number>): Outcome {
  let list = start;
  let residents = 0;
  for (let step = 0; step < 100; step++) {
    const action = policy.getNextAction(list);
    residents = Math.max(residents, list.filter(({ state }) => state === 'Ready').length);
    if (!action) return { ready: readyOf(list), residents };
    const served = readyOf(list).length > 0;
    list = apply(list, action, fails);
    const wanted = list.some(({ isAspired }) => isAspired);
    if (policy === policies['availability-preserving'] && served && wanted) {
      assert.ok(readyOf(list).length > 0, 'something is served after each action');
    }
  }
  assert.fail('the policy did not come to an end');
}

function apply(
  list: AspiredServableStateSnapshot[],
  { action, id }: ServableAction,
  fails: Set<number>,
): AspiredServableStateSnapshot[] {
  const loaded: HarnessState = fails.has(id.version) ? 'Error' : 'Ready';
  const state: HarnessState = action === 'load' ? loaded : 'Disabled';
  return list.map((snapshot) => (snapshot.id.version === id.version ? { ...snapshot, state } : snapshot));
}

const readyOf = (list: readonly AspiredServableStateSnapshot[]): number[] =>
  list.filter(({ state }) => state === 'Ready').map(({ id }) => id.version);

for (const [name, policy] of Object.entries(policies)) {
  test(`${name}: following it leads to what is aspired, but for versions that fail`, () => {
    const resting = snapshotsIn(['New', 'Ready', 'Disabled', 'Error']).map((list) =>
      // A version that is not aspired is never New: it was forgotten.
      list.map((snapshot) =>
        snapshot.isAspired || snapshot.state !== 'New' ? snapshot : { ...snapshot, state: 'Ready' as const },
      ),
    );
    const property = fc.property(resting, fc.uniqueArray(fc.nat(9)), (list, failing) => {
      const fails = new Set(failing);
      const { ready } = follow(policy, list, fails);
      const aspired = list.filter(({ isAspired }) => isAspired);
      const good = aspired.filter(({ id, state }) => state === 'Ready' || (state === 'New' && !fails.has(id.version)));
      const dropped = list
        .filter(({ isAspired, state }) => !isAspired && state === 'Ready')
        .map(({ id }) => id.version);
      const keeps = policy === policies['availability-preserving'] && aspired.length > 0 && good.length === 0;
      const expected = keeps && dropped.length > 0 ? [Math.max(...dropped)] : good.map(({ id }) => id.version);
      assert.deepEqual(ready.sort(), expected.sort());
    });
    fc.assert(property, runs(1000));
  });
}
