// Footprints: what is refused, and that what was exported can be imported again.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredVersionsManager, type Footprint, type Footprints, type Loader } from 'aspired';
import { eventually } from '../../support/deadline.js';
import { coded, TestManager } from '../../support/manager.js';

const MiB = 2 ** 20;
const good: Footprint = { servable: 'm', device: 'ram', estimated: MiB, measured: 64 * MiB };
const file = (...footprints: unknown[]) => ({ version: 1, footprints });

const bad: [string, unknown, string, RegExp][] = [
  ['null', null, 'ERR_INVALID_ARGUMENT', /^Expected an object for option footprints, but received null/],
  ['an array', [good], 'ERR_INVALID_ARGUMENT', /^Expected an object for option footprints, but received \[array\]/],
  [
    'text',
    JSON.stringify(file(good)),
    'ERR_INVALID_ARGUMENT',
    /^Expected an object for option footprints, but received "/,
  ],
  [
    'of another version',
    { version: 2, footprints: [] },
    'ERR_INVALID_ARGUMENT',
    /^Expected 1 for option footprints\.version, but received 2/,
  ],
  [
    'without a version',
    { footprints: [] },
    'ERR_INVALID_ARGUMENT',
    /for option footprints\.version, but received undefined/,
  ],
  [
    'without a list',
    { version: 1 },
    'ERR_INVALID_ARGUMENT',
    /^Expected an array for option footprints\.footprints, but received undefined/,
  ],
  ['with another key', { ...file(), of: 'host' }, 'ERR_UNKNOWN_OPTION', /^Unknown option of in footprints\./],
  [
    'with null in its list',
    file(good, null),
    'ERR_INVALID_ARGUMENT',
    /for option footprints\.footprints\[1\], but received null/,
  ],
  [
    'without a name',
    file({ ...good, servable: '' }),
    'ERR_INVALID_ARGUMENT',
    /footprints\[0\]\.servable, but received ""/,
  ],
  [
    'of another device',
    file({ ...good, device: 'main' }),
    'ERR_INVALID_ARGUMENT',
    /^Expected 'ram' or 'cuda' for option .*\[0\]\.device/,
  ],
  ['with a typo', file({ ...good, mesured: 1 }), 'ERR_UNKNOWN_OPTION', /footprints\[0\]\. Did you mean measured/],
  ...(['estimated', 'measured'] as const).flatMap((key) =>
    [-1, 0.5, '1MiB', Number.NaN, undefined, null, 2 ** 53].map((value): [string, unknown, string, RegExp] => [
      `with ${key} ${value}`,
      file({ ...good, [key]: value }),
      'ERR_INVALID_ARGUMENT',
      new RegExp(`^Expected an integer >= 0 for option footprints\\.footprints\\[0\\]\\.${key}, but received `),
    ]),
  ),
];
for (const [what, footprints, code, message] of bad) {
  test(`a file of footprints ${what} is refused`, () => {
    assert.throws(
      () => new AspiredVersionsManager({ footprints } as object),
      (error: Error) => {
        assert.match(error.message, message);
        return coded(code)(error);
      },
    );
  });
}

test('what was exported is imported, through JSON, as it was', async (t) => {
  const footprints: Footprints = {
    version: 1,
    footprints: [
      good,
      { ...good, measured: 80 * MiB },
      { servable: 'n', device: 'cuda', estimated: 0, measured: 9 * MiB },
    ],
  };
  const first = new TestManager(t, { footprints }).manager.exportFootprints();
  assert.deepEqual(first, footprints);
  const again: Footprints = JSON.parse(JSON.stringify(first));
  assert.deepEqual(new TestManager(t, { footprints: again }).manager.exportFootprints(), footprints);
  assert.deepEqual(new TestManager(t).manager.exportFootprints(), { version: 1, footprints: [] });
});

test('a footprint raises the reservation of its servable, and of no other', async (t) => {
  const footprints: Footprints = { version: 1, footprints: [good] };
  const m = new TestManager(t, { footprints, resources: { ram: '1GiB' } });
  const reserved: Record<string, number | undefined> = {};
  const loader = {
    estimateResources: () => ({ ram: '2MiB' }),
    load: ({ id, reservation }: { id: { name: string }; reservation?: { ram: number } | undefined }) => {
      reserved[id.name] = reservation?.ram;
      return 1;
    },
  };
  for (const name of ['m', 'n']) await m.aspire(name, [{ version: 1, loader }]);
  assert.equal(reserved.n, 2 * MiB);
  assert.ok((reserved.m ?? 0) >= 64 * MiB, `${reserved.m}`);
});

test('a footprint stands in where a loader gives no estimate', async (t) => {
  const footprints: Footprints = { version: 1, footprints: [{ ...good, estimated: 0 }] };
  const m = new TestManager(t, { footprints, resources: { ram: '1GiB' } });
  const reserved: (number | undefined)[] = [];
  await m.aspire('m', [{ version: 1, loader: { load: ({ reservation }) => reserved.push(reservation?.ram) } }]);
  assert.deepEqual(reserved, [64 * MiB]);
});

/** Experience asks for 64 times what the loader says, which is more than there ever was. */
const tooMuch = (t: TestContext) =>
  new TestManager(t, { footprints: { version: 1, footprints: [good] }, resources: { ram: '40MiB' } });
const small = () => {
  const reserved: (number | undefined)[] = [];
  const load: Loader['load'] = ({ reservation }) => reserved.push(reservation?.ram);
  return { reserved, estimateResources: () => ({ ram: '1MiB' }), load };
};

test('a footprint beyond all there is refuses nothing: the version gets what there is when it is alone', async (t) => {
  const m = tooMuch(t);
  const loader = small();
  await m.aspire('m', [{ version: 1, loader }]);
  assert.deepEqual(loader.reserved, [40 * MiB]);
  const ram = m.manager.resources().devices[0];
  assert.ok((ram?.reserved ?? 0) < 20 * MiB, `${ram?.reserved} stay reserved of what it did not take`);
});

test('clearFootprints() lets a version in that waits because of them', async (t) => {
  const m = tooMuch(t);
  await m.aspire('n', [{ version: 1, loader: small() }]);
  const loader = small();
  const transition = m.manager.setAspiredVersions('m', [{ version: 1, loader }]);
  const why = /what earlier versions were measured to take raised the estimate/;
  await m.until(
    eventually(() => why.test(m.manager.getServableStates('m')[0]?.waiting ?? ''), 'm to wait'),
    'm to wait',
  );
  assert.throws(() => m.manager.clearFootprints(''), coded('ERR_INVALID_NAME'));
  m.manager.clearFootprints('n');
  assert.deepEqual(m.manager.exportFootprints().footprints, [good]);
  m.manager.clearFootprints('m');
  assert.deepEqual(m.manager.exportFootprints().footprints, []);
  await m.until(transition.settled, 'm to load');
  assert.deepEqual(loader.reserved, [MiB]);
});

test('clearFootprints() without a name forgets all', (t) => {
  const footprints = [good, { ...good, servable: 'n' }];
  const { manager } = new TestManager(t, { footprints: { version: 1, footprints } });
  manager.clearFootprints();
  assert.deepEqual(manager.exportFootprints(), { version: 1, footprints: [] });
});

for (const [whose, name] of [
  ['of one servable', 'm'],
  ['of all', undefined],
] as const) {
  test(`after clearFootprints() ${whose} the next load is given what its loader says, or nothing`, async (t) => {
    const names = ['m', 'other', 'silent'];
    const footprints: Footprint[] = names.flatMap((servable): Footprint[] => [
      { ...good, servable, device: 'cuda' },
      { ...good, servable },
    ]);
    const m = new TestManager(t, { footprints: { version: 1, footprints }, resources: { ram: '1GiB' } });
    const load = async (servable: string): Promise<number | undefined> => {
      const { reserved, ...loader } = small();
      const { estimateResources: _, ...silent } = loader;
      await m.aspire(servable, [{ version: 1, loader: servable === 'silent' ? silent : loader }]);
      return reserved[0];
    };
    m.manager.clearFootprints(name);
    const raised = name === undefined ? [] : footprints.filter(({ servable }) => servable !== name);
    assert.deepEqual(m.manager.exportFootprints().footprints, raised);
    assert.equal(await load('m'), MiB);
    assert.equal(await load('other'), name === undefined ? MiB : 64 * MiB);
    assert.equal(await load('silent'), name === undefined ? undefined : 64 * MiB);
  });
}
