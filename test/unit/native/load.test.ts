import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { candidates, describeFailure, nativeTarget, prebuildName } from '#lib/native/load.js';

const linux = { platform: 'linux', arch: 'x64', libc: 'glibc' } as const;

describe('the loader of the native binary', () => {
  test('this process has a target that its own platform agrees with', () => {
    const target = nativeTarget();
    assert.equal(target.platform, process.platform);
    assert.equal(target.arch, process.arch);
    assert.equal(target.libc === undefined, process.platform !== 'linux');
  });

  test('a glibc and a musl binary never have the same name', () => {
    assert.equal(prebuildName(linux), 'linux-x64.node');
    assert.equal(prebuildName({ ...linux, libc: 'musl' }), 'linux-musl-x64.node');
    assert.equal(prebuildName({ platform: 'darwin', arch: 'arm64', libc: undefined }), 'darwin-arm64.node');
  });

  test('a source build is tried before a prebuilt binary, which would hide local changes', () => {
    assert.deepEqual(candidates(linux, '/pkg'), [
      join('/pkg', 'build', 'Release', 'aspired.node'),
      join('/pkg', 'prebuilds', 'linux-x64.node'),
    ]);
  });

  test('the error names platform, architecture and libc, what was tried, and what to type', () => {
    const text = describeFailure(
      { ...linux, libc: 'musl' },
      [{ path: '/pkg/x.node', problem: 'no such file' }],
      '/pkg',
    );
    assert.match(text, /linux-x64 \(musl\)/);
    assert.match(text, /\/pkg\/x\.node: no such file/);
    assert.match(text, /node .*build-from-source\.mjs/);
  });

  for (const [problem, advice] of [
    ["/lib/libc.so.6: version `GLIBC_2.38' not found", /older than the one the binary was built for/],
    ['ERR_DLOPEN_DISABLED: Cannot load native addon because loading addons is disabled.', /without --no-addons/],
    ['wrong ELF class: ELFCLASS32', /copied from another machine/],
  ] as const) {
    test(`"${problem}" gets its own advice`, () => {
      assert.match(describeFailure(linux, [{ path: '/x', problem }]), advice);
    });
  }

  test('a missing binary is a coded error at import, not a crash', () => {
    const child = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        "await import('#lib/native/load.js').then((m) => m.loadNative()).catch((e) => console.log(e.code))",
      ],
      { encoding: 'utf8', env: { ...process.env, ASPIRED_NATIVE_PATH: '/no/such/aspired.node' } },
    );
    assert.equal(child.stdout.trim(), 'ERR_NATIVE_ADDON_NOT_FOUND', child.stderr);
  });
});
