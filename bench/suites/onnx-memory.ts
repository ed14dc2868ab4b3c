import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type OnnxServable, type OnnxTensorLike, onnxLoader } from '#lib/onnx/index.js';
import { ensureLargeModel, modelPath } from '../../scripts/models/ensure-models.js';
import { settleMemory } from '../measure.js';
import type { Figure, LargeModel, Measured, Suite, TrialOptions, Variant } from '../suite.js';

const figures: Figure[] = [
  { key: 'files', label: 'size of the files', unit: 'MB', better: 'lower' },
  { key: 'estimate', label: 'estimate over it', unit: '', better: 'lower' },
  { key: 'peak', label: 'highest resident set of the load over it', unit: '', better: 'lower', aim: 'the estimate' },
  { key: 'resident', label: 'resident set when loaded over it', unit: '', better: 'lower' },
  { key: 'used', label: 'after 20 runs, batch 1', unit: '', better: 'lower' },
  { key: 'left', label: 'after its unload, of the files', unit: '%', better: 'lower', aim: '5 or less' },
];

const context = { id: { name: 'model', version: 1 }, signal: new AbortController().signal, attempt: 1 };

async function bytesIn(directory: string): Promise<number> {
  const files = await readdir(directory);
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(directory, file))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function feedOf(name: LargeModel['name']): OnnxTensorLike {
  if (name === 'large_whole') return { type: 'int64', data: BigInt64Array.of(1n), dims: [1] };
  const width = name === 'large_pieces' ? 256 : 2048;
  return { type: 'float32', data: new Float32Array(width), dims: [1, width] };
}

async function measure({ name, megabytes }: LargeModel, { models }: TrialOptions): Promise<Measured> {
  // The library, its threads and the heap of the first load do not belong to the large model.
  const small = await onnxLoader(modelPath(models, 'mlp_4x256')).load(context);
  small.runSync({ x: { type: 'float32', data: new Float32Array(256), dims: [1, 256] } });
  const path = await ensureLargeModel(models, megabytes, name);
  const files = await bytesIn(dirname(path));
  await settleMemory();
  const loader = onnxLoader(path);
  const estimate = await loader.estimateResources?.();
  const before = process.memoryUsage.rss();
  const servable: OnnxServable = await loader.load(context);
  // In KiB, and of the whole process: nothing before the load came near it.
  const peak = process.resourceUsage().maxRSS * 1024;
  const resident = process.memoryUsage.rss();
  const x = feedOf(name);
  for (let i = 0; i < 20; i++) await servable.run({ x });
  const used = process.memoryUsage.rss();
  await loader.unload?.(servable);
  await settleMemory();
  const after = process.memoryUsage.rss();
  return {
    files: files / 1e6,
    estimate: Number(estimate?.ram) / files,
    peak: (peak - before) / files,
    resident: (resident - before) / files,
    used: (used - before) / files,
    left: ((after - before) / files) * 100,
  };
}

const SHAPES: Partial<Record<LargeModel['name'], string>> = {
  large: 'matrices of 2048x2048',
  large_external: 'the same, beside the model',
  large_whole: 'one table',
  large_pieces: 'matrices of 256x256',
};

const sizes = ({ quick }: TrialOptions): number[] => (quick ? [60] : [100, 200, 300]);

const largeModels = (options: TrialOptions): LargeModel[] =>
  (Object.keys(SHAPES) as LargeModel['name'][]).flatMap((name) =>
    sizes(options).map((megabytes) => ({ name, megabytes })),
  );

/** What the estimate of onnxLoader rests on. */
export const onnxMemory: Suite = {
  name: 'onnx-memory',
  question:
    'What an ONNX model takes of main memory, over the size of its files: in matrices of 16.8 MB, in one tensor, in ' +
    'tensors of 256 KiB.',
  models: ['mlp_4x256'],
  largeModels,
  variants: (options) =>
    largeModels(options).map(
      (model): Variant => ({
        name: `${model.megabytes} MB, ${SHAPES[model.name]}`,
        figures,
        run: (trial) => measure(model, trial),
      }),
    ),
};
