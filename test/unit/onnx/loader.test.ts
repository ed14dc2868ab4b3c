// What a load promises: a servable, or an error that says what is wrong and what to do.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type OnnxLoaderOptions, onnxLoader } from '#lib/onnx/index.js';
import { libraryIn } from '#lib/onnx/runtime.js';
import { coded, contextFor, floats, loaded, model } from './support.js';

let folder: string;
const noCompiler =
  process.platform === 'linux' && spawnSync('cc', ['--version']).status === 0
    ? false
    : 'no C compiler to make a fake with';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'aspired-onnx-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function fails(path: string, check: (error: unknown) => true, options: OnnxLoaderOptions = {}): Promise<void> {
  await assert.rejects(async () => onnxLoader(path, options).load(contextFor()), check);
}

describe('the model', () => {
  it('is a file, model.onnx of a directory, or its one .onnx file', async () => {
    const file = await model('half_plus_two');
    const one = join(folder, 'one');
    const several = join(folder, 'several');
    for (const directory of [one, several]) await mkdir(directory);
    await cp(file, join(one, 'whatever.ONNX'));
    await cp(file, join(several, 'model.onnx'));
    await writeFile(join(several, 'other.onnx'), 'x');
    for (const path of [file, dirname(file), one, several]) {
      const loader = onnxLoader(path);
      const servable = await loader.load(contextFor());
      assert.deepEqual(servable.runSync({ x: floats([2]) }).y?.data, Float32Array.of(3));
      await loader.unload?.(servable);
    }
  });

  it('that is not there, not the only one, or no file is ERR_MODEL_NOT_FOUND', async () => {
    const empty = join(folder, 'empty');
    const two = join(folder, 'two');
    await mkdir(join(empty, 'nested', 'model.onnx'), { recursive: true });
    await mkdir(two);
    for (const name of ['b.onnx', 'a.onnx']) await writeFile(join(two, name), 'x');
    await fails(join(folder, 'nowhere.onnx'), coded('ERR_MODEL_NOT_FOUND', /nowhere\.onnx/));
    await fails(empty, coded('ERR_MODEL_NOT_FOUND', /holds no \.onnx file/));
    await fails(two, coded('ERR_MODEL_NOT_FOUND', /2 \.onnx files .*: a\.onnx, b\.onnx/));
    await fails(join(empty, 'nested'), coded('ERR_MODEL_NOT_FOUND', /is no file/));
    await fails(join(two, 'a.onnx', 'below'), coded('ERR_MODEL_NOT_FOUND'));
  });

  it('that cannot be read is ERR_MODEL_UNREADABLE', {
    skip: process.getuid?.() === 0 && 'root reads all',
  }, async () => {
    const path = join(folder, 'secret.onnx');
    await writeFile(path, 'x');
    await chmod(path, 0);
    await fails(path, coded('ERR_MODEL_UNREADABLE', /secret\.onnx/));
  });

  it('that is no model is ERR_MODEL_INVALID: empty, noise, half of one, an unknown operator', async () => {
    for (const name of ['empty', 'corrupt', 'truncated', 'unsupported_op']) {
      await fails(await model(name), coded('ERR_MODEL_INVALID', new RegExp(name)));
    }
  });

  it('may keep its weights in a file beside it', async () => {
    const { servable, loader } = await loaded('external_data');
    const answer = servable.runSync({ x: { type: 'float32', data: new Float32Array(256).fill(4), dims: [1, 256] } });
    assert.equal(answer.y?.data[255], 4);
    await loader.unload?.(servable);
    const estimate = await onnxLoader(dirname(await model('external_data'))).estimateResources?.();
    assert.ok(Number(estimate?.ram) > 2048, 'the estimate leaves the weights out');
  });
});

describe('the runtime', () => {
  it('that is not at runtimePath is ERR_ONNX_RUNTIME_NOT_FOUND with the words of the system and what to type', async () => {
    const path = await model('half_plus_two');
    const runtimePath = join(folder, 'libnone.so');
    const check = coded('ERR_ONNX_RUNTIME_NOT_FOUND', /libnone\.so.*npm install onnxruntime-node/);
    await fails(path, check, { runtimePath });
    await fails(path, check, { runtimePath });
  });

  it('that is no runtime is refused', async () => {
    const path = await model('half_plus_two');
    const runtimePath = join(folder, 'libtext.so');
    await writeFile(runtimePath, 'not a library');
    await fails(path, coded('ERR_ONNX_RUNTIME_NOT_FOUND', /libtext\.so/), { runtimePath });
  });

  it('that is older than 1.17, or from another age, is ERR_ONNX_RUNTIME_UNSUPPORTED', {
    skip: noCompiler,
  }, async () => {
    const path = await model('half_plus_two');
    for (const version of ['1.16.3', '0.5.0', '2.0.0', 'nightly']) {
      const source = join(folder, `fake-${version}.c`);
      const runtimePath = join(folder, `libfake-${version}.so`);
      await writeFile(
        source,
        `static const void* api(unsigned v) { return 0; }
         static const char* version(void) { return "${version}"; }
         static const struct { const void* (*a)(unsigned); const char* (*b)(void); } base = { api, version };
         const void* OrtGetApiBase(void) { return &base; }`,
      );
      execFileSync('cc', ['-shared', '-fPIC', '-o', runtimePath, source]);
      await fails(path, coded('ERR_ONNX_RUNTIME_UNSUPPORTED', new RegExp(`${version}.*1\\.17 or later`)), {
        runtimePath,
      });
    }
  });

  it('is looked for in the newest folder of the package, for this platform', async () => {
    const at = (napi: string, file: string) => join(folder, 'pkg', 'bin', napi, 'linux', 'x64', file);
    for (const napi of ['napi-v3', 'napi-v6', 'napi-v10', 'napi-v11']) {
      await mkdir(dirname(at(napi, '')), { recursive: true });
      await mkdir(join(folder, 'pkg', 'bin', napi, 'linux', 'x64'), { recursive: true });
    }
    await writeFile(at('napi-v6', 'libonnxruntime.so.1'), '');
    await writeFile(at('napi-v10', 'libonnxruntime.so.1'), '');
    await writeFile(at('napi-v11', 'onnxruntime.dll'), '');
    const tried: string[] = [];
    assert.equal(libraryIn(join(folder, 'pkg'), tried, 'linux', 'x64'), at('napi-v10', 'libonnxruntime.so.1'));
    assert.equal(libraryIn(join(folder, 'pkg'), tried, 'linux', 'mips'), undefined);
    assert.equal(libraryIn(join(folder, 'none'), tried, 'linux', 'x64'), undefined);
    assert.ok(tried.some((place) => place.endsWith(join('linux', 'mips'))));
  });
});

describe('options', () => {
  it('that are wrong are refused at once, by name and value', () => {
    const refusals: [object, RegExp][] = [
      [{ intraOpNumThreads: 0 }, /intraOpNumThreads.*received 0/],
      [{ maxQueue: 1.5 }, /maxQueue.*received 1\.5/],
      [{ graphOptimizationLevel: 'most' }, /disabled, basic, extended, all for option graphOptimizationLevel/],
      [{ executionProviders: 'cpu' }, /an array for option executionProviders/],
      [{ executionProviders: [{ name: '' }] }, /executionProviders\[0\]\.name/],
      [{ executionProviders: [{ name: 'cuda', options: { device_id: 0 } }] }, /options\.device_id.*received 0/],
      [{ sessionConfig: [] }, /sessionConfig/],
      [{ warmupInputs: {} }, /warmupInputs/],
      [{ warmup: 1 }, /a function for option warmup/],
      [{ runtimePath: '' }, /runtimePath/],
    ];
    for (const [options, message] of refusals) {
      assert.throws(() => onnxLoader('m.onnx', options), coded('ERR_INVALID_ARGUMENT', message));
    }
    assert.throws(
      () => onnxLoader('m.onnx', { warmUp: 1 } as object),
      coded('ERR_UNKNOWN_OPTION', /Did you mean warmup/),
    );
    assert.throws(() => onnxLoader('', {}), coded('ERR_INVALID_ARGUMENT', /path/));
  });

  it('that the runtime refuses are errors that name them: a provider, its options, a session setting', async () => {
    const path = await model('half_plus_two');
    const invalid = (message: RegExp) => coded('ERR_INVALID_ARGUMENT', message);
    await fails(path, invalid(/"teleport".*CPUExecutionProvider/s), { executionProviders: ['teleport'] });
    await fails(path, invalid(/sessionConfig/), { sessionConfig: { ['k'.repeat(5000)]: 'v' } });
  });

  it('all of them together make a model that runs', async () => {
    const { servable, loader } = await loaded('half_plus_two', {
      executionProviders: ['cpu', { name: 'CPU' }],
      intraOpNumThreads: 2,
      interOpNumThreads: 2,
      graphOptimizationLevel: 'basic',
      enableCpuMemArena: false,
      sessionConfig: { 'session.disable_prepacking': '1' },
      warmupInputs: [{ x: floats([1, 2]) }, { x: floats([]) }],
    });
    assert.deepEqual(servable.runSync({ x: floats([2]) }).y?.data, Float32Array.of(3));
    await loader.unload?.(servable);
  });
});

describe('warm-up', () => {
  it('runs natively for every type before load() resolves', async () => {
    const { servable, loader } = await loaded('identity_string', {
      warmupInputs: [{ x: { type: 'string', data: ['a', 'b'], dims: [1, 2] } }],
    });
    await loader.unload?.(servable);
  });

  it('that the model refuses is ERR_WARMUP_FAILED, and the cause says why', async () => {
    const path = await model('symbolic_dims');
    for (const [x, message] of [
      [floats([1, 2, 3], [1, 3]), /warmupInputs\[1\].*takes shape \[batch, 4\]/],
      [floats([1, 2, 3, 4], [4]), /warmupInputs\[1\].*takes shape/],
    ] as const) {
      const good = { x: floats([1, 2, 3, 4], [1, 4]) };
      await fails(
        path,
        (error) => {
          coded('ERR_WARMUP_FAILED', message)(error);
          return coded('ERR_INVALID_INPUT')((error as Error).cause);
        },
        { warmupInputs: [good, { x }] },
      );
    }
    await fails(path, coded('ERR_WARMUP_FAILED', /no input "y"/), { warmupInputs: [{ y: floats([1]) }] });
    await fails(path, coded('ERR_WARMUP_FAILED', /is not a tensor/), { warmupInputs: [{ x: 1 as never }] });
    const failing = await model('fails_at_run');
    await fails(failing, coded('ERR_WARMUP_FAILED', /Reshape/), { warmupInputs: [{ x: floats([1]) }] });
  });

  it('of the user is the warmup of the loader', async () => {
    const warmup = (): void => {};
    assert.equal(onnxLoader('m.onnx', { warmup }).warmup, warmup);
    assert.equal('warmup' in onnxLoader('m.onnx'), false);
  });
});

describe('cancelling a load', () => {
  it('before it begins rejects with the reason', async () => {
    const reason = new Error('dropped');
    const loader = onnxLoader(await model('half_plus_two'));
    await assert.rejects(async () => loader.load(contextFor(AbortSignal.abort(reason))), reason);
  });

  it('while it runs ends it early with the reason, and a later load works', async () => {
    const path = await model('large');
    const loader = onnxLoader(path);
    const whole = performance.now();
    await loader.unload?.(await loader.load(contextFor()));
    const duration = performance.now() - whole;
    const reason = new Error('dropped');
    const controller = new AbortController();
    const loading = assert.rejects(async () => loader.load(contextFor(controller.signal)), reason);
    setTimeout(() => controller.abort(reason), duration / 10);
    await loading;
    const small = await loaded('half_plus_two');
    await small.loader.unload?.(small.servable);
  });
});
