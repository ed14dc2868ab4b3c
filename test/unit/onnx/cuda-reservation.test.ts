// From the manager's reservation to the options of the CUDA provider, over the fake driver that the C++ tests build.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CudaLimit, Footprints, ResourceAllocation } from 'aspired';
import { type OnnxLoaderOptions, onnxLoader } from '#lib/onnx/index.js';
import { type NativeLoadRequest, nativeOnnx } from '#lib/onnx/native.js';
import { TestManager } from '../../support/manager.js';
import { model } from './support.js';

const FAKES = resolve('build-tests/fake_cuda/driver');
const A = 'aaaaaaaa-0000-0000-0000-000000000001';
const B = 'bbbbbbbb-0000-0000-0000-000000000002';
const MiB = 2 ** 20;
const GiB = 2 ** 30;
/** What is reserved for the context and the libraries of CUDA. */
const BASE = 512 * MiB;
const skip = existsSync(join(FAKES, 'libcuda.so.1')) ? false : 'the fake driver is not built (npm test builds it)';

// Read once, when the first manager looks for GPUs. A load that names none goes to 1, which has the most room.
process.env.ASPIRED_FAKE_DRIVER = `gpu ${A} ${8 * GiB} 0;gpu ${B} ${16 * GiB} 0`;
delete process.env.CUDA_VISIBLE_DEVICES;

type Providers = NativeLoadRequest['executionProviders'];

/** What the engine was asked for, by model; the runtime here has no CUDA provider and loads without. */
const asked: Providers[] = [];
const attach = nativeOnnx.attach;
nativeOnnx.attach = (callbacks) => {
  const engine = attach(callbacks);
  return {
    ...engine,
    load(id, request, executor) {
      asked.push(request.executionProviders);
      return engine.load(id, { ...request, executionProviders: [] }, executor);
    },
  };
};

/** Loads that took a multiple of what was estimated: what is reserved is more than weights and base. */
const learned = (...ratios: [servable: string, ratio: number][]): Footprints => ({
  version: 1,
  footprints: ratios.map(([servable, ratio]) => ({
    servable,
    device: 'cuda',
    estimated: GiB,
    measured: ratio * GiB,
  })),
});

function start(t: TestContext, cuda: CudaLimit[] | 'auto' | undefined, footprints = learned()): TestManager {
  const paths = { cudaPath: join(FAKES, 'libcuda.so.1'), nvmlPath: join(FAKES, 'libnvidia-ml.so.1') };
  return new TestManager(t, { resources: { ...paths, ...(cuda ? { cuda } : {}) }, footprints, maxNumLoadRetries: 0 });
}

const onCuda = (options: Record<string, string> = {}): OnnxLoaderOptions => ({
  executionProviders: [{ name: 'cuda', options }, 'cpu'],
});

/** Loads a model; what the CUDA provider was told, and what is reserved on each GPU. */
async function load(m: TestManager, name: string, options: OnnxLoaderOptions, estimate?: ResourceAllocation) {
  asked.length = 0;
  const loader = onnxLoader(await model('half_plus_two'), options);
  if (estimate) loader.estimateResources = () => estimate;
  const { versions } = await m.aspire(name, [{ version: 1, loader }]);
  assert.equal(versions[0]?.managerState, 'Available', String(versions[0]?.error));
  const [providers, ...others] = asked;
  assert.deepEqual([providers?.map((provider) => provider.name), others], [['cuda', 'cpu'], []]);
  assert.deepEqual(providers?.[1]?.options, [], 'the other provider has nothing of it');
  const shares = m.manager.resources().versions.find(({ id }) => id.name === name)?.shares ?? [];
  return {
    told: Object.fromEntries(providers?.[0]?.options ?? []),
    reserved: Object.fromEntries(shares.map(({ device, reserved }) => [device, reserved])),
  };
}

test('the arena may grow to what is reserved, without what context and libraries take', { skip }, async (t) => {
  const m = start(t, 'auto', learned(['a', 3]));
  const { told, reserved } = await load(m, 'a', onCuda());
  const bytes = reserved['cuda:1'] ?? 0;
  assert.ok(bytes > 3 * BASE, `${bytes} reserved`);
  assert.deepEqual(told, { device_id: '1', gpu_mem_limit: String(bytes - BASE) });
});

test('where nothing raised the estimate the arena has room for the weights', { skip }, async (t) => {
  const { told, reserved } = await load(start(t, 'auto'), 'a', onCuda());
  const bytes = reserved['cuda:1'] ?? 0;
  assert.ok(bytes > BASE && bytes < BASE + MiB, `${bytes} reserved`);
  assert.deepEqual(told, { device_id: '1', gpu_mem_limit: String(bytes - BASE) });
});

test('each model is told the device and the limit of its own reservation', { skip }, async (t) => {
  // The numbers of the manager are not those of CUDA.
  const cuda = [{ device: 1 }, { device: 0 }];
  const m = start(t, cuda, learned(['a', 3], ['b', 5]));
  const a = await load(m, 'a', onCuda({ device_id: '0' }));
  const b = await load(m, 'b', onCuda());
  const [ofA = 0, ofB = 0] = [a.reserved['cuda:0'], b.reserved['cuda:1']];
  assert.ok(ofA > 3 * BASE && ofB > 5 * BASE, `${ofA} and ${ofB} reserved`);
  assert.deepEqual(a.told, { device_id: '0', gpu_mem_limit: String(ofA - BASE) });
  assert.deepEqual(b.told, { device_id: '1', gpu_mem_limit: String(ofB - BASE) });
});

test('of a reservation on several GPUs the limit is that of the device it runs on', { skip }, async (t) => {
  const m = start(t, 'auto');
  const cuda = [
    { device: 0, memory: 3 * GiB },
    { device: 1, memory: 2 * GiB },
  ];
  const second = await load(m, 'a', onCuda({ device_id: '1' }), { cuda });
  assert.deepEqual(second.told, { device_id: '1', gpu_mem_limit: String(2 * GiB - BASE) });
  const first = await load(m, 'b', onCuda(), { cuda });
  assert.deepEqual(first.told, { device_id: '0', gpu_mem_limit: String(3 * GiB - BASE) });
});

test('where no GPU is accounted the arena has no limit', { skip }, async (t) => {
  assert.deepEqual((await load(start(t, undefined), 'a', onCuda())).told, {});
});

test("the user's own limit stays", { skip }, async (t) => {
  const { told } = await load(start(t, 'auto'), 'a', onCuda({ gpu_mem_limit: '7' }));
  assert.deepEqual(told, { gpu_mem_limit: '7', device_id: '1' });
});
