// TensorFlow Serving's cases for its file-system source, by the ids of the behaviour specification. The stability window
// is off here, as that source has none; its own tests are with the unit tests.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FileSystemSource, type FileSystemSourceOptions, type SourceItem } from 'aspired';
import { addVersion, coded, ManualClock, RecordingTarget, tempDir } from '../unit/sources/support.js';

interface Fixture {
  readonly source: FileSystemSource;
  readonly target: RecordingTarget<SourceItem<string>>;
  readonly clock: ManualClock;
}

function connected(t: TestContext, options: FileSystemSourceOptions): Fixture {
  const clock = new ManualClock();
  const source = new FileSystemSource({
    pollIntervalMs: 0,
    servableVersionsAlwaysPresent: false,
    stabilityWindowMs: 0,
    onError: () => {},
    clock,
    ...options,
  });
  const target = new RecordingTarget<SourceItem<string>>();
  const connection = source.connect(target);
  t.after(() => connection.dispose());
  return { source, target, clock };
}

/** What arrived, as [name, [[version, path], ...]]. */
function lists(target: RecordingTarget<SourceItem<string>>) {
  return target.lists.map(({ name, items }) => [name, items.map(({ version, payload }) => [version, payload])]);
}

function dirs(base: string, ...names: readonly (string | number)[]): void {
  for (const name of names) addVersion(base, name);
}

for (const exists of [true, false]) {
  test(`FS-01 a base path that ${exists ? 'holds no version gives an empty list' : 'is missing fails and gives none'}`, async (t) => {
    const basePath = join(tempDir(t), 'base');
    if (exists) mkdirSync(join(basePath, 'non_numerical'), { recursive: true });
    const { source, target } = connected(t, { servables: [{ name: 'm', basePath }] });
    const [result] = await source.poll();
    if (exists) {
      assert.equal(result?.error, undefined);
      assert.deepEqual(lists(target), [['m', []]]);
    } else {
      coded('ERR_BASE_PATH_NOT_FOUND', 'NOT_FOUND')(result?.error);
      assert.deepEqual(lists(target), []);
    }
  });
}

test('FS-02 a base path that appears later is found by the next poll', async (t) => {
  const basePath = join(tempDir(t), 'base');
  const { source, target } = connected(t, { servables: [{ name: 'm', basePath }] });
  coded('ERR_BASE_PATH_NOT_FOUND')((await source.poll())[0]?.error);
  dirs(basePath, 3);
  assert.equal((await source.poll())[0]?.error, undefined);
  assert.deepEqual(lists(target), [['m', [[3, join(basePath, '3')]]]]);
});

test('FS-03 the default policy takes the latest version and ignores other names', async (t) => {
  const basePath = tempDir(t);
  dirs(basePath, 'non_numerical', 42, 17);
  const { source, target } = connected(t, { servables: [{ name: 'm', basePath }] });
  await source.poll();
  assert.deepEqual(lists(target), [['m', [[42, join(basePath, '42')]]]]);
});

const selections: readonly [string, string, readonly string[], object | undefined, readonly [number, string][]][] = [
  [
    'FS-05',
    'latest 3 gives the three highest, descending',
    ['42', '33', '30', '21', '17'],
    { latest: 3 },
    [
      [42, '42'],
      [33, '33'],
      [30, '30'],
    ],
  ],
  [
    'FS-06',
    'specific gives the ones asked for',
    ['42', '33', '30', '21', '17'],
    { specific: [17, 30] },
    [
      [17, '17'],
      [30, '30'],
    ],
  ],
  [
    'FS-07',
    'specific finds a directory with leading zeros',
    ['42', '33', '30', '21', '00017'],
    { specific: [17, 30] },
    [
      [17, '00017'],
      [30, '30'],
    ],
  ],
  ['FS-08', 'specific without versions gives an empty list', ['42'], { specific: [] }, []],
  ['FS-09', 'no policy gives the latest', ['42', '17'], undefined, [[42, '42']]],
  ['FS-10', 'latest without a count gives one', ['42', '17'], { latest: undefined }, [[42, '42']]],
  [
    'FS-15',
    'a version may have more than 32 bits',
    ['20170111173521'],
    undefined,
    [[20170111173521, '20170111173521']],
  ],
];

for (const [id, what, names, versionPolicy, expected] of selections) {
  test(`${id} ${what}`, async (t) => {
    const basePath = tempDir(t);
    dirs(basePath, 'non_numerical', ...names);
    const { source, target } = connected(t, { servables: [{ name: 'm', basePath, versionPolicy }] });
    await source.poll();
    assert.deepEqual(lists(target), [['m', expected.map(([version, name]) => [version, join(basePath, name)])]]);
  });
}

test('FS-12 a changed set of servables un-aspires the removed one and never the ones that stay', async (t) => {
  const root = tempDir(t);
  const servable = (i: number) => ({ name: `servable_${i}`, basePath: join(root, `${i}`) });
  for (const i of [0, 1, 2]) dirs(join(root, `${i}`), i);
  const { source, target } = connected(t, { servables: [servable(0), servable(1)] });
  await source.poll();
  source.updateConfig({ servables: [servable(1), servable(2)] });
  await source.poll();
  assert.deepEqual(target.versionsOf('servable_0'), [[0], []]);
  assert.deepEqual(target.versionsOf('servable_1'), [[1]]);
  assert.deepEqual(target.versionsOf('servable_2'), [[2]]);
});

test('FS-13 a changed version policy replaces the list in one step', async (t) => {
  const basePath = tempDir(t);
  dirs(basePath, 1, '02', 3, 5, 8, 13);
  const { source, target } = connected(t, { servables: [{ name: 'm', basePath, versionPolicy: { latest: 2 } }] });
  await source.poll();
  source.updateConfig({ servables: [{ name: 'm', basePath, versionPolicy: { specific: [2, 5] } }] });
  await source.poll();
  assert.deepEqual(lists(target), [
    [
      'm',
      [
        [13, join(basePath, '13')],
        [8, join(basePath, '8')],
      ],
    ],
    [
      'm',
      [
        [2, join(basePath, '02')],
        [5, join(basePath, '5')],
      ],
    ],
  ]);
});

test('FS-14 the poll interval cannot be changed at run time, and nothing else is applied then', async (t) => {
  const basePath = tempDir(t);
  dirs(basePath, 3);
  const { source, target } = connected(t, { servables: [{ name: 'm', basePath }], pollIntervalMs: 1000 });
  await source.poll();
  const update = { servables: [], pollIntervalMs: 5000 };
  assert.throws(() => source.updateConfig(update), coded('ERR_UNKNOWN_OPTION', 'INVALID_ARGUMENT'));
  await source.poll();
  assert.deepEqual(target.versionsOf('m'), [[3]]);
});

test('FS-17 several names of one number are one version', async (t) => {
  const basePath = tempDir(t);
  dirs(basePath, '0001', '001', '00001');
  const { source, target } = connected(t, { servables: [{ name: 'm', basePath, versionPolicy: { all: true } }] });
  await source.poll();
  assert.deepEqual(lists(target), [['m', [[1, join(basePath, '001')]]]]);
});

for (const servableVersionsAlwaysPresent of [false, true]) {
  const what = servableVersionsAlwaysPresent ? 'is refused' : 'unloads all';
  test(`FS-18 an emptied base path ${what} with servableVersionsAlwaysPresent ${servableVersionsAlwaysPresent}`, async (t) => {
    const basePath = tempDir(t);
    dirs(basePath, 42);
    const { source, target } = connected(t, { servables: [{ name: 'm', basePath }], servableVersionsAlwaysPresent });
    await source.poll();
    rmSync(join(basePath, '42'), { recursive: true });
    const [result] = await source.poll();
    assert.deepEqual(target.versionsOf('m'), servableVersionsAlwaysPresent ? [[42]] : [[42], []]);
    assert.equal(result?.error?.code, servableVersionsAlwaysPresent ? 'ERR_NO_VERSIONS' : undefined);
  });
}

test('FS-19 interval 0 polls once: a version that is added later is not reported', async (t) => {
  const basePath = tempDir(t);
  dirs(basePath, 3);
  const { source, target, clock } = connected(t, { servables: [{ name: 'm', basePath }] });
  await target.received(1);
  dirs(basePath, 4);
  clock.advance(60_000);
  assert.equal(clock.timers, 0, 'nothing will ever wake it');
  assert.deepEqual(target.versionsOf('m'), [[3]]);
  assert.equal(source.status()[0]?.watching, false);
});
