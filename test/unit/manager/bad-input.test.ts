// Bad input: each has a defined result and a coded error, and what was served before stays served.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Loader } from 'aspired';
import { deadline, turns } from '../../support/deadline.js';
import { CountingLoader, counted, ManualLoader, one, PendingCall } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

/** A manager that serves m/1; the check that it still does, by the same loader, undisturbed. */
async function serving(t: TestContext, options = {}) {
  const m = new TestManager(t, { maxNumLoadRetries: 0, loadRetryIntervalMs: 0, ...options });
  const loader = new CountingLoader(1);
  await m.aspire('m', one(1, loader));
  const undisturbed = () => {
    assert.equal(m.resolve('m'), 'm/1');
    assert.deepEqual([loader.loads, loader.unloads], [1, 0]);
    assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available']);
  };
  return { m, manager: m.manager, undisturbed };
}

const show = (value: unknown) => (typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value)));

const versions: [string, unknown][] = [
  ['negative', -1],
  ['fractional', 1.5],
  ['unsafe', 2 ** 53],
  ['NaN', Number.NaN],
  ['infinite', Number.POSITIVE_INFINITY],
  ['a string', '2'],
  ['null', null],
  ['missing', undefined],
  ['a bigint', 2n],
];
for (const [what, version] of versions) {
  test(`a version that is ${what} refuses the whole list`, async (t) => {
    const { manager, undisturbed } = await serving(t);
    const list = [...counted(3), { version, loader: new CountingLoader(2) }] as never;
    assert.throws(
      () => manager.setAspiredVersions('m', list),
      (error: Error) => {
        assert.match(error.message, /^Expected a safe integer >= 0 for option versions\[1\]\.version, but received /);
        return coded('ERR_INVALID_VERSION', 'INVALID_ARGUMENT')(error);
      },
    );
    undisturbed();
    assert.deepEqual(manager.getServableStates('m').length, 1);
  });
}

test('the largest safe version is a version, and -0 is 0', async (t) => {
  const { m, undisturbed } = await serving(t);
  await m.aspire('big', counted(Number.MAX_SAFE_INTEGER, -0));
  assert.deepEqual(
    [m.resolve('big'), m.resolve({ name: 'big', version: 0 })],
    [`big/${Number.MAX_SAFE_INTEGER}`, 'big/0'],
  );
  undisturbed();
});

test('a version twice in one list refuses the whole list', async (t) => {
  const { manager, undisturbed } = await serving(t);
  const list = [...counted(1, 2), { version: 2, error: new Error('also as an error') }];
  assert.throws(() => manager.setAspiredVersions('m', list), coded('ERR_DUPLICATE_VERSION', 'INVALID_ARGUMENT'));
  undisturbed();
});

for (const name of ['', 7, null, undefined, {}, ['m'], Symbol('m')]) {
  test(`the name ${typeof name === 'symbol' ? 'Symbol' : show(name)} is refused`, async (t) => {
    const { manager, undisturbed } = await serving(t);
    const refused = coded('ERR_INVALID_NAME', 'INVALID_ARGUMENT');
    assert.throws(() => manager.setAspiredVersions(name as never, counted(1)), refused);
    assert.throws(() => manager.setVersionLabels(name as never, {}), refused);
    assert.throws(() => manager.getServableStates(name as never), refused);
    assert.throws(() => manager.getServableHandle(name as never), refused);
    undisturbed();
  });
}

test('any other string is a name', async (t) => {
  const { m, undisturbed } = await serving(t);
  for (const name of [' ', 'a/b', '__proto__', 'constructor', 'ünïcödé 🎉', 'x'.repeat(10_000), 'a\u0000b', '\ud800']) {
    await m.aspire(name, counted(1));
    using handle = m.manager.getServableHandle(name);
    assert.equal(handle.id.name, name);
  }
  undisturbed();
});

const loaders: [string, unknown, string][] = [
  ['without load()', {}, 'ERR_INVALID_LOADER'],
  ['whose load is no function', { load: 'model.onnx' }, 'ERR_INVALID_LOADER'],
  ['that is a function', () => 1, 'ERR_INVALID_LOADER'],
  ['that is null', null, 'ERR_INVALID_LOADER'],
  ['that is missing', undefined, 'ERR_INVALID_LOADER'],
  ['whose unload is no function', { load: () => 1, unload: true }, 'ERR_INVALID_LOADER'],
  ['whose warmup is no function', { load: () => 1, warmup: {} }, 'ERR_INVALID_LOADER'],
  ['whose estimateResources is no function', { load: () => 1, estimateResources: 500 }, 'ERR_INVALID_LOADER'],
];
for (const [what, loader, code] of loaders) {
  test(`a loader ${what} refuses the whole list`, async (t) => {
    const { manager, undisturbed } = await serving(t);
    const list = [...counted(3), { version: 2, loader }] as never;
    assert.throws(
      () => manager.setAspiredVersions('m', list),
      (error: Error) => {
        assert.match(error.message, /versions\[1\]\.loader/);
        return coded(code, 'INVALID_ARGUMENT')(error);
      },
    );
    undisturbed();
    assert.equal(manager.getServableStates('m').length, 1);
  });
}

test('a list that is no list, an element that is no element, a loader and an error in one', async (t) => {
  const { manager, undisturbed } = await serving(t);
  const set = (list: unknown) => () => manager.setAspiredVersions('m', list as never);
  for (const list of [undefined, null, {}, 'none', 7, new Set()])
    assert.throws(set(list), coded('ERR_INVALID_ARGUMENT'));
  for (const element of [null, 7, 'two', []])
    assert.throws(set([element]), coded('ERR_INVALID_ARGUMENT'), show(element));
  assert.throws(
    set([{ version: 2, loader: new CountingLoader(2), error: new Error('e') }]),
    /a loader or an error, not both/,
  );
  assert.throws(set([{ verison: 2, loader: new CountingLoader(2) }]), /Did you mean version/);
  undisturbed();
});

const causes: [string, unknown][] = [
  ['an Error', new Error('no weights')],
  ['a string', 'no weights'],
  ['undefined', undefined],
  ['null', null],
  ['an object without a prototype', Object.create(null)],
];
for (const [what, thrown] of causes) {
  for (const [how, load] of [
    [
      'throws',
      () => {
        throw thrown;
      },
    ],
    ['rejects with', () => Promise.reject(thrown)],
  ] as [string, () => never][]) {
    test(`a loader that ${how} ${what} has failed`, async (t) => {
      const { m, undisturbed } = await serving(t);
      const {
        versions: [version],
      } = await m.aspire('m', [...counted(1), ...one(2, { load })].reverse());
      assert.deepEqual([version?.version, version?.managerState], [2, 'End']);
      assert.deepEqual([version?.error?.code, version?.error?.status], ['ERR_LOAD_FAILED', 'UNKNOWN']);
      assert.equal(version?.error?.cause, thrown);
      assert.deepEqual({ ...version?.error?.servable }, { name: 'm', version: 2 });
      undisturbed();
    });
  }
}

for (const [how, load] of [
  ['returns undefined', () => undefined],
  ['resolves with undefined', async () => undefined],
] as const) {
  test(`a loader that ${how} has failed`, async (t) => {
    const { m, undisturbed } = await serving(t);
    const { versions } = await m.aspire('m', [...counted(1), ...one(2, { load })]);
    assert.equal(versions[1]?.error?.code, 'ERR_LOAD_FAILED');
    assert.match(String(versions[1]?.error?.cause), /undefined instead of a servable/);
    undisturbed();
  });
}

test('a loader that never settles delays nothing else, and ends within cancelGraceMs when it is dropped', async (t) => {
  const { m, undisturbed } = await serving(t, { numLoadThreads: 1, cancelGraceMs: 10 });
  const loader: Loader<number> = { load: () => new Promise(() => {}) };
  const hanging = m.manager.setAspiredVersions('m', [...counted(1), ...one(2, loader)]);
  await m.saw('m', 2, 'Loading');
  await m.aspire('m', counted(1));
  assert.equal((await m.settled(hanging)).versions[1]?.error?.code, 'ERR_LOAD_CANCELLED');
  await m.aspire('other', counted(1)); // its slot is free again
  undisturbed();
});

test('a loader that never settles is reported as abandoned by close()', async (t) => {
  const { m, undisturbed } = await serving(t, { cancelGraceMs: 600_000, abandons: true });
  // 'Loading' may be seen before load() is called, and what was not called is not abandoned.
  const called = new Promise<void>((resolve) => {
    const load = (): Promise<number> => {
      resolve();
      return new Promise(() => {});
    };
    m.manager.setAspiredVersions('hanging', one(1, { load }));
  });
  await m.until(called, 'the load');
  undisturbed();
  const { abandoned } = await deadline(m.manager.close({ drainTimeoutMs: 20 }), 'close()');
  assert.ok(
    abandoned.some(({ name, version }) => name === 'hanging' && version === 1),
    JSON.stringify(abandoned),
  );
});

/** A thenable that calls back as it likes. */
const thenable = (then: (resolve: (value: unknown) => void, reject: (error: unknown) => void) => void) =>
  ({ then }) as unknown as Promise<number>;

/** Settles in each of these ways, one after the other; a number resolves, an Error rejects. */
const settling = (...outcomes: (number | Error)[]) =>
  thenable((resolve, reject) => {
    for (const outcome of outcomes) typeof outcome === 'number' ? resolve(outcome) : reject(outcome);
  });

const settlings: [string, Promise<number>, string][] = [
  ['resolves twice with one servable', settling(2, 2), 'Available'],
  ['resolves twice with two', settling(2, 3), 'Available'],
  ['resolves, then rejects', settling(2, new Error('late')), 'Available'],
  ['rejects, then resolves', settling(new Error('no'), 2), 'End'],
  [
    'resolves, then throws',
    thenable((resolve) => {
      resolve(2);
      throw new Error('late');
    }),
    'Available',
  ],
  [
    'throws',
    thenable(() => {
      throw new Error('no');
    }),
    'End',
  ],
];
for (const [what, promise, state] of settlings) {
  test(`a loader whose thenable ${what} counts once`, async (t) => {
    const { m, undisturbed } = await serving(t);
    const loader = new CountingLoader(2);
    const list = [...counted(1), ...one(2, { load: () => promise, unload: loader.unload.bind(loader) })];
    loader.loads = 1;
    const { versions } = await m.aspire('m', list);
    await turns();
    assert.equal(versions[1]?.managerState, state);
    assert.equal(loader.unloads, 0);
    if (state === 'Available') {
      assert.equal(
        m.manager.withServableSync('m', (servable) => servable),
        2,
      );
      await m.aspire('m', counted(1));
      assert.equal(loader.unloads, 1);
    }
    undisturbed();
  });
}

test('a getter of a loader or a servable that throws is a failed load at most', async (t) => {
  const { m, undisturbed } = await serving(t);
  const trap = {};
  Object.defineProperty(trap, 'then', {
    get() {
      throw new Error('of the getter');
    },
  });
  const { versions } = await m.aspire('m', [...counted(1), ...one(2, { load: () => trap })]);
  assert.equal(versions[1]?.error?.code, 'ERR_LOAD_FAILED');
  const evil = {
    get load(): never {
      throw new Error('of load');
    },
  };
  assert.throws(() => m.manager.setAspiredVersions('m', one(3, evil as never)), /of load/);
  undisturbed();
});

for (const [how, unload] of [
  [
    'throws',
    () => {
      throw new Error('of unload');
    },
  ],
  ['rejects', () => Promise.reject(new Error('of unload'))],
] as const) {
  test(`an unload that ${how}: the version is gone all the same, and its End says so`, async (t) => {
    const { m, undisturbed } = await serving(t);
    await m.aspire('m', [...counted(1), ...one(2, { load: () => 2, unload })]);
    await m.aspire('m', counted(1));
    const end = await m.saw('m', 2, 'End');
    assert.deepEqual(
      [end.error?.code, (end.error?.cause as Error | undefined)?.message],
      ['ERR_UNLOAD_FAILED', 'of unload'],
    );
    assert.deepEqual(m.available(), ['m/1']);
    assert.equal((await m.aspire('m', counted(1, 2))).versions[1]?.managerState, 'Available', 'it can come back');
    await m.aspire('m', counted(1));
    undisturbed();
  });
}

test('an unload that hangs holds its own version and nothing else', async (t) => {
  const { m, undisturbed } = await serving(t, { numUnloadThreads: 2 });
  const loader = new ManualLoader({ manualUnload: true });
  const aspiring = m.manager.setAspiredVersions('m', [...counted(1), ...one(2, loader)]);
  (await loader.loading()).succeed(2);
  await m.settled(aspiring);
  const dropping = m.manager.setAspiredVersions('m', counted(1));
  const unload = await loader.unloading();
  await m.aspire('other', counted(1));
  await m.aspire('other', []);
  undisturbed();
  unload.succeed();
  await m.settled(dropping);
});

test('an unload whose thenable settles twice counts once', async (t) => {
  const { m, undisturbed } = await serving(t);
  let unloads = 0;
  const unload = () => {
    unloads++;
    return settling(1, 1, new Error('late')) as never;
  };
  await m.aspire('m', [...counted(1), ...one(2, { load: () => 2, unload })]);
  await m.aspire('m', counted(1));
  assert.deepEqual([unloads, (await m.saw('m', 2, 'End')).error], [1, undefined]);
  undisturbed();
});

test('release() twice does not take the lease of another reader', async (t) => {
  const { m, manager, undisturbed } = await serving(t);
  await m.aspire('n', counted(1));
  const [first, second] = [manager.getServableHandle('n'), manager.getServableHandle<number>('n')];
  first.release();
  first.release();
  const dropping = manager.setAspiredVersions('n', []);
  await m.saw('n', 1, 'Unloading');
  await turns();
  assert.deepEqual([second.servable, manager.getServableStates('n')[0]?.leases], [1, 1]);
  second.release();
  await m.settled(dropping);
  second.release();
  undisturbed();
});

test('the caller may change the list and the labels after the call', async (t) => {
  const { m, undisturbed } = await serving(t);
  const gate = new PendingCall<number>();
  const list = [{ version: 2, loader: { load: () => gate.promise } as Loader<number> }];
  const labels: Record<string, number> = { canary: 2 };
  const transition = m.manager.setAspiredVersions('n', list, { labels });
  list.length = 0;
  labels.canary = 7;
  gate.succeed(2);
  assert.equal((await m.settled(transition)).versions.length, 1);
  assert.equal(m.resolve({ name: 'n', label: 'canary' }), 'n/2');
  undisturbed();
});
