// What onnxLoader says a model will take of main memory, from its files.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { onnxLoader } from '#lib/onnx/index.js';
import { encodeModel, floats, type OnnxModel } from '../../../scripts/models/onnx.js';
import { chunksOf } from '../../../scripts/models/protobuf.js';
import { coded, model } from './support.js';

const MARGIN = 1.1;
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'aspired-memory-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function estimateOf(path: string): Promise<number> {
  const estimate = await onnxLoader(path).estimateResources?.();
  return Number(estimate?.ram);
}

/** A model of tables with so many floats each. */
async function tables(name: string, ...sizes: readonly number[]): Promise<string> {
  const tensors = sizes.map((size, i) => floats(`w${i}`, [size], new Float32Array(size)));
  const made: OnnxModel = {
    name,
    inputs: [{ name: 'x', type: 'int64', shape: ['n'] }],
    outputs: tensors.map((_, i) => ({ name: `y${i}`, type: 'float32', shape: ['n'] })),
    nodes: tensors.map((tensor, i) => ({ op: 'Gather', inputs: [tensor.name, 'x'], outputs: [`y${i}`] })),
    initializers: tensors,
  };
  const path = join(folder, `${name}.onnx`);
  await writeFile(path, Buffer.concat([...chunksOf(encodeModel(made))]));
  return path;
}

async function near(path: string, bytes: number): Promise<void> {
  const estimate = await estimateOf(path);
  assert.ok(Math.abs(estimate / (bytes * MARGIN) - 1) < 0.01, `${estimate} and not about ${bytes * MARGIN}`);
}

describe('the estimate of main memory', () => {
  it('counts the largest tensor twice: the runtime converts one at a time', async () => {
    const path = await tables('one-large', 1_000_000, 100_000, 100_000);
    await near(path, (await stat(path)).size + 4e6);
  });

  it('counts tensors twice that the heap of the C library holds', async () => {
    const path = await tables('small', ...new Array<number>(100).fill(10_000));
    await near(path, (await stat(path)).size + 4e6);
  });

  it('has the weights beside the model, also when only the model is named', async () => {
    const path = await model('external_data');
    const [file, directory] = [await estimateOf(path), await estimateOf(dirname(path))];
    const bytes = (await stat(path)).size;
    assert.ok(file > (bytes + 2048) * MARGIN, `${file}: the weights are left out`);
    assert.ok(directory >= (bytes + 2048) * MARGIN, `${directory}: the weights are left out`);
  });

  it('is twice the file for what is no model, or one that is cut off', async () => {
    const noise = join(folder, 'noise.onnx');
    await writeFile(noise, Buffer.alloc(1e6, 0xa7));
    await near(noise, 2e6);
    const cut = join(folder, 'cut.onnx');
    await copyFile(await tables('whole', 1_000_000), cut);
    await truncate(cut, 2e6);
    await near(cut, 4e6);
  });

  it('fails as the load does where there is no model', async () => {
    await assert.rejects(() => estimateOf(join(folder, 'none.onnx')), coded('ERR_MODEL_NOT_FOUND'));
  });
});
