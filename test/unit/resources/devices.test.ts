// The option `resources`, limits at run time, and estimates, as far as they are words: what is refused, and how it is said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager, type ResourceAllocation } from 'aspired';
import { native } from '#lib/native/binding.js';
import { Devices } from '#lib/resources/devices.js';
import { coded, TestManager } from '../../support/manager.js';

const MiB = 2 ** 20;
const none = { cudaPath: '/no/such/libcuda.so.1', nvmlPath: '/no/such/libnvidia-ml.so.1' };

const refused = (code: string, message: RegExp) => (error: Error) => {
  assert.match(error.message, message);
  return coded(code)(error);
};

const bad: [string, unknown, string, RegExp][] = [
  ['null', null, 'ERR_INVALID_ARGUMENT', /^Expected an object for option resources, but received null\.$/],
  ['an array', [], 'ERR_INVALID_ARGUMENT', /^Expected an object for option resources, but received \[array\]/],
  ['an amount', '12GiB', 'ERR_INVALID_ARGUMENT', /^Expected an object for option resources, but received "12GiB"/],
  ['a typo', { Ram: 1 }, 'ERR_UNKNOWN_OPTION', /^Unknown option Ram in resources\. Did you mean ram\?/],
  [
    'ram without B',
    { ram: '12G' },
    'ERR_INVALID_ARGUMENT',
    /for option resources\.ram, but received "12G" \(string\)\.$/,
  ],
  ['ram null', { ram: null }, 'ERR_INVALID_ARGUMENT', /for option resources\.ram, but received null\.$/],
  ['ram below 0', { ram: -1 }, 'ERR_INVALID_ARGUMENT', /for option resources\.ram, but received -1 \(number\)\.$/],
  ['ram an array', { ram: ['1GiB'] }, 'ERR_INVALID_ARGUMENT', /for option resources\.ram, but received \[array\]/],
  ['a typo in a fraction', { ram: { part: 0.5 } }, 'ERR_UNKNOWN_OPTION', /^Unknown option part in resources\.ram\./],
  ...[0, -0.1, 1.01, Number.NaN, '0.5', null, undefined].map((fraction): [string, unknown, string, RegExp] => [
    `the fraction ${fraction}`,
    { ram: { fraction } },
    'ERR_INVALID_ARGUMENT',
    /^Expected a number above 0, at most 1 for option resources\.ram\.fraction, but received /,
  ]),
  ['cuda true', { cuda: true }, 'ERR_INVALID_ARGUMENT', /^Expected 'auto' or an array .* for option resources\.cuda, /],
  ['cuda null', { cuda: null }, 'ERR_INVALID_ARGUMENT', /^Expected 'auto' or an array .* for option resources\.cuda, /],
  ['cuda an object', { cuda: { device: 0 } }, 'ERR_INVALID_ARGUMENT', /for option resources\.cuda, but received /],
  ['a GPU that is a number', { cuda: [0], ...none }, 'ERR_INVALID_ARGUMENT', /for option resources\.cuda\[0\], but/],
  [
    'a typo in a GPU',
    { cuda: [{ devise: 0 }], ...none },
    'ERR_UNKNOWN_OPTION',
    /resources\.cuda\[0\]\. Did you mean device/,
  ],
  [
    'a path that is none',
    { cudaPath: '' },
    'ERR_INVALID_ARGUMENT',
    /^Expected a path for option resources\.cudaPath, /,
  ],
  [
    'a path that is a number',
    { nvmlPath: 7 },
    'ERR_INVALID_ARGUMENT',
    /^Expected a path for option resources\.nvmlPath, /,
  ],
  [
    'a path with a 0 in it',
    { cudaPath: 'a\0b' },
    'ERR_INVALID_ARGUMENT',
    /^Expected a path for option resources\.cudaPath/,
  ],
];
for (const [what, resources, code, message] of bad) {
  test(`resources: ${what} is refused`, () => {
    assert.throws(() => new AspiredVersionsManager({ resources } as object), refused(code, message));
  });
}

for (const device of [0, 7, 'GPU-none', -1, null, undefined, {}]) {
  test(`a GPU ${JSON.stringify(device)} that is not there says why not`, () => {
    assert.throws(
      () => new AspiredVersionsManager({ resources: { cuda: [{ device }], ...none } } as object),
      refused(
        'ERR_DEVICE_NOT_FOUND',
        /^resources\.cuda\[0\]\.device is .+, which was not found\. CUDA has no device for this process: .*\/no\/such\/libcuda/,
      ),
    );
  });
}

test("cuda: 'auto' without a driver is no GPU", async (t) => {
  const { manager } = new TestManager(t, { resources: { cuda: 'auto', ...none } });
  assert.deepEqual(
    manager.resources().devices.map(({ device }) => device),
    ['ram'],
  );
});

test('the limit of main memory is what the process may have, a fraction of it, or an amount', async (t) => {
  const host = native.hostMemory().bytes;
  const limitOf = (resources?: object): number | undefined =>
    new TestManager(t, { resources } as object).manager.resources().devices[0]?.limit;
  assert.equal(limitOf(), host);
  assert.equal(limitOf({}), host);
  assert.equal(limitOf({ ram: { fraction: 1 } }), host);
  assert.equal(limitOf({ ram: { fraction: 0.3 } }), Math.floor(host * 0.3));
  assert.equal(limitOf({ ram: '100MiB' }), 100 * MiB);
  assert.equal(limitOf({ ram: 0 }), 0);
});

const badLimits: [string, unknown, string, RegExp][] = [
  ['nothing', undefined, 'ERR_INVALID_ARGUMENT', /^Expected an object for option limits, but received undefined/],
  ['null', null, 'ERR_INVALID_ARGUMENT', /^Expected an object for option limits, but received null/],
  ['a typo', { rma: 1 }, 'ERR_UNKNOWN_OPTION', /^Unknown option rma in limits\. Did you mean ram\?/],
  ['a path', { ram: 1, cudaPath: '/x' }, 'ERR_UNKNOWN_OPTION', /^Unknown option cudaPath in limits\./],
  ['ram null', { ram: null }, 'ERR_INVALID_ARGUMENT', /for option limits\.ram, but received null/],
  ['ram NaN', { ram: Number.NaN }, 'ERR_INVALID_ARGUMENT', /for option limits\.ram, but received NaN/],
  [
    'a fraction of 2',
    { ram: { fraction: 2 } },
    'ERR_INVALID_ARGUMENT',
    /for option limits\.ram\.fraction, but received 2/,
  ],
  ["cuda 'auto'", { cuda: 'auto' }, 'ERR_INVALID_ARGUMENT', /for option limits\.cuda, but received "auto"/],
  ['cuda null', { cuda: null }, 'ERR_INVALID_ARGUMENT', /for option limits\.cuda, but received null/],
  [
    'a GPU of no account',
    { ram: '1MiB', cuda: [{ device: 0, limit: '1GiB' }] },
    'ERR_DEVICE_NOT_FOUND',
    /^limits\.cuda\[0\]\.device is 0 \(number\), which this manager does not account\. It accounts no GPU: give resources\.cuda\.$/,
  ],
];
for (const [what, limits, code, message] of badLimits) {
  test(`setResourceLimits: ${what} is refused and changes nothing`, async (t) => {
    const { manager } = new TestManager(t, { resources: { ram: '100MiB', ...none } });
    assert.throws(() => manager.setResourceLimits(limits as object), refused(code, message));
    assert.equal(manager.resources().devices[0]?.limit, 100 * MiB);
  });
}

test('setResourceLimits: what is not given stays; after close() it is refused', async (t) => {
  const { manager } = new TestManager(t, { resources: { ram: '100MiB' } });
  manager.setResourceLimits({});
  assert.equal(manager.resources().devices[0]?.limit, 100 * MiB);
  manager.setResourceLimits({ ram: { fraction: 0.25 } });
  assert.equal(manager.resources().devices[0]?.limit, Math.floor(native.hostMemory().bytes * 0.25));
  await manager.close();
  assert.throws(() => manager.setResourceLimits({ ram: 1 }), coded('ERR_MANAGER_CLOSED'));
  assert.throws(() => manager.resources(), coded('ERR_MANAGER_CLOSED'));
  assert.throws(() => manager.exportFootprints(), coded('ERR_MANAGER_CLOSED'));
  assert.throws(() => manager.clearFootprints(), coded('ERR_MANAGER_CLOSED'));
});

const badEstimates: [string, unknown, string, RegExp][] = [
  [
    'undefined',
    undefined,
    'ERR_INVALID_ESTIMATE',
    /^Expected an object in a resource estimate, but received undefined/,
  ],
  ['null', null, 'ERR_INVALID_ESTIMATE', /^Expected an object in a resource estimate, but received null/],
  ['an amount', 500, 'ERR_INVALID_ESTIMATE', /^Expected an object in a resource estimate, but received 500/],
  ['an array', [500], 'ERR_INVALID_ESTIMATE', /^Expected an object in a resource estimate, but received \[array\]/],
  ['an empty array', [], 'ERR_INVALID_ESTIMATE', /^Expected an object in a resource estimate, but received \[array\]/],
  [
    'another key',
    { vram: 1 },
    'ERR_INVALID_ESTIMATE',
    /^Expected 'ram' and 'cuda' in a resource estimate, but received "vram"/,
  ],
  [
    'ram null',
    { ram: null },
    'ERR_INVALID_ESTIMATE',
    /^A resource estimate is no amount\. .*option ram, but received null/,
  ],
  [
    'ram without B',
    { ram: '5G' },
    'ERR_INVALID_ESTIMATE',
    /^A resource estimate is no amount\. .*option ram, but received "5G"/,
  ],
  ['cuda null', { cuda: null }, 'ERR_INVALID_ESTIMATE', /option cuda, but received null/],
  ['cuda an object', { cuda: { memory: 1 } }, 'ERR_INVALID_ESTIMATE', /option cuda, but received \[Object\]/],
  [
    'a GPU that is an amount',
    { cuda: [5] },
    'ERR_INVALID_ESTIMATE',
    /^Expected \{ device, memory \} in a resource estimate/,
  ],
  ['a GPU without an amount', { cuda: [{ device: 0 }] }, 'ERR_INVALID_ESTIMATE', /option cuda, but received undefined/],
  ['a typo in a GPU', { cuda: [{ memory: 1, devise: 0 }] }, 'ERR_INVALID_ESTIMATE', /but received "devise"/],
  ['a GPU', { cuda: '1GiB' }, 'ERR_DEVICE_NOT_FOUND', /It accounts no GPU: give resources\.cuda/],
  [
    'a certain GPU',
    { cuda: [{ device: 1, memory: 1 }] },
    'ERR_DEVICE_NOT_FOUND',
    /cuda\.device is 1 \(number\).*no GPU/,
  ],
];
for (const [what, estimate, code, message] of badEstimates) {
  test(`an estimate that is ${what} is refused`, () => {
    const devices = new Devices(none);
    assert.throws(() => devices.toNative(estimate as ResourceAllocation), refused(code, message));
  });
}

test('an estimate in the words of the core', () => {
  const devices = new Devices(none);
  assert.deepEqual(devices.toNative({}), []);
  assert.deepEqual(devices.toNative({ ram: '1MiB' }), [['main', undefined, MiB]]);
  assert.deepEqual(devices.toNative({ ram: 0, cuda: [] }), [['main', undefined, 0]]);
  assert.deepEqual(devices.toReservation([['main', 0, 5]]), { ram: 5, cuda: [] });
});
