// Bad options: refused before anything happens, with the code and the name of the option.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AspiredError,
  DynamicSourceRouter,
  FileSystemSource,
  type FileSystemSourceOptions,
  SourceRouter,
  StaticSource,
  StaticSourceRouter,
} from 'aspired';
import { coded, loaderOf, loaderTarget } from './support.js';

const servable = { name: 'm', basePath: '/models/m' };
const policy = (versionPolicy: unknown) => ({ servables: [{ ...servable, versionPolicy }] });

const bad: readonly [string, unknown, string, RegExp][] = [
  ['no options', undefined, 'ERR_INVALID_ARGUMENT', /FileSystemSource/],
  ['a typo', { servables: [], polIntervalMs: 5 }, 'ERR_UNKNOWN_OPTION', /pollIntervalMs/],
  ['no servables', {}, 'ERR_INVALID_ARGUMENT', /servables/],
  ['an empty name', { servables: [{ ...servable, name: '' }] }, 'ERR_INVALID_NAME', /name/],
  ['a name twice', { servables: [servable, servable] }, 'ERR_INVALID_ARGUMENT', /twice/],
  ['no base path', { servables: [{ name: 'm' }] }, 'ERR_INVALID_ARGUMENT', /basePath/],
  [
    'a base path with a zero byte',
    { servables: [{ name: 'm', basePath: 'a\0b' }] },
    'ERR_INVALID_ARGUMENT',
    /basePath/,
  ],
  ['a typo in a servable', { servables: [{ ...servable, basepath: '' }] }, 'ERR_UNKNOWN_OPTION', /basePath/],
  ['latest 0', policy({ latest: 0 }), 'ERR_INVALID_ARGUMENT', /latest/],
  ['all false', policy({ all: false }), 'ERR_INVALID_ARGUMENT', /all/],
  ['two policies', policy({ latest: 1, all: true }), 'ERR_INVALID_ARGUMENT', /one of/],
  ['specific without a list', policy({ specific: 3 }), 'ERR_INVALID_ARGUMENT', /specific/],
  ['a negative version', policy({ specific: [-1] }), 'ERR_INVALID_VERSION', /specific\[0\]/],
  ['a fractional version', policy({ specific: [1.5] }), 'ERR_INVALID_VERSION', /specific\[0\]/],
  ['an unsafe version', policy({ specific: [2 ** 53] }), 'ERR_INVALID_VERSION', /specific\[0\]/],
  ['a version twice', policy({ specific: [1, 2, 1] }), 'ERR_DUPLICATE_VERSION', /twice/],
  ['a negative interval', { servables: [], pollIntervalMs: -1 }, 'ERR_INVALID_ARGUMENT', /pollIntervalMs/],
  [
    'an interval no timer can have',
    { servables: [], pollIntervalMs: 2 ** 31 },
    'ERR_INVALID_ARGUMENT',
    /pollIntervalMs/,
  ],
  ['a marker in a folder', { servables: [], completionMarker: 'a/b' }, 'ERR_INVALID_ARGUMENT', /completionMarker/],
  ['an empty marker', { servables: [], completionMarker: '' }, 'ERR_INVALID_ARGUMENT', /completionMarker/],
  ['no scans at all', { servables: [], maxConcurrentScans: 0 }, 'ERR_INVALID_ARGUMENT', /maxConcurrentScans/],
  ['a flag that is none', { servables: [], watch: 'yes' }, 'ERR_INVALID_ARGUMENT', /watch/],
  ['a callback that is none', { servables: [], onError: 'log' }, 'ERR_INVALID_ARGUMENT', /onError/],
  ['a clock that is none', { servables: [], clock: {} }, 'ERR_INVALID_ARGUMENT', /clock/],
];

for (const [what, options, code, message] of bad) {
  test(`FileSystemSource refuses ${what}`, () => {
    assert.throws(
      () => new FileSystemSource(options as FileSystemSourceOptions),
      (error: AspiredError) => {
        assert.match(error.message, message);
        return coded(code, 'INVALID_ARGUMENT')(error);
      },
    );
  });
}

test('connect, poll and updateConfig refuse bad arguments', async () => {
  const source = new FileSystemSource({ servables: [servable] });
  assert.throws(() => source.connect({} as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => source.connect(loaderTarget(), 'factory' as never), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(source.poll({ forced: true } as never), coded('ERR_UNKNOWN_OPTION'));
  await assert.rejects(source.poll({ signal: 'now' } as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => source.updateConfig(undefined as never), coded('ERR_INVALID_ARGUMENT'));
});

test('StaticSource refuses bad versions', () => {
  assert.throws(() => new StaticSource('m' as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new StaticSource([{ name: '', version: 1 }]), coded('ERR_INVALID_NAME'));
  assert.throws(() => new StaticSource([{ name: 'm', version: -1 }]), coded('ERR_INVALID_VERSION'));
  assert.throws(() => new StaticSource([{ name: 'm', version: 1, path: 7 as never }]), coded('ERR_INVALID_ARGUMENT'));
  const one = { name: 'm', version: 1 };
  assert.throws(() => new StaticSource([one, one]), coded('ERR_DUPLICATE_VERSION'));
  assert.throws(() => new StaticSource([one]).connect({} as never, () => loaderOf('')), coded('ERR_INVALID_ARGUMENT'));
});

test('routers refuse bad ports, patterns, routes and answers', () => {
  assert.throws(() => new SourceRouter(0, () => 0), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new SourceRouter(undefined as never, () => 0), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new SourceRouter(1, undefined as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new StaticSourceRouter(['']), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new DynamicSourceRouter(1, { m: 0 }), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new DynamicSourceRouter(2, { '': 0 }), coded('ERR_INVALID_NAME'));
  assert.throws(() => new DynamicSourceRouter(2, [] as never), coded('ERR_INVALID_ARGUMENT'));
  const router = new SourceRouter<unknown>(2, () => 2);
  assert.throws(() => router.connect(2, loaderTarget()), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => router.connect(0, {} as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => router.setAspiredVersions('m', []), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => router.setAspiredVersions('', []), coded('ERR_INVALID_NAME'));
});
