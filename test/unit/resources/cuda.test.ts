// getCudaDevices without a driver, and over the fake driver that the C++ tests build.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { type CudaInfo, getCudaDevices } from '#lib/index.js';

const FAKES = resolve('build-tests/fake_cuda');
const A = 'aaaaaaaa-0000-0000-0000-000000000001';
const B = 'bbbbbbbb-0000-0000-0000-000000000002';
const GiB = 2 ** 30;
const none = { cudaPath: '/no/such/libcuda.so.1', nvmlPath: '/no/such/libnvidia-ml.so.1' };
const skip = existsSync(join(FAKES, 'driver/libcuda.so.1'))
  ? false
  : 'the fake driver is not built (npm test builds it)';

/** What another process sees, for the libraries read their environment once. `$pid` is its own number. */
function seenBy(
  driver: string,
  options: { variant?: string; env?: NodeJS.ProcessEnv; program?: string } = {},
): unknown {
  const { variant = 'driver', env = {} } = options;
  const paths = {
    cudaPath: join(FAKES, variant, 'libcuda.so.1'),
    nvmlPath: join(FAKES, variant, 'libnvidia-ml.so.1'),
  };
  const program =
    options.program ??
    `process.env.ASPIRED_FAKE_DRIVER = ${JSON.stringify(driver)}.replaceAll('$pid', process.pid);
    const { getCudaDevices } = await import('#lib/index.js');
    console.log(JSON.stringify(getCudaDevices(${options.env?.LD_LIBRARY_PATH ? '' : JSON.stringify(paths)})));`;
  const { CUDA_VISIBLE_DEVICES: _, ...inherited } = process.env;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { ...inherited, ...env },
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

describe('getCudaDevices', () => {
  test('no driver is a typed answer, not an error', () => {
    const info = getCudaDevices(none);
    assert.ok(!info.available);
    assert.equal(info.reason, 'no-driver');
    assert.match(info.message, /\/no\/such\/libcuda\.so\.1/);
    assert.deepEqual(info.devices, []);
  });

  test('whatever this machine has, the answer says it', () => {
    const info: CudaInfo = getCudaDevices();
    if (info.available) assert.ok(info.devices.some(({ ordinal }) => ordinal === 0));
    else assert.ok(info.message.length > 0 && info.reason.length > 0);
    for (const { uuid } of info.devices) assert.match(uuid, /^(GPU|MIG)-/);
  });

  test('a typo in an option and a path that is none are refused', () => {
    assert.throws(() => getCudaDevices({ nvmlpath: '/x' } as object), {
      code: 'ERR_UNKNOWN_OPTION',
      message: /Did you mean nvmlPath\?/,
    });
    for (const cudaPath of ['', 7, null, 'a\0b']) {
      assert.throws(() => getCudaDevices({ cudaPath } as object), {
        code: 'ERR_INVALID_ARGUMENT',
        message: /cudaPath/,
      });
    }
    assert.throws(() => getCudaDevices(null as unknown as object), { code: 'ERR_INVALID_ARGUMENT' });
  });

  test('devices come by their ordinals, with what is taken and by whom', { skip }, () => {
    const driver = `reversed;gpu ${A} ${8 * GiB} ${3 * GiB};process 1 7;process $pid 600;gpu ${B} ${4 * GiB} ${GiB}`;
    assert.deepEqual(seenBy(driver), {
      available: true,
      cudaVersion: '12.2',
      driverVersion: '550.54.15',
      devices: [
        { ordinal: 0, uuid: `GPU-${B}`, name: 'Fake GPU 1', totalBytes: 4 * GiB, usedBytes: GiB, isMig: false },
        {
          ordinal: 1,
          uuid: `GPU-${A}`,
          name: 'Fake GPU 0',
          totalBytes: 8 * GiB,
          usedBytes: 3 * GiB,
          selfBytes: 600,
          isMig: false,
        },
      ],
    });
  });

  test('CUDA_VISIBLE_DEVICES takes the ordinal away, and an instance names its GPU', { skip }, () => {
    const driver = `gpu ${A} ${8 * GiB} 5;mig ${B} ${GiB} 9`;
    const instance = { uuid: `MIG-${B}`, name: 'Fake GPU 1', totalBytes: GiB, usedBytes: 9, isMig: true };
    const hidden = { ...instance, parentUuid: `GPU-${A}` };
    assert.deepEqual((seenBy(driver) as CudaInfo).devices, [{ ordinal: 0, ...hidden }]);
    const info = seenBy(driver, { env: { CUDA_VISIBLE_DEVICES: '' } }) as CudaInfo;
    assert.ok(!info.available);
    assert.equal(info.reason, 'no-devices');
    assert.deepEqual(info.devices, [hidden]);
  });

  for (const [reason, driver, variant, message] of [
    ['driver-too-old', 'version 9000', 'driver', /CUDA 9\.0; at least 9\.2/],
    ['missing-symbol', '', 'broken', /no function cuDeviceGetCount/],
    ['init-failed', 'cuinit 999', 'driver', /cuInit failed with code 999/],
    ['no-devices', '', 'driver', /shows no device/],
  ] as const) {
    test(`${reason} is told apart`, { skip }, () => {
      const info = seenBy(driver, { variant }) as CudaInfo;
      assert.ok(!info.available);
      assert.equal(info.reason, reason);
      assert.match(info.message, message);
    });
  }

  test('a device that cannot be read carries its error and no number', { skip }, () => {
    const program = `process.env.ASPIRED_FAKE_DRIVER = 'gpu ${A} ${GiB} 5;error 15';
      const { getCudaDevices, AspiredError } = await import('#lib/index.js');
      const [{ error, ...device }] = getCudaDevices(${JSON.stringify({
        cudaPath: join(FAKES, 'driver/libcuda.so.1'),
        nvmlPath: join(FAKES, 'driver/libnvidia-ml.so.1'),
      })}).devices;
      const ours = error instanceof AspiredError;
      console.log(JSON.stringify({ device, ours, code: error.code, status: error.status, message: error.message }));`;
    const { device, message, ...error } = seenBy('', { program }) as Record<string, unknown>;
    assert.deepEqual(device, { ordinal: 0, uuid: `GPU-${A}`, name: 'Fake GPU 0', totalBytes: GiB, isMig: false });
    assert.deepEqual(error, { ours: true, code: 'ERR_DEVICE_LOST', status: 'UNAVAILABLE' });
    assert.match(String(message), /GPU is lost/);
  });

  test('the usual names are found where the system looks for libraries', {
    skip: skip || process.platform !== 'linux',
  }, () => {
    const info = seenBy(`gpu ${A} ${GiB} 5`, { env: { LD_LIBRARY_PATH: join(FAKES, 'driver') } }) as CudaInfo;
    assert.equal(info.devices[0]?.uuid, `GPU-${A}`);
    assert.equal(info.devices[0]?.usedBytes, 5);
  });

  test('the device suite holds over the fake driver, so a machine with a GPU tests the GPU', { skip }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'aspired-cuda-'));
    try {
      const { CUDA_VISIBLE_DEVICES: _, ...inherited } = process.env;
      const child = spawnSync(resolve('build-tests/aspired_device_tests'), {
        encoding: 'utf8',
        env: {
          ...inherited,
          ASPIRED_FAKE_DRIVER: `reversed;gpu ${B} ${GiB} 10;gpu ${A} ${8 * GiB} ${GiB}`,
          ASPIRED_FAKE_SHARED: join(folder, 'shared'),
          ASPIRED_DEVICE_CUDA_PATH: join(FAKES, 'driver/libcuda.so.1'),
          ASPIRED_DEVICE_NVML_PATH: join(FAKES, 'driver/libnvidia-ml.so.1'),
        },
      });
      assert.equal(child.status, 0, child.stdout + child.stderr);
      assert.match(child.stdout, /PASSED {2}\] 5 tests/);
      assert.doesNotMatch(child.stdout, /SKIPPED/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
