// GPUs of a manager, by ordinal and UUID, over the fake driver that the C++ tests build.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Footprint } from 'aspired';

const FAKES = resolve('build-tests/fake_cuda');
const A = 'GPU-aaaaaaaa-0000-0000-0000-000000000001';
const B = 'GPU-bbbbbbbb-0000-0000-0000-000000000002';
const GiB = 2 ** 30;
const skip = existsSync(join(FAKES, 'driver/libcuda.so.1'))
  ? false
  : 'the fake driver is not built (npm test builds it)';

/** What a program prints that has `open(resources)` and `attempt(() => ...)`: A is cuda:0 with 8 GiB, B cuda:1 with 4. */
function run(program: string): unknown {
  const paths = {
    cudaPath: join(FAKES, 'driver', 'libcuda.so.1'),
    nvmlPath: join(FAKES, 'driver', 'libnvidia-ml.so.1'),
  };
  const gpus = [A, B].map((uuid, i) => `gpu ${uuid.slice(4)} ${(i === 0 ? 8 : 4) * GiB} ${i * GiB}`).join(';');
  const whole = `
    process.env.ASPIRED_FAKE_DRIVER = ${JSON.stringify(gpus)};
    const { AspiredVersionsManager } = await import('#lib/index.js');
    const open = (resources, more) => new AspiredVersionsManager(
      { resources: { ...${JSON.stringify(paths)}, ...resources }, maxNumLoadRetries: 0, slowRetryIntervalMs: 1e6, ...more });
    const attempt = (f) => { try { return f(); } catch ({ code, message }) { return { code, message }; } };
    const gpusOf = (m) => m.resources().devices.slice(1).map(({ device, uuid, limit }) => [device, uuid, limit]);
    console.log(JSON.stringify(await (async () => { ${program} })()));
    process.exit();`;
  const { CUDA_VISIBLE_DEVICES: _, ...env } = process.env;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', whole], {
    encoding: 'utf8',
    env,
    timeout: 30_000,
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

test("'auto' accounts every GPU, whole", { skip }, () => {
  assert.deepEqual(run(`return gpusOf(open({ cuda: 'auto' }));`), [
    ['cuda:0', A, 8 * GiB],
    ['cuda:1', B, 4 * GiB],
  ]);
});

test('limits by ordinal and by UUID, as amounts and as fractions; only what is named is accounted', { skip }, () => {
  const seen = run(`
    return [
      [{ device: 1 }],
      [{ device: ${JSON.stringify(B)}, limit: '1GiB' }, { device: 0, limit: { fraction: 0.25 } }],
    ].map((cuda) => gpusOf(open({ cuda })));`);
  assert.deepEqual(seen, [
    [['cuda:1', B, 4 * GiB]],
    [
      ['cuda:1', B, GiB],
      ['cuda:0', A, 2 * GiB],
    ],
  ]);
});

test('limits change by ordinal and by UUID; the others stay', { skip }, () => {
  const seen = run(`
    const m = open({ cuda: 'auto' });
    m.setResourceLimits({ cuda: [{ device: 1, limit: '3GiB' }] });
    const first = gpusOf(m).map(([, , limit]) => limit);
    m.setResourceLimits({ cuda: [{ device: ${JSON.stringify(A)}, limit: { fraction: 0.5 } }, { device: 1 }] });
    return [first, gpusOf(m).map(([, , limit]) => limit)];`);
  assert.deepEqual(seen, [
    [8 * GiB, 3 * GiB],
    [4 * GiB, 4 * GiB],
  ]);
});

test('bad GPUs are refused, and what was stays', { skip }, () => {
  const seen = run(`
    const m = open({ cuda: [{ device: 1, limit: '2GiB' }] });
    const answers = [
      () => open({ cuda: [{ device: 2 }] }),
      () => open({ cuda: [{ device: 0 }, { device: ${JSON.stringify(A)} }] }),
      () => open({ cuda: [{ device: 0, limit: null }] }),
      () => open({ cuda: [{ device: 0, limit: { fraction: 3 } }] }),
      () => m.setResourceLimits({ cuda: [{ device: 1, limit: '1GiB' }, { device: 0 }] }),
      () => m.setResourceLimits({ cuda: [{ device: 1, limit: '1GiB' }, { device: 1, limit: '3GiB' }] }),
      () => m.setResourceLimits({ cuda: [{ device: 1, limit: '5X' }] }),
    ].map(attempt);
    return [...answers, gpusOf(m)];`) as { code: string; message: string }[];
  const expected: [string, RegExp][] = [
    [
      'ERR_DEVICE_NOT_FOUND',
      /^resources\.cuda\[0\]\.device is 2 \(number\), which was not found\. There is 0 \(GPU-a.*, 1 \(GPU-b/,
    ],
    [
      'ERR_INVALID_ARGUMENT',
      /^Expected devices that are named once for option resources\.cuda\[1\]\.device, but received "GPU-a/,
    ],
    ['ERR_INVALID_ARGUMENT', /for option resources\.cuda\[0\]\.limit, but received null/],
    ['ERR_INVALID_ARGUMENT', /for option resources\.cuda\[0\]\.limit\.fraction, but received 3/],
    [
      'ERR_DEVICE_NOT_FOUND',
      /^limits\.cuda\[1\]\.device is 0 \(number\), which this manager does not account\. It accounts 1 \(GPU-b/,
    ],
    [
      'ERR_INVALID_ARGUMENT',
      /^Expected devices that are named once for option limits\.cuda\[1\]\.device, but received 1/,
    ],
    ['ERR_INVALID_ARGUMENT', /for option limits\.cuda\[0\]\.limit, but received "5X"/],
  ];
  for (const [i, [code, message]] of expected.entries()) {
    assert.equal(seen[i]?.code, code, `${i}: ${JSON.stringify(seen[i])}`);
    assert.match(seen[i]?.message ?? '', message);
  }
  assert.deepEqual(seen[expected.length], [['cuda:1', B, 2 * GiB]]);
});

test('a load reserves memory of the GPU it names, or of the one with the most room', { skip }, () => {
  const seen = run(`
    const m = open({ cuda: 'auto' });
    const reserved = [];
    const load = async (name, cuda) => {
      const loader = { estimateResources: () => ({ cuda }), load: ({ reservation }) => reserved.push(reservation.cuda) };
      const { versions: [{ error }] } = await m.setAspiredVersions(name, [{ version: 1, loader }]).settled;
      return error && [error.code, error.status];
    };
    return [
      await load('any', '2GiB'),
      await load('one', [{ device: 1, memory: '1GiB' }]),
      await load('uuid', [{ device: ${JSON.stringify(B)}, memory: 1 }, { device: 0, memory: 2 }]),
      await load('much', '9GiB'),
      await load('none', [{ device: 5, memory: 1 }]),
      reserved.map((gpus) => gpus.map(({ ordinal, memory }) => [ordinal, memory])),
      m.resources().devices.slice(1).map((device) => device.reserved),
    ];`);
  assert.deepEqual(seen, [
    null,
    null,
    null,
    ['ERR_RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED'],
    ['ERR_DEVICE_NOT_FOUND', 'NOT_FOUND'],
    [
      [[0, 2 * GiB]],
      [[1, GiB]],
      [
        [1, 1],
        [0, 2],
      ],
    ],
    [2 * GiB + 2, GiB + 1],
  ]);
});

/**
 * A loader's memory of a GPU: the file by which several processes share the fake driver, see fake_driver.cc, has a row
 * (pid, device, bytes) for each that uses one. `take(bytes)` writes that of this process.
 */
const GPU_MEMORY = `
  const { mkdtempSync, openSync, writeSync, rmSync } = await import('node:fs');
  const folder = mkdtempSync((await import('node:os')).tmpdir() + '/aspired-gpu-');
  process.on('exit', () => rmSync(folder, { recursive: true }));
  process.env.ASPIRED_FAKE_SHARED = folder + '/use';
  const table = openSync(process.env.ASPIRED_FAKE_SHARED, 'w+');
  writeSync(table, Buffer.alloc(64 * 16));
  let taken = 0;
  const take = (bytes) => {
    const row = Buffer.alloc(16);
    row.writeUInt32LE(process.pid, 0);
    row.writeBigInt64LE(BigInt(taken += bytes), 8);
    writeSync(table, row, 0, row.length, 0);
  };
  const MiB = 2 ** 20;
  const reserved = [];
  /** Says that it takes 1 GiB of cuda:0, and takes what it is told. */
  const loads = async (m, name, version, bytes) => {
    const loader = {
      estimateResources: () => ({ cuda: [{ device: 0, memory: 1024 * MiB }] }),
      load: ({ reservation: { cuda } }) => { reserved.push(cuda[0].memory / MiB); take(bytes); return {}; },
      unload: () => take(-bytes),
    };
    const counted = async () => {
      while (m.resources().devices[1].measured !== taken) await new Promise(setImmediate);
    };
    // What goes before the load was read would be taken from it.
    const [held] = m.getServableStates(name).length > 0 ? [m.getServableHandle(name)] : [];
    const { settled } = m.setAspiredVersions(name, [{ version, loader }]);
    await m.waitUntilServablesReachState([{ name, version }], 'Available');
    await counted();
    held?.release();
    const { versions: [{ error }] } = await settled;
    if (error) throw error;
    await counted();
  };
`;

test('a load that takes more of a GPU than it said raises the reservation of the next version, here and in the next process', {
  skip,
}, () => {
  const learned = { servable: 'a', device: 'cuda', estimated: GiB, measured: 1.5 * GiB };
  const [reserved, footprints] = run(`${GPU_MEMORY}
    const m = open({ cuda: 'auto' });
    await loads(m, 'a', 1, 1024 * MiB);
    await loads(m, 'b', 1, 1024 * MiB);
    // Beside the version that it replaces.
    await loads(m, 'a', 2, 1536 * MiB);
    await loads(m, 'a', 3, 1024 * MiB);
    await loads(m, 'b', 2, 1024 * MiB);
    return [reserved, m.exportFootprints().footprints];`) as [number[], Footprint[]];
  assert.deepEqual(reserved, [1024, 1024, 1024, 1536, 1024]);
  const ofA = footprints.filter(({ servable }) => servable === 'a');
  // The driver does not list this process before it has taken something: the first load teaches nothing.
  assert.deepEqual(ofA, [learned, { ...learned, measured: GiB }]);

  const next = run(`${GPU_MEMORY}
    const m = open({ cuda: 'auto' }, { footprints: ${JSON.stringify({ version: 1, footprints })} });
    await loads(m, 'a', 4, 1024 * MiB);
    await loads(m, 'b', 4, 1024 * MiB);
    return reserved;`);
  assert.deepEqual(next, [1536, 1024]);
});

test('after clearFootprints() the next load is given what its loader says of a GPU', { skip }, () => {
  const learned = ['a', 'b'].map((servable) => ({ servable, device: 'cuda', estimated: GiB, measured: 1.5 * GiB }));
  const reserved = run(`${GPU_MEMORY}
    const m = open({ cuda: 'auto' }, { footprints: ${JSON.stringify({ version: 1, footprints: learned })} });
    m.clearFootprints('a');
    for (const name of ['a', 'b']) await loads(m, name, 1, 1024 * MiB);
    return reserved;`);
  assert.deepEqual(reserved, [1024, 1536]);
});
