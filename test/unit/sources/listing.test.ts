// Which names are versions, which of them are offered, and what is said of the rest.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileSystemSource, type ServablePollResult, type ServableVersionPolicy } from 'aspired';
import { parseVersionName } from '#lib/sources/version-names.js';
import { addVersion, coded, tempDir } from './support.js';

test('names are versions by the rules of TensorFlow Serving', () => {
  const version = (name: string) => {
    const parsed = parseVersionName(name);
    return parsed.kind === 'version' ? parsed.version : parsed.kind;
  };
  for (const name of ['7', '007', '+7', ' 7', '7 ']) assert.equal(version(name), 7, name);
  assert.equal(version('0'), 0);
  assert.equal(version('9007199254740991'), Number.MAX_SAFE_INTEGER);
  for (const name of ['-5', '-0', '9007199254740992', '99999999999999999999'])
    assert.equal(version(name), 'out-of-range', name);
  for (const name of ['1.0', 'v1', '1e3', '0x10', '12abc', '', ' ', '1_000', '+', '1 2', '٣']) {
    assert.equal(version(name), 'other', name);
  }
});

/** What a source finds without a connection. */
async function look(basePath: string, versionPolicy?: ServableVersionPolicy): Promise<ServablePollResult> {
  const source = new FileSystemSource({ servables: [{ name: 'm', basePath, versionPolicy }], stabilityWindowMs: 0 });
  const [result] = await source.poll();
  assert.ok(result);
  assert.equal(result.pushed, false);
  return result;
}

const versionsOf = (result: ServablePollResult) => result.versions.map(({ version }) => version);

test('each policy has its order: latest descending, all by name, specific as asked', async (t) => {
  const base = tempDir(t);
  for (const version of [9, 10, 100, 8]) addVersion(base, version);
  assert.deepEqual(versionsOf(await look(base, { latest: 3 })), [100, 10, 9]);
  assert.deepEqual(versionsOf(await look(base, { all: true })), [10, 100, 8, 9]);
  assert.deepEqual(versionsOf(await look(base, { specific: [9, 100, 8] })), [9, 100, 8]);
  assert.deepEqual(versionsOf(await look(base, { specific: [9, 100, 77, 8] })), [8, 9, 100]);
});

test('a specific version that is not there is said, and the others are aspired', async (t) => {
  const base = tempDir(t);
  addVersion(base, 1);
  const { versions, problems } = await look(base, { specific: [1, 2] });
  assert.deepEqual(versions, [{ version: 1, path: join(base, '1') }]);
  assert.deepEqual(
    problems.map(({ path }) => path),
    [join(base, '2')],
  );
  coded('ERR_SOURCE_ERROR', 'UNAVAILABLE')(problems[0]?.error);
  assert.deepEqual(problems[0]?.error.servable, { name: 'm', version: 2 });
});

test('a file where a version directory should be is no version, and is said with a code', async (t) => {
  const base = tempDir(t);
  addVersion(base, 1);
  writeFileSync(join(base, '2'), 'not a directory');
  for (const policy of [{ latest: 1 }, { all: true }, { specific: [1, 2] }] as const) {
    const { versions, problems } = await look(base, policy);
    assert.deepEqual(versions, [{ version: 1, path: join(base, '1') }], 'what is served is not disturbed');
    assert.deepEqual(
      problems.map(({ path }) => path),
      [join(base, '2')],
    );
    coded('ERR_SOURCE_ERROR')(problems[0]?.error);
    assert.match(problems[0]?.error.message ?? '', /no directory/);
  }
});

test('a link to a directory is a version, one that leads nowhere is a problem', async (t) => {
  const base = tempDir(t);
  const elsewhere = addVersion(tempDir(t), 'release');
  symlinkSync(elsewhere, join(base, '1'));
  symlinkSync(join(base, 'nowhere'), join(base, '2'));
  symlinkSync(join(base, '3'), join(base, '3'));
  const { versions, problems } = await look(base, { all: true });
  assert.deepEqual(versions, [{ version: 1, path: join(base, '1') }]);
  assert.deepEqual(problems.map(({ error }) => (error.cause as NodeJS.ErrnoException).code).sort(), [
    'ELOOP',
    'ENOENT',
  ]);
});

test('numbers that no version can have are ignored and said', async (t) => {
  const base = tempDir(t);
  for (const name of ['1', '-5', '99999999999999999999', 'notes']) addVersion(base, name);
  const { versions, problems } = await look(base, { all: true });
  assert.deepEqual(versions, [{ version: 1, path: join(base, '1') }]);
  assert.deepEqual(
    problems.map(({ error }) => error.code),
    ['ERR_INVALID_VERSION', 'ERR_INVALID_VERSION'],
  );
});

test('of several names of one number the last one counts, the others are said', async (t) => {
  const base = tempDir(t);
  for (const name of ['7', '007', '07']) addVersion(base, name);
  for (const policy of [{ latest: 3 }, { all: true }, { specific: [7] }] as const) {
    const { versions, problems } = await look(base, policy);
    assert.deepEqual(versions, [{ version: 7, path: join(base, '7') }]);
    assert.deepEqual(
      problems.map(({ error }) => error.code),
      ['ERR_DUPLICATE_VERSION', 'ERR_DUPLICATE_VERSION'],
    );
  }
});

test('an empty directory is a version: only its loader knows what must be in it', async (t) => {
  const base = tempDir(t);
  mkdirSync(join(base, '1'));
  assert.deepEqual(versionsOf(await look(base)), [1]);
});

test('a base path that is missing, is a file, or cannot be listed has a code of its own', async (t) => {
  const base = tempDir(t);
  writeFileSync(join(base, 'file'), '');
  symlinkSync(join(base, 'loop'), join(base, 'loop'));
  coded('ERR_BASE_PATH_NOT_FOUND', 'NOT_FOUND')((await look(join(base, 'missing'))).error);
  coded('ERR_BASE_PATH_NOT_FOUND', 'NOT_FOUND')((await look(join(base, 'file'))).error);
  coded('ERR_BASE_PATH_UNREADABLE', 'PERMISSION_DENIED')((await look(join(base, 'loop'))).error);
  coded('ERR_BASE_PATH_UNREADABLE', 'PERMISSION_DENIED')((await look(join(base, 'x'.repeat(300)))).error);
});
