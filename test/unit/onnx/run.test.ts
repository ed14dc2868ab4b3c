// What a run promises: its answer, its errors, and that it disturbs nothing else.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { OnnxServable, OnnxTensor } from '#lib/onnx/index.js';
import { getInferenceStats, onnxLoader, setNumInferenceThreads } from '#lib/onnx/index.js';
import { encodeModel } from '../../../scripts/models/onnx.js';
import { chunksOf } from '../../../scripts/models/protobuf.js';
import { coded, contextFor, floats, loaded } from './support.js';

function slowFeed(rows = 1) {
  return { x: { type: 'float32', data: new Float32Array(512 * rows).fill(0.01), dims: [rows, 512] } } as const;
}

function first(answer: Record<string, OnnxTensor>): number {
  return Number((answer.y as OnnxTensor).data[0]);
}

/** Both calls must fail in the same way. */
async function refused(servable: OnnxServable, feeds: unknown, message: RegExp): Promise<void> {
  const given = feeds as Parameters<OnnxServable['run']>[0];
  assert.throws(() => servable.runSync(given), coded('ERR_INVALID_INPUT', message));
  await assert.rejects(servable.run(given), coded('ERR_INVALID_INPUT', message));
}

describe('a feed that the model does not take is refused with the input, the expectation and what came', () => {
  it('names: unknown, missing, undefined, none', async () => {
    const { servable, loader } = await loaded('two_inputs');
    const a = floats([1, 2, 3, 4, 5, 6], [2, 3]);
    await refused(servable, { a, c: a }, /no input "c"\. It takes "a" \(float32 \[2, 3\]\), "b" \(int64 \[2, 3\]\)/);
    await refused(servable, { a }, /lack input "b" \(int64 \[2, 3\]\)/);
    await refused(servable, { a, b: undefined }, /lack input "b"/);
    await refused(servable, {}, /lack input "a"/);
    await refused(servable, null, /object of tensors as feeds, but received null/);
    await loader.unload?.(servable);
  });

  it('types: another type, a type that does not exist, data of another type, no tensor', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    const dims = [2];
    await refused(
      servable,
      { x: { type: 'float64', data: new Float64Array(2), dims } },
      /"x" takes float32, .*float64/,
    );
    await refused(servable, { x: { type: 'float8', data: new Float32Array(2), dims } }, /type "float8" \(string\)/);
    await refused(
      servable,
      { x: { type: 'float32', data: new Float64Array(2), dims } },
      /a Float32Array, not \[Float64/,
    );
    await refused(servable, { x: { type: 'float32', data: [1, 2], dims } }, /a Float32Array, not \[array\]/);
    await refused(servable, { x: { type: 'string', data: ['a', 7], dims } }, /its data contains 7 \(number\)/);
    await refused(servable, { x: 3 }, /"x" is not a tensor but 3/);
    await refused(servable, { x: { type: 'float32' } }, /"x" has dims undefined/);
    await loader.unload?.(servable);
  });

  it('shapes: rank, a fixed size, too little data, sizes that are none', async () => {
    const { servable, loader } = await loaded('symbolic_dims');
    await refused(servable, { x: floats([1, 2, 3, 4]) }, /takes shape \[batch, 4\], but received \[4\]/);
    await refused(servable, { x: floats([1, 2, 3], [1, 3]) }, /takes shape \[batch, 4\], but received \[1, 3\]/);
    await refused(servable, { x: floats([1, 2, 3, 4], [2, 4]) }, /dims \[2, 4\], which is 8 elements, .* holds 4/);
    for (const dim of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      await refused(servable, { x: floats([1, 2, 3, 4], [dim, 4]) }, /an integer >= 0/);
    }
    await refused(servable, { x: floats([], [2 ** 52, 4]) }, /is 18014398509481984 elements, .* holds 0/);
    await refused(servable, { x: floats([], [2 ** 52, 2 ** 52]) }, /not more elements than/);
    await refused(servable, { x: { ...floats([1, 2, 3, 4]), dims: ['1', 4] } }, /a dim "1" \(string\)/);
    await loader.unload?.(servable);
  });

  it('a detached buffer, small and large', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    for (const length of [4, 100_000]) {
      const data = new Float32Array(length);
      structuredClone(data.buffer, { transfer: [data.buffer] });
      await refused(servable, { x: { type: 'float32', data, dims: [length] } }, /transferred away/);
    }
    await loader.unload?.(servable);
  });

  it('a string with a zero byte, which the runtime would cut short', async () => {
    const { servable, loader } = await loaded('identity_string');
    await refused(servable, { x: { type: 'string', data: ['a\0b'], dims: [1, 1] } }, /zero byte/);
    await loader.unload?.(servable);
  });

  it('options: an unknown output, an unknown option, no signal', async () => {
    const { servable, loader } = await loaded('two_inputs');
    const feeds = {
      a: floats([1, 2, 3, 4, 5, 6], [2, 3]),
      b: { type: 'int64', data: new BigInt64Array(6).fill(10n), dims: [2, 3] },
    };
    assert.throws(
      () => servable.runSync(feeds, { outputs: ['total'] }),
      coded('ERR_INVALID_INPUT', /no output "total"/),
    );
    assert.throws(() => servable.runSync(feeds, { outputs: [] }), coded('ERR_INVALID_ARGUMENT'));
    await assert.rejects(servable.run(feeds, { output: ['sum'] } as object), coded('ERR_UNKNOWN_OPTION', /outputs/));
    await assert.rejects(servable.run(feeds, { signal: 1 } as object), coded('ERR_INVALID_ARGUMENT', /AbortSignal/));
    assert.deepEqual(Object.keys(servable.runSync(feeds, { outputs: ['echo'] })), ['echo']);
    assert.deepEqual(Object.keys(await servable.run(feeds)), ['sum', 'echo']);
    assert.deepEqual(servable.runSync(feeds).sum?.data, Float32Array.of(11, 12, 13, 14, 15, 16));
    await loader.unload?.(servable);
  });
});

describe('runs side by side', () => {
  it('each of many runs in flight gets its own answer, on two models at once', async () => {
    const [half, symbolic] = await Promise.all([loaded('half_plus_two'), loaded('symbolic_dims')]);
    for (let round = 0; round < 50; round++) {
      const answers = await Promise.all(
        Array.from({ length: 16 }, async (_, i) => {
          const value = round * 16 + i;
          const [a, b] = await Promise.all([
            half.servable.run({ x: floats([value]) }),
            symbolic.servable.run({ x: floats([value, 0, 0, 0], [1, 4]) }),
          ]);
          return [value, first(a), first(b)] as const;
        }),
      );
      for (const [value, a, b] of answers) assert.deepEqual([a, b], [value / 2 + 2, value + 1]);
    }
    await Promise.all([half.loader.unload?.(half.servable), symbolic.loader.unload?.(symbolic.servable)]);
  });

  it('more answers than one message holds arrive whole', async () => {
    const { servable, loader } = await loaded('half_plus_two', { maxQueue: 5000 });
    const answers = await Promise.all(Array.from({ length: 3000 }, (_, i) => servable.run({ x: floats([i, i]) })));
    answers.forEach((answer, i) => {
      assert.equal(first(answer), i / 2 + 2);
    });
    await loader.unload?.(servable);
  });

  it('a model with more outputs than the exchange has room for answers all of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'aspired-onnx-'));
    const path = join(folder, 'many.onnx');
    const outputs = Array.from({ length: 900 }, (_, i) => `y${i}`);
    const shape = ['a', 'b', 'c', 'd', 'e', 'f'];
    const encoded = encodeModel({
      name: 'many',
      inputs: [{ name: 'x', type: 'float32', shape }],
      outputs: outputs.map((name) => ({ name, type: 'float32', shape })),
      nodes: outputs.map((name) => ({ op: 'Identity', inputs: ['x'], outputs: [name] })),
    });
    await writeFile(path, Buffer.concat([...chunksOf(encoded)]));
    const loader = onnxLoader(path);
    const servable = await loader.load(contextFor());
    const x = floats([1, 2], [1, 1, 2, 1, 1, 1]);
    const answers = [servable.runSync({ x }), ...(await Promise.all([servable.run({ x }), servable.run({ x })]))];
    answers.push(servable.runSync({ x }, { outputs }));
    for (const answer of answers) {
      assert.deepEqual(Object.keys(answer), outputs);
      for (const { data, dims } of Object.values(answer)) assert.deepEqual([data, dims], [x.data, x.dims]);
    }
    await loader.unload?.(servable);
    await rm(folder, { recursive: true });
  });

  it('large and small data mix, and the feeds may be changed as soon as run() returned', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    const sizes = [1, 600, 5000, 100_000];
    const answers = await Promise.all(
      sizes.map((size) => {
        const x = floats(new Array(size).fill(4));
        const answer = servable.run({ x });
        x.data.fill(Number.NaN);
        return answer;
      }),
    );
    answers.forEach((answer, i) => {
      assert.deepEqual(answer.y?.data, new Float32Array(sizes[i] as number).fill(4));
    });
    await loader.unload?.(servable);
  });

  it('borrowed data is read where it is; resizable data is copied all the same', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    const Resizable = ArrayBuffer as unknown as new (
      bytes: number,
      options: object,
    ) => ArrayBuffer & { resize(n: number): void };
    const resizable = new Resizable(400_000, { maxByteLength: 400_000 });
    const plain = floats(new Array(100_000).fill(4));
    const fed = { type: 'float32', data: new Float32Array(resizable).fill(8), dims: [100_000] } as const;
    const answers = [servable.run({ x: plain }, { borrow: true }), servable.run({ x: fed }, { borrow: true })];
    await turn();
    resizable.resize(0);
    const [a, b] = await Promise.all(answers);
    assert.equal(first(a as Record<string, OnnxTensor>), 4);
    assert.equal(first(b as Record<string, OnnxTensor>), 6);
    await loader.unload?.(servable);
  });

  it('the number of inference threads can change while runs are on', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    const before = getInferenceStats().numThreads;
    for (const count of [1, 4, 2]) {
      const runs = Array.from({ length: 64 }, (_, i) => servable.run({ x: floats([i]) }));
      setNumInferenceThreads(count);
      await Promise.all(runs);
      assert.equal(getInferenceStats().numThreads, count);
    }
    assert.throws(() => setNumInferenceThreads(0), coded('ERR_INVALID_ARGUMENT', /count/));
    setNumInferenceThreads(before);
    await loader.unload?.(servable);
  });
});

describe('a run that fails', () => {
  it('in the runtime rejects with its words and leaves the model usable', async () => {
    const { servable, loader } = await loaded('fails_at_run');
    const failed = coded('ERR_RUN_FAILED', /Reshape/);
    assert.throws(() => servable.runSync({ x: floats([1, 2]) }), failed);
    await assert.rejects(servable.run({ x: floats([1, 2]) }), failed);
    assert.deepEqual(servable.runSync({ x: floats([1, 2, 3]) }).y?.data, Float32Array.of(1, 2, 3));
    await loader.unload?.(servable);
  });

  it('because its signal fired rejects with the reason: before, while it waits, while it is on', async () => {
    const { servable, loader } = await loaded('slow');
    const reason = new Error('changed my mind');
    await assert.rejects(servable.run(slowFeed(), { signal: AbortSignal.abort(reason) }), reason);
    const controllers = Array.from({ length: 8 }, () => new AbortController());
    const runs = controllers.map(({ signal }) => servable.run(slowFeed(256), { signal }));
    const ends = Promise.allSettled(runs);
    await turn();
    const started = performance.now();
    for (const controller of controllers) controller.abort(reason);
    for (const end of await ends) assert.equal(end.status === 'rejected' && end.reason, reason);
    assert.ok(performance.now() - started < 1000, 'the rejection waited for the runs');
    assert.ok(Number.isFinite(first(await servable.run(slowFeed()))), 'a later run is not cancelled');
    await loader.unload?.(servable);
  });

  it('when the queue is full is refused at once, and room comes back', async () => {
    const { servable, loader } = await loaded('slow', { maxQueue: 2 });
    const runs = [servable.run(slowFeed()), servable.run(slowFeed())];
    await assert.rejects(servable.run(slowFeed()), coded('ERR_OVERLOADED', /2 runs .* maxQueue/));
    await Promise.all(runs);
    await servable.run(slowFeed());
    await loader.unload?.(servable);
  });
});

describe('unload', () => {
  it('lets the runs that are on end, and refuses later ones', async () => {
    const { servable, loader } = await loaded('slow');
    const runs = Array.from({ length: 4 }, () => servable.run(slowFeed()));
    const unloaded = loader.unload?.(servable);
    const refusal = coded('ERR_SERVABLE_UNLOADED', /slow.*unloaded/);
    assert.throws(() => servable.runSync(slowFeed()), refusal);
    await assert.rejects(servable.run(slowFeed()), refusal);
    let over = 0;
    for (const run of runs) run.then(() => over++);
    await unloaded;
    assert.equal(over, 4, 'the unload did not wait for the runs');
    await assert.rejects(servable.run(slowFeed()), refusal);
  });

  it('twice is once; something else is refused', async () => {
    const { servable, loader } = await loaded('half_plus_two');
    await Promise.all([loader.unload?.(servable), loader.unload?.(servable)]);
    await assert.rejects(async () => loader.unload?.({} as OnnxServable), coded('ERR_INVALID_ARGUMENT', /servable/));
  });
});
