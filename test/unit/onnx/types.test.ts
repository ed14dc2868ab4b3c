// Every element type goes in and comes out with its bits and its class.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Tensor } from 'onnxruntime-common';
import type { OnnxServable, OnnxTensor } from '#lib/onnx/index.js';
import { loaded } from './support.js';

type Numeric = Exclude<OnnxTensor['data'], readonly string[]>;

const CASES: readonly { type: string; data: Numeric }[] = [
  { type: 'float32', data: Float32Array.of(0, -1.5, Number.NaN, Number.POSITIVE_INFINITY, 3.4e38, -0) },
  { type: 'float64', data: Float64Array.of(0, -1.5, Number.NaN, 1e308, 5e-324, -0) },
  { type: 'float16', data: Uint16Array.of(0, 0x3c00, 0x7e01, 0xfc00, 1, 0x8000) },
  { type: 'int8', data: Int8Array.of(0, 1, -1, 127, -128, 5) },
  { type: 'int16', data: Int16Array.of(0, 1, -1, 32767, -32768, 5) },
  { type: 'int32', data: Int32Array.of(0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 5) },
  { type: 'int64', data: BigInt64Array.of(0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 5n) },
  { type: 'uint8', data: Uint8Array.of(0, 1, 2, 127, 128, 255) },
  { type: 'uint16', data: Uint16Array.of(0, 1, 2, 127, 128, 65535) },
  { type: 'uint32', data: Uint32Array.of(0, 1, 2, 127, 128, 2 ** 32 - 1) },
  { type: 'uint64', data: BigUint64Array.of(0n, 1n, 2n, 127n, 128n, 2n ** 64n - 1n) },
  { type: 'bool', data: Uint8Array.of(0, 1, 1, 0, 1, 0) },
];

function bytes(data: Numeric): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** The same elements over and over, `times` times. */
function repeated(data: Numeric, times: number): Numeric {
  const ArrayClass = data.constructor as new (buffer: ArrayBuffer) => Numeric;
  const all = Buffer.concat(new Array(times).fill(bytes(data)));
  return new ArrayClass(all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength) as ArrayBuffer);
}

async function bothWays(servable: OnnxServable, feed: { type: string; data: unknown; dims: readonly number[] }) {
  return [servable.runSync({ x: feed }), await servable.run({ x: feed })].map(({ y }) => y as OnnxTensor);
}

describe('element types', () => {
  for (const { type, data } of CASES) {
    it(`${type} keeps its bits through run and runSync, small and large`, async () => {
      const { servable, loader } = await loaded(`identity_${type}`);
      for (const times of [1, 1000]) {
        const fed = repeated(data, times);
        const dims = [3, 2 * times];
        for (const answer of await bothWays(servable, { type, data: fed, dims })) {
          assert.equal(answer.type, type);
          assert.deepEqual(answer.dims, dims);
          assert.equal(answer.size, 6 * times);
          assert.ok(bytes(answer.data as Numeric).equals(bytes(fed)), 'bits differ');
          const half = (globalThis as Record<string, unknown>).Float16Array;
          assert.equal(answer.data.constructor, type === 'float16' && half ? half : fed.constructor);
        }
      }
      await loader.unload?.(servable);
    });
  }

  it('strings keep their characters, also empty and non-Latin ones', async () => {
    const { servable, loader } = await loaded('identity_string');
    const data = ['', 'ä', '漢字', '🙂', 'a'.repeat(10_000), ' '];
    for (const answer of await bothWays(servable, { type: 'string', data, dims: [2, 3] })) {
      assert.deepEqual(answer.data, data);
      assert.deepEqual(answer.dims, [2, 3]);
    }
    await loader.unload?.(servable);
  });

  it('tensors without elements go through with their dims', async () => {
    for (const type of ['float32', 'int64', 'string']) {
      const { servable, loader } = await loaded(`identity_${type}`);
      const data = type === 'string' ? [] : type === 'int64' ? new BigInt64Array(0) : new Float32Array(0);
      for (const answer of await bothWays(servable, { type, data, dims: [0, 7] })) {
        assert.deepEqual(answer.dims, [0, 7]);
        assert.equal(answer.size, 0);
      }
      await loader.unload?.(servable);
    }
  });

  it('a view into the middle of a buffer, aligned to its element only, is read where it is', async () => {
    const { servable, loader } = await loaded('identity_float32');
    for (const length of [6, 6000]) {
      const buffer = new ArrayBuffer(4 * length + 8);
      const view = new Float32Array(buffer, 4, length).map((_, i) => i);
      new Float32Array(buffer, 4, length).set(view);
      const feed = { type: 'float32', data: new Float32Array(buffer, 4, length), dims: [2, length / 2] };
      for (const answer of await bothWays(servable, feed)) assert.deepEqual(answer.data, view);
    }
    await loader.unload?.(servable);
  });

  it('data of a SharedArrayBuffer is taken, small and large', async () => {
    const { servable, loader } = await loaded('identity_float32');
    for (const length of [6, 60_000]) {
      const data = new Float32Array(new SharedArrayBuffer(4 * length)).fill(2.5);
      for (const answer of await bothWays(servable, { type: 'float32', data, dims: [1, length] })) {
        assert.equal(answer.data.length, length);
        assert.equal(answer.data.at(-1), 2.5);
      }
    }
    await loader.unload?.(servable);
  });
});

describe('the class of answers', () => {
  it('is the Tensor class of the feed, whichever flavour of onnxruntime-common it comes from', async () => {
    const { servable, loader } = await loaded('identity_float32');
    const { createRequire } = await import('node:module');
    const common = createRequire(import.meta.url)('onnxruntime-common') as { Tensor: typeof Tensor };
    assert.notEqual(common.Tensor, Tensor);
    for (const TensorClass of [Tensor, common.Tensor]) {
      const x = new TensorClass('float32', Float32Array.of(1, 2), [1, 2]);
      for (const answer of [servable.runSync({ x }).y, (await servable.run({ x })).y]) {
        assert.ok((answer as unknown) instanceof TensorClass);
        assert.deepEqual(answer?.data, Float32Array.of(1, 2));
      }
    }
    await loader.unload?.(servable);
  });

  it('that throws when it is made fails its own run and no other', async () => {
    const { servable, loader } = await loaded('identity_float32');
    class Tensor {
      static made = 0;
      readonly size = 2;
      constructor(
        readonly type: string,
        readonly data: Float32Array,
        readonly dims: readonly number[],
      ) {
        if (Tensor.made++ === 2) throw new Error('no more');
      }
      reshape(): void {}
      getData(): void {}
    }
    const [x, plain] = [
      new Tensor('float32', Float32Array.of(1, 2), [1, 2]),
      { type: 'float32', data: Float32Array.of(3, 4), dims: [2, 1] },
    ];
    const [bad, good] = await Promise.allSettled([servable.run({ x }), servable.run({ x: plain })]);
    assert.equal(bad.status === 'rejected' && (bad.reason as Error).message, 'no more');
    assert.deepEqual(good.status === 'fulfilled' && good.value.y?.data, Float32Array.of(3, 4));
    await loader.unload?.(servable);
  });

  it('is a Tensor of onnxruntime-common for plain feeds, and can be fed again', async () => {
    const { servable, loader } = await loaded('identity_float32');
    const first = servable.runSync({ x: { type: 'float32', data: Float32Array.of(1, 2), dims: [2, 1] } })
      .y as OnnxTensor;
    assert.equal(first.constructor.name, 'Tensor');
    assert.deepEqual(servable.runSync({ x: first }).y, first);
    await loader.unload?.(servable);
  });
});

describe('metadata', () => {
  it('tells names, types, fixed and symbolic dims in the order of the model', async () => {
    const { servable, loader } = await loaded('two_inputs');
    assert.deepEqual(servable.inputs, [
      { name: 'a', isTensor: true, type: 'float32', dims: [2, 3] },
      { name: 'b', isTensor: true, type: 'int64', dims: [2, 3] },
    ]);
    assert.deepEqual(
      servable.outputs.map(({ name, type }) => [name, type]),
      [
        ['sum', 'float32'],
        ['echo', 'int64'],
      ],
    );
    await loader.unload?.(servable);
    const symbolic = await loaded('symbolic_dims');
    assert.deepEqual(symbolic.servable.inputs[0]?.dims, ['batch', 4]);
    assert.ok(Object.isFrozen(symbolic.servable.inputs));
    await symbolic.loader.unload?.(symbolic.servable);
  });
});
