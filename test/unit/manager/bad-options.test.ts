// Bad options of one servable, by setServableOptions, with a list, and of the manager: each is refused by a message that
// names the option, what was expected and what came, and nothing changes.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredVersionsManager, type ServableOptions } from 'aspired';
import { CountingLoader, counted, one } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

/** Expectation and value of the message; the option is its key. */
const bad: [keyof ServableOptions, unknown, RegExp][] = [
  ...['high', 1.5, 2 ** 31, -(2 ** 31), Number.NaN, null, 1n].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'priority',
    value,
    /^Expected an integer from -2147483647 to 2147483647 for option priority, but received /,
  ]),
  ...['free', 'WAIT', true, null, {}].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'onInsufficientMemory',
    value,
    /^Expected 'wait' or 'resource-preserving' for option onInsufficientMemory, but received /,
  ]),
  ...[true, null, 1, 'one', []].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'standby',
    value,
    /^Expected an object for option standby, but received /,
  ]),
  ...[-1, 0.5, 1001, '1', null].map((versions): [keyof ServableOptions, unknown, RegExp] => [
    'standby',
    { versions },
    /^Expected an integer from 0 to 1000 for option standby\.versions, but received /,
  ]),
  ...['soon', '30', '-1s', 0, -5, Number.NaN, null, Number.POSITIVE_INFINITY].map(
    (time): [keyof ServableOptions, unknown, RegExp] => [
      'standby',
      { for: time },
      /^Expected a duration like .*, at least 1 ms for option standby\.for, but received /,
    ],
  ),
  ['standby', { version: 1 }, /^Unknown option version in standby\. Did you mean versions\?$/],
  ...[true, null, '60s', []].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'bake',
    value,
    /^Expected an object for option bake, but received /,
  ]),
  ['bake', {}, /^Expected a duration like .* for option bake\.for, but received undefined/],
  ['bake', { for: '60s' }, /^Expected maxErrorRate or maxLatencyIncrease, or both, for option bake, but received /],
  ['bake', { for: 0, maxErrorRate: 0 }, /, at least 1 ms for option bake\.for, but received 0/],
  [
    'bake',
    { for: 1, maxErrorRate: 1.1 },
    /^Expected a number from 0 to 1 for option bake\.maxErrorRate, but received 1\.1/,
  ],
  ['bake', { for: 1, maxErrorRate: '5%' }, /for option bake\.maxErrorRate, but received "5%"/],
  ['bake', { for: 1, maxLatencyIncrease: -1 }, /for option bake\.maxLatencyIncrease, but received -1/],
  ['bake', { for: 1, maxErrorRate: 0, minRequests: 0 }, /^Expected an integer >= 1 for option bake\.minRequests, but/],
  ['bake', { for: 1, maxErrorRate: 0, compareTo: 'best' }, /^Expected 'previous' for option bake\.compareTo, but/],
  ['bake', { for: 1, maxErrorRat: 0 }, /^Unknown option maxErrorRat in bake\. Did you mean maxErrorRate\?$/],
  ...[true, null, 'strict', {}].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'validate',
    value,
    /^Expected a function for option validate, but received /,
  ]),
  ...['ignore', true, false, null].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'onContentChange',
    value,
    /^Expected 'refuse' or 'reload' for option onContentChange, but received /,
  ]),
  ...['best-effort', true, null, 7, {}].map((value): [keyof ServableOptions, unknown, RegExp] => [
    'aspiredVersionPolicy',
    value,
    /for option aspiredVersionPolicy, but received /,
  ]),
];

const code = (message: RegExp) =>
  /Unknown option/.test(message.source) ? 'ERR_UNKNOWN_OPTION' : 'ERR_INVALID_ARGUMENT';

const refused = (message: RegExp) => (error: Error) => {
  assert.match(error.message, message);
  return coded(code(message), 'INVALID_ARGUMENT')(error);
};

const show = (value: unknown) => (typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value)));

/** A manager that serves m/1 and keeps standbys; and the check that nothing has changed. */
async function serving(t: TestContext, options: TestManagerOptions = {}) {
  const m = new TestManager(t, { maxNumLoadRetries: 0, ...options });
  const loader = new CountingLoader(1);
  await m.aspire('m', one(1, loader), { standby: { versions: 1 }, labels: { stable: 1 } });
  const undisturbed = async () => {
    assert.deepEqual([m.resolve('m'), m.resolve({ name: 'm', label: 'stable' })], ['m/1', 'm/1']);
    assert.deepEqual(m.manager.getVersionLabels('m'), { labels: { stable: 1 }, primary: null });
    assert.equal(m.manager.getServableStates('m').length, 1);
    // The standby that was asked for before is still kept; labels are taken along, as they were.
    await m.aspire('m', counted(2));
    assert.deepEqual([loader.loads, loader.unloads, m.resolve('m')], [1, 0, 'm/2']);
  };
  return { m, manager: m.manager, undisturbed };
}

for (const [option, value, message] of bad) {
  test(`${option}: ${show(value)} is refused wherever it is given`, async (t) => {
    const { manager, undisturbed } = await serving(t);
    const options = { standby: false, labels: {}, [option]: value } as object;
    const { labels: _, ...servable } = options as { labels: object };
    assert.throws(() => manager.setServableOptions('m', servable), refused(message));
    assert.throws(() => manager.setAspiredVersions('m', counted(3), options), refused(message));
    if (option !== 'priority') {
      assert.throws(() => new AspiredVersionsManager({ [option]: value } as object), refused(message));
    }
    await undisturbed();
  });
}

test('options that are no options, and unknown ones', async (t) => {
  const { manager, undisturbed } = await serving(t);
  for (const options of [undefined, null, 7, 'wait', [], () => ({})]) {
    const message = /^Expected an object for option options, but received /;
    assert.throws(() => manager.setServableOptions('m', options as object), refused(message));
    if (options === undefined) continue;
    assert.throws(() => manager.setAspiredVersions('m', counted(3), options as object), refused(message));
  }
  const typo = { standbys: { versions: 0 } } as object;
  const message = /^Unknown option standbys in options\. Did you mean standby\?$/;
  assert.throws(() => manager.setServableOptions('m', typo), refused(message));
  assert.throws(() => manager.setAspiredVersions('m', counted(3), typo), refused(message));
  assert.throws(() => manager.setServableOptions('m', { labels: {} } as object), refused(/^Unknown option labels in/));
  for (const name of ['', 7, null, undefined, {}]) {
    assert.throws(() => manager.setServableOptions(name as string, {}), coded('ERR_INVALID_NAME', 'INVALID_ARGUMENT'));
  }
  await undisturbed();
});

test('options that say nothing change nothing', async (t) => {
  const { manager, undisturbed } = await serving(t);
  manager.setServableOptions('m', {});
  const nothing = {
    aspiredVersionPolicy: undefined,
    priority: undefined,
    onInsufficientMemory: undefined,
    standby: undefined,
    bake: undefined,
    validate: undefined,
    onContentChange: undefined,
  };
  manager.setServableOptions('m', nothing as object);
  await undisturbed();
});

for (const digest of ['', 7, null, {}, Symbol('x')]) {
  test(`the digest ${typeof digest === 'symbol' ? 'Symbol' : show(digest)} is refused`, async (t) => {
    const { manager, undisturbed } = await serving(t);
    const list = [...counted(3), { version: 4, loader: new CountingLoader(4), digest }] as never;
    const message = /^Expected a non-empty string for option versions\[1\]\.digest, but received /;
    assert.throws(() => manager.setAspiredVersions('m', list), refused(message));
    await undisturbed();
  });
}

test('a bake needs metrics', async (t) => {
  const bake = { for: '60s', maxErrorRate: 0 };
  const metrics = false;
  assert.throws(() => new AspiredVersionsManager({ bake, metrics }), refused(/for option metrics, but received false/));
  const { manager, undisturbed } = await serving(t, { metrics });
  const message = /for option bake, but received /;
  assert.throws(() => manager.setServableOptions('m', { bake, standby: false }), refused(message));
  assert.throws(
    () => manager.setAspiredVersions('m', counted(3), { bake, standby: false, labels: {} }),
    refused(message),
  );
  manager.setServableOptions('m', { bake: false });
  await undisturbed();
});

test('options of a servable that is not there hold for when it comes', async (t) => {
  const m = new TestManager(t);
  m.manager.setServableOptions('later', { standby: { versions: 1 }, validate: (servable) => servable !== 3 });
  await m.aspire('later', counted(1));
  await m.aspire('later', counted(2));
  assert.equal(m.manager.getServableStates('later').length, 2);
  const { versions } = await m.aspire('later', [{ version: 3, loader: { load: () => 3 } }], { validate: false });
  assert.equal(versions[0]?.managerState, 'Available');
});

test('after close() they are refused', async (t) => {
  const { manager } = await serving(t);
  await manager.close();
  assert.throws(() => manager.setServableOptions('m', {}), coded('ERR_MANAGER_CLOSED', 'FAILED_PRECONDITION'));
});
