// TensorFlow Serving's cases for its AspiredVersionsManager, by the ids of the behaviour specification, section 10.1.
//
// There one step takes one action, chosen over all servables; a list waits until what it names again is gone. Here one
// round takes every action that the policies allow, unloads before loads, and a list is taken at once: where a case
// counts steps or waits for a flush, it says below what it says here. AVM-10 is about types of C++ handles: none here.
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { type AspiredServableStateSnapshot, AspiredVersionsManager, AvailabilityPreservingPolicy } from 'aspired';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { coded, TestManager, type TestManagerOptions, THREAD_SHAPES } from '../support/manager.js';

interface Variant {
  readonly numLoadThreads: number;
  readonly numUnloadThreads: number;
  readonly enableReloadServablesWithError: boolean;
  /** 0: the test turns the crank. */
  readonly manageStateIntervalMs: number;
}

const variants: Variant[] = THREAD_SHAPES.flatMap(([numLoadThreads, numUnloadThreads]) =>
  [
    { enableReloadServablesWithError: false, manageStateIntervalMs: 0 },
    { enableReloadServablesWithError: true, manageStateIntervalMs: 0 },
    { enableReloadServablesWithError: true, manageStateIntervalMs: 100 },
  ].map((rest) => ({ numLoadThreads, numUnloadThreads, ...rest })),
);

const title = (v: Variant): string =>
  `threads {${v.numLoadThreads},${v.numUnloadThreads}}, error-reload ${v.enableReloadServablesWithError ? 'on' : 'off'}, ` +
  (v.manageStateIntervalMs === 0 ? 'by steps' : 'on its thread');

class Fixture extends TestManager {
  readonly loaders = new Map<string, CountingLoader>();

  constructor(t: TestContext, variant: Variant, options: TestManagerOptions = {}) {
    super(t, { maxNumLoadRetries: 1, loadRetryIntervalMs: 0, ...variant, ...options });
  }

  /** Aspires to versions 0 and 1 of A and B; all four are Available. */
  async ready(): Promise<this> {
    for (const name of ['A', 'B']) await this.aspire(name, this.make(name, 0, 1));
    assert.deepEqual(this.available(), ['A/0', 'A/1', 'B/0', 'B/1']);
    return this;
  }

  make(name: string, ...versions: number[]) {
    const list = versions.map((version) => ({ version, loader: new CountingLoader(version) }));
    for (const { version, loader } of list) this.loaders.set(`${name}/${version}`, loader);
    return list;
  }

  unloadsOf(key: string): number | undefined {
    return this.loaders.get(key)?.unloads;
  }

  /** 'harness state, manager state' of a managed version. */
  stateOf(name: string, version: number): string | undefined {
    const row = this.manager.getServableStates(name).find(({ id }) => id.version === version);
    return row && `${row.state}, ${row.managerState}`;
  }
}

for (const variant of variants) {
  const by = title(variant);
  const fixture = (t: TestContext, options?: TestManagerOptions) => new Fixture(t, variant, options).ready();

  suite(by, () => {
    test(`AVM-01 Latest of an unknown name is not found; ${by}`, async (t) => {
      const f = await fixture(t);
      assert.throws(() => f.manager.getServableHandle('T'), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
    });

    test(`AVM-02 an unknown version is not found, and nothing else is given for it; ${by}`, async (t) => {
      const f = await fixture(t);
      const request = { name: 'A', version: 100 };
      assert.throws(() => f.manager.getServableHandle(request), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
    });

    test(`AVM-04 Latest moves to the newly aspired version; ${by}`, async (t) => {
      const f = await fixture(t);
      await f.aspire('A', f.make('A', 3));
      assert.equal(f.resolve('A'), 'A/3');
      assert.deepEqual(f.available(), ['A/3', 'B/0', 'B/1']);
      // The lowest one goes before the new one is there, the last one only after it.
      assert.ok(f.events.indexOf('A', 0, 'Unloading') < f.events.indexOf('A', 3, 'Available'));
      assert.ok(f.events.indexOf('A', 3, 'Available') < f.events.indexOf('A', 1, 'Unloading'));
    });

    test(`AVM-05 zero is a version; ${by}`, async (t) => {
      const f = await fixture(t);
      await f.aspire('C', f.make('C', 0));
      using handle = f.manager.getServableHandle('C');
      assert.deepEqual({ ...handle.id }, { name: 'C', version: 0 });
      assert.equal(handle.servable, 0);
    });

    test(`AVM-06 a version that came as an error can be aspired again, if error-reload is on; ${by}`, async (t) => {
      const f = await fixture(t);
      await f.aspire('D', f.make('D', 1));
      const failed = await f.aspire('D', [{ version: 2, error: new Error('not prepared') }]);
      assert.deepEqual(
        failed.versions.map(({ managerState, error }) => [managerState, error?.code]),
        [['End', 'ERR_SOURCE_ERROR']],
      );
      assert.equal(f.resolve({ name: 'D', version: 2 }), 'ERR_SERVABLE_NOT_FOUND');
      assert.equal(f.resolve('D'), 'D/1', 'the last good one stays');
      const { versions } = await f.aspire('D', f.make('D', 2));
      const reload = variant.enableReloadServablesWithError;
      assert.equal(versions[0]?.managerState, reload ? 'Available' : 'End');
      assert.equal(f.resolve({ name: 'D', version: 2 }), reload ? 'D/2' : 'ERR_SERVABLE_NOT_FOUND');
      assert.equal(f.resolve('D'), reload ? 'D/2' : 'D/1');
    });

    test(`AVM-07 a version by its id; ${by}`, async (t) => {
      const f = await fixture(t);
      using handle = f.manager.getServableHandle<number>({ name: 'B', version: 0 });
      assert.equal(handle.servable, 0);
      assert.deepEqual({ ...handle.id }, { name: 'B', version: 0 });
    });

    test(`AVM-08 AVM-09 handles of all that is available, before and after a servable is dropped; ${by}`, async (t) => {
      const f = await fixture(t);
      const all = () => {
        const handles = f.manager.getAvailableServableHandles<number>();
        const values = [...handles].map(([key, handle]) => [key, handle.servable]);
        for (const handle of handles.values()) handle.release();
        return values.sort();
      };
      assert.deepEqual(all(), [
        ['A/0', 0],
        ['A/1', 1],
        ['B/0', 0],
        ['B/1', 1],
      ]);
      await f.aspire('A', []);
      assert.deepEqual(all(), [
        ['B/0', 0],
        ['B/1', 1],
      ]);
    });

    test(`AVM-11 an empty list unloads everything, also after a handle was taken and released; ${by}`, async (t) => {
      const f = await fixture(t);
      f.manager.getServableHandle('A').release();
      await f.aspire('A', []);
      assert.deepEqual(
        ['A/0', 'A/1', 'B/0', 'B/1'].map((key) => f.unloadsOf(key)),
        [1, 1, 0, 0],
      );
      assert.equal(f.resolve('A'), 'ERR_SERVABLE_NOT_FOUND');
      assert.ok(f.events.indexOf('A', 0, 'Unloading') < f.events.indexOf('A', 1, 'Unloading'), 'lowest first');
    });

    test(`AVM-12 a version that stays in the list stays, with its own loader; ${by}`, async (t) => {
      const f = await fixture(t);
      const unused = new CountingLoader(0);
      await f.aspire('A', one(0, unused));
      assert.equal(f.resolve({ name: 'A', version: 0 }), 'A/0');
      assert.equal(f.resolve({ name: 'A', version: 1 }), 'ERR_SERVABLE_NOT_FOUND');
      assert.deepEqual([unused.loads, unused.unloads, f.unloadsOf('A/0'), f.unloadsOf('A/1')], [0, 0, 0, 1]);
    });

    test(`AVM-13 down to a lower version number works as up to a higher one; ${by}`, async (t) => {
      const f = await fixture(t);
      await f.aspire('A', f.make('A', 7));
      await f.aspire('A', f.make('A', 3));
      assert.equal(f.resolve('A'), 'A/3');
      assert.ok(f.events.indexOf('A', 3, 'Available') < f.events.indexOf('A', 7, 'Unloading'));
    });

    test(`AVM-14 a version is found when it is Available, not when it is aspired; ${by}`, async (t) => {
      const f = await fixture(t);
      assert.equal(f.resolve({ name: 'A', version: 2 }), 'ERR_SERVABLE_NOT_FOUND');
      const loader = new ManualLoader();
      const transition = f.manager.setAspiredVersions('A', one(2, loader));
      assert.equal(f.resolve({ name: 'A', version: 2 }), 'ERR_SERVABLE_NOT_FOUND');
      (await f.until(loader.loading(), 'the load of A/2')).succeed(2);
      await f.settled(transition);
      using handle = f.manager.getServableHandle<number>({ name: 'A', version: 2 });
      assert.equal(handle.servable, 2);
    });

    test(`AVM-15 a dropped version is not found, although it was held before; ${by}`, async (t) => {
      const f = await fixture(t);
      f.manager.getServableHandle({ name: 'A', version: 0 }).release();
      await f.aspire('A', []);
      assert.deepEqual([f.events.statesOf('A', 0).at(-1), f.events.statesOf('A', 1).at(-1)], ['End', 'End']);
      assert.equal(f.resolve({ name: 'A', version: 0 }), 'ERR_SERVABLE_NOT_FOUND');
    });

    // There the load takes a second step; here both are done in one round, the unload first.
    test(`AVM-16 unloads go before loads, over all servables; ${by}`, async (t) => {
      const f = await fixture(t);
      const transitions = [
        f.manager.setAspiredVersions('A', f.make('A', 1)),
        f.manager.setAspiredVersions('B', f.make('B', 0, 1, 2)),
      ];
      for (const transition of transitions) await f.settled(transition);
      assert.equal(f.resolve({ name: 'A', version: 0 }), 'ERR_SERVABLE_NOT_FOUND');
      assert.equal(f.resolve({ name: 'B', version: 2 }), 'B/2');
      assert.ok(f.events.indexOf('A', 0, 'Unloading') < f.events.indexOf('B', 2, 'Loading'));
    });

    // There the order can put a load before an unload. Here an unload is never behind a load: the order is among loads.
    test(`AVM-17 a custom order is an order among loads and among unloads; ${by}`, async (t) => {
      const customSortActions = (a: { id: { name: string } }, b: { id: { name: string } }) =>
        Number(b.id.name === 'B') - Number(a.id.name === 'B');
      const f = await fixture(t, { customSortActions });
      f.manager.setAspiredVersions('A', f.make('A', 1, 2));
      f.manager.setAspiredVersions('B', f.make('B', 0, 1, 2));
      await f.saw('A', 2, 'Available');
      await f.saw('B', 2, 'Available');
      await f.saw('A', 0, 'End');
      assert.equal(f.resolve({ name: 'A', version: 0 }), 'ERR_SERVABLE_NOT_FOUND');
      if (!f.steps) return; // With a thread the lists may come to different rounds.
      assert.ok(f.events.indexOf('A', 0, 'Unloading') < f.events.indexOf('B', 2, 'Loading'), 'the unload first');
      assert.ok(f.events.indexOf('B', 2, 'Loading') < f.events.indexOf('A', 2, 'Loading'), 'B before A');
    });

    test(`AVM-19 a reader who releases a handle does not run the unload; ${by}`, async (t) => {
      const f = await fixture(t);
      const handle = f.manager.getServableHandle('A');
      assert.deepEqual({ ...handle.id }, { name: 'A', version: 1 });
      const transition = f.manager.setAspiredVersions('A', []);
      await f.saw('A', 0, 'End');
      assert.equal(f.unloadsOf('A/1'), 0, 'held');
      handle.release();
      assert.equal(f.unloadsOf('A/1'), 0, 'not inside release()');
      await f.settled(transition);
      assert.equal(f.unloadsOf('A/1'), 1);
    });

    test(`AVM-20 a version that comes as an error ends with that error; ${by}`, async (t) => {
      const f = await fixture(t);
      const error = new Error('not prepared');
      f.manager.setAspiredVersions('A', [...counted(0, 1), { version: 3, error }]);
      const end = await f.saw('A', 3, 'End');
      assert.equal(end.error?.code, 'ERR_SOURCE_ERROR');
      assert.equal(end.error?.cause, error);
      assert.deepEqual(f.events.statesOf('A', 3), ['End'], 'no Start');
      assert.equal(f.stateOf('A', 3), 'Error, End');
      assert.deepEqual(f.available(), ['A/0', 'A/1', 'B/0', 'B/1']);
    });

    test(`AVM-21 a load that fails: Start, then End with the error of the loader; ${by}`, async (t) => {
      const f = await fixture(t);
      const loader = new FailingLoader(7);
      const transition = f.manager.setAspiredVersions('A', one(7, loader));
      if (f.steps) assert.equal(f.stateOf('A', 7), 'New, Start');
      const { versions } = await f.settled(transition);
      assert.deepEqual(f.events.statesOf('A', 7), ['Start', 'Loading', 'End']);
      const end = await f.saw('A', 7, 'End');
      assert.deepEqual([end.error?.code, end.error?.cause], ['ERR_LOAD_FAILED', loader.error]);
      assert.equal(versions[0]?.error, end.error);
    });

    test(`AVM-22 the states of a version, step by step; ${by}`, async (t) => {
      const f = await fixture(t);
      const loader = new ManualLoader({ manualUnload: true });
      f.manager.setAspiredVersions('A', one(7, loader));
      if (f.steps) assert.equal(f.stateOf('A', 7), 'New, Start');
      const attempt = await f.until(loader.loading(), 'the load');
      assert.equal(f.stateOf('A', 7), 'Loading, Loading');
      attempt.succeed(7);
      await f.saw('A', 7, 'Available');
      assert.equal(f.stateOf('A', 7), 'Ready, Available');
      const transition = f.manager.setAspiredVersions('A', []);
      const unload = await f.until(loader.unloading(), 'the unload');
      assert.equal(f.stateOf('A', 7), 'Unloading, Unloading');
      unload.succeed();
      await f.settled(transition);
      assert.deepEqual(f.events.statesOf('A', 7), ['Start', 'Loading', 'Available', 'Unloading', 'End']);
      assert.equal((await f.saw('A', 7, 'End')).error, undefined);
    });

    test(`AVM-24 a retry that succeeds makes the version Available; ${by}`, async (t) => {
      const f = await fixture(t);
      const loader = new FailingLoader(7, new Error('first'), 1);
      const { versions } = await f.aspire('A', one(7, loader));
      assert.equal(versions[0]?.managerState, 'Available');
      assert.deepEqual([loader.attempts, loader.loads], [2, 1]);
      assert.deepEqual(f.events.statesOf('A', 7).slice(0, 3), ['Start', 'Loading', 'Available'], 'one incarnation');
    });

    test(`AVM-25 retries that are used up end the version with the error of the loader; ${by}`, async (t) => {
      const f = await fixture(t);
      const loader = new FailingLoader(7);
      const { versions } = await f.aspire('A', one(7, loader));
      assert.deepEqual([versions[0]?.managerState, versions[0]?.error?.cause], ['End', loader.error]);
      assert.equal(loader.attempts, 2, 'one attempt and one retry');
      assert.equal(loader.unloads, 0, 'what did not load is not unloaded');
    });

    test(`AVM-26 the last good version stays until a new one is good; ${by}`, async (t) => {
      const f = await fixture(t);
      await f.aspire('A', one(7, new FailingLoader(7)));
      assert.deepEqual(f.available(), ['A/1', 'B/0', 'B/1']);
      assert.equal(f.resolve('A'), 'A/1');
      await f.aspire('A', f.make('A', 8));
      assert.deepEqual(f.available(), ['A/8', 'B/0', 'B/1']);
      assert.ok(f.events.indexOf('A', 8, 'Available') < f.events.indexOf('A', 1, 'Unloading'));
    });

    // There the pinned version must be unloaded and loaded again by the second loader. Here it becomes aspired again.
    test(`AVM-27 a pinned version that was dropped and is aspired again is neither unloaded nor loaded; ${by}`, async (t) => {
      const f = await fixture(t);
      const [first, second] = [new CountingLoader(7), new CountingLoader(7)];
      await f.aspire('A', one(7, first));
      using handle = f.manager.getServableHandle({ name: 'A', version: 7 });
      f.manager.setAspiredVersions('A', []);
      await f.saw('A', 7, 'Unloading');
      await f.aspire('A', one(7, second));
      assert.equal(f.resolve({ name: 'A', version: 7 }), 'A/7');
      handle.release();
      await f.aspire('B', []); // a round later
      assert.deepEqual([first.loads, first.unloads, second.loads], [1, 0, 0]);
      assert.equal(f.resolve('A'), 'A/7');
    });

    test(`AVM-28 a failed version that was dropped and is aspired again is loaded by the new loader; ${by}`, async (t) => {
      const f = await fixture(t);
      const [first, second] = [new FailingLoader(7), new CountingLoader(7)];
      await f.aspire('A', one(7, first));
      f.manager.setAspiredVersions('A', []);
      const { versions } = await f.aspire('A', one(7, second));
      assert.equal(versions[0]?.managerState, 'Available');
      assert.deepEqual([first.attempts, second.loads], [2, 1]);
    });

    test(`AVM-29 a version dropped before its load and aspired again is loaded by the new loader; ${by}`, async (t) => {
      const f = await fixture(t);
      // What keeps the load from starting: nobody turns the crank, or a policy that never loads.
      const never = { getNextAction: () => undefined };
      const [first, second] = [new CountingLoader(7), new CountingLoader(7)];
      const dropped = f.manager.setAspiredVersions('C', one(7, first), { aspiredVersionPolicy: never });
      f.manager.setAspiredVersions('C', []);
      const aspiredVersionPolicy = 'availability-preserving';
      await f.aspire('C', one(7, second), { aspiredVersionPolicy });
      assert.deepEqual([first.loads, second.loads], [0, 1]);
      const { versions, superseded } = await f.settled(dropped);
      assert.equal(superseded, true);
      assert.equal(versions[0]?.managerState, 'End');
      assert.equal(versions[0]?.error?.code, 'ERR_LOAD_CANCELLED');
    });

    test(`AVM-30 the policy sees every managed version; ${by}`, async (t) => {
      const native = new AvailabilityPreservingPolicy();
      const seen: AspiredServableStateSnapshot[][] = [];
      const aspiredVersionPolicy = {
        getNextAction(snapshots: readonly AspiredServableStateSnapshot[]) {
          seen.push([...snapshots]);
          return native.getNextAction(snapshots);
        },
      };
      const f = new Fixture(t, variant, { aspiredVersionPolicy });
      await f.aspire('A', f.make('A', 0, 1));
      assert.deepEqual(seen[0], [
        { id: { name: 'A', version: 0 }, state: 'New', isAspired: true },
        { id: { name: 'A', version: 1 }, state: 'New', isAspired: true },
      ]);
      assert.ok(seen.every((snapshots) => snapshots.length === 2));
    });
  });
}

// The steps themselves, where nobody else turns the crank.
test('AVM-04 by counted steps: nothing happens before the step; a round takes every action the policy allows', async (t) => {
  const f = await new Fixture(t, { ...variants[0], manageStateIntervalMs: 0 } as Variant).ready();
  f.manager.setAspiredVersions('A', f.make('A', 3));
  assert.deepEqual(f.available(), ['A/0', 'A/1', 'B/0', 'B/1']);
  f.manager.step();
  assert.deepEqual(f.available(), ['A/1', 'A/3', 'B/0', 'B/1'], 'the lowest unloaded and 3 loaded in one round');
  f.manager.step();
  assert.deepEqual(f.available(), ['A/3', 'B/0', 'B/1'], '1 goes when 3 is there');
});

test('AVM-30 by counted steps: without a step no policy is asked', async () => {
  let asked = 0;
  const aspiredVersionPolicy = { getNextAction: () => void asked++ };
  await using manager = new AspiredVersionsManager({ manageStateIntervalMs: 0, aspiredVersionPolicy });
  manager.setAspiredVersions('A', counted(0, 1));
  assert.equal(asked, 0);
  manager.step();
  assert.equal(asked, 1, 'one stream, no action: asked once');
});
