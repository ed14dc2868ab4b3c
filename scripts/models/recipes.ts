// What models there are and what is in their files.
import { accuracy, type Layer, type TrainingOptions, train } from './classifier.js';
import { DIGIT_CLASSES, DIGIT_PIXELS, type DigitSet, holdoutDigits, makeDigits } from './digits.js';
import { floats, type Initializer, type OnnxModel, type OnnxNode } from './onnx.js';
import type { LazyBytes } from './protobuf.js';
import { Random } from './random.js';
import { onnxFile, type Recipe, type RecipeFile } from './recipe.js';
import { testRecipes } from './test-recipes.js';

/** All recipes, by name. */
export function allRecipes(): ReadonlyMap<string, Recipe> {
  const recipes = [digits, reader, large, ...largeVariants, mlp, ...testRecipes()];
  return new Map(recipes.map((recipe) => [recipe.name, recipe]));
}

const digits: Recipe = {
  name: 'digits',
  purpose:
    'reads digits from 8x8 pixels: 1 is linear, 2 has a hidden layer and is better, 3 learnt from shuffled labels',
  files: () => {
    const set = makeDigits(6000, 1);
    return [
      ...classifierFiles(1, 'softmax regression', set, { hidden: [], epochs: 6, learningRate: 0.01, seed: 11 }),
      ...classifierFiles(2, 'one hidden layer of 64', set, { hidden: [64], epochs: 8, learningRate: 0.005, seed: 12 }),
      ...classifierFiles(3, 'one hidden layer of 16, labels shuffled by mistake', withShuffledLabels(set), {
        hidden: [16],
        epochs: 2,
        learningRate: 0.005,
        seed: 13,
      }),
    ];
  },
};

const reader: Recipe = {
  name: 'reader',
  purpose:
    'digits for a fleet: 1 is linear, 2 has a hidden layer, 3 has a table of answers that ends at 8: it fails on nines',
  files: () => {
    const set = makeDigits(3000, 1);
    const linear = once(() => train(set, { hidden: [], epochs: 6, learningRate: 0.01, seed: 21 }));
    const hidden = once(() => train(set, { hidden: [32], epochs: 8, learningRate: 0.005, seed: 22 }));
    return [
      onnxFile(1, () => classifierModel(linear(), {})),
      onnxFile(2, () => classifierModel(hidden(), {})),
      onnxFile(3, () => withAnswers(classifierModel(hidden(), {}), DIGIT_CLASSES - 1)),
    ];
  },
};

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Looks the label up in a table of so many rows: a label beyond it fails the run. */
function withAnswers(model: OnnxModel, rows: number): OnnxModel {
  const answers = floats(
    'answers',
    [rows],
    Float32Array.from({ length: rows }, (_, i) => i),
  );
  return {
    ...model,
    outputs: [...model.outputs, { name: 'answer', type: 'float32', shape: ['batch'] }],
    nodes: [...model.nodes, { op: 'Gather', inputs: ['answers', 'label'], outputs: ['answer'] }],
    initializers: [...(model.initializers ?? []), answers],
  };
}

const large: Recipe = {
  name: 'large',
  purpose: 'a stack of 2048x2048 products with random weights: what takes long to load',
  usesLargeMb: true,
  files: ({ largeMb }) => [onnxFile(1, () => largeModel(largeMb))],
};

/** As large as large, in other shapes. */
const largeVariants: readonly Recipe[] = [
  {
    ...onDemand('large_external', 'large, with its weights in the file weights.bin beside it'),
    files: ({ largeMb }) => externalFiles(largeMb),
  },
  {
    ...onDemand('large_lookup', 'tables of 2048 rows of 2048: y = the sum of their rows x; runs take microseconds'),
    files: ({ largeMb }) => [onnxFile(1, () => lookupModel(squares(largeMb, LARGE_WIDTH)))],
  },
  {
    ...onDemand('large_whole', 'one table, with as many rows of 2048 as it takes'),
    files: ({ largeMb }) => [onnxFile(1, () => lookupModel([weights(0, rowsOf(largeMb), LARGE_WIDTH)]))],
  },
  {
    ...onDemand('large_pieces', 'a stack of 256x256 products'),
    files: ({ largeMb }) => [onnxFile(1, () => largeModel(largeMb, 256))],
  },
];

function onDemand(name: string, purpose: string): Pick<Recipe, 'name' | 'purpose' | 'usesLargeMb' | 'onDemand'> {
  return { name, purpose, usesLargeMb: true, onDemand: true };
}

const mlp: Recipe = {
  name: 'mlp_4x256',
  purpose: 'four layers of 256 with ReLU: the model of the inference benchmarks',
  files: () => [onnxFile(1, mlpModel)],
};

function classifierFiles(
  version: number,
  kind: string,
  set: DigitSet,
  options: TrainingOptions,
): readonly RecipeFile[] {
  let trained: { readonly layers: readonly Layer[]; readonly metadata: Record<string, string> } | undefined;
  const model = (): NonNullable<typeof trained> => {
    if (trained) return trained;
    const layers = train(set, options);
    const holdout = holdoutDigits();
    const metadata = { kind, accuracy: accuracy(layers, holdout).toFixed(4), holdout: String(holdout.size) };
    trained = { layers, metadata };
    return trained;
  };
  return [
    onnxFile(version, () => classifierModel(model().layers, model().metadata)),
    {
      path: `${version}/metadata.json`,
      make: () => {
        const { accuracy: measured, holdout } = model().metadata;
        return `${JSON.stringify({ task: 'digits', version, kind, accuracy: Number(measured), holdout: Number(holdout) }, null, 2)}\n`;
      },
    },
  ];
}

function withShuffledLabels(set: DigitSet): DigitSet {
  const labels = set.labels.slice();
  new Random(3).shuffle(labels);
  return { ...set, labels };
}

/** `x` [batch, 64] to `logits` [batch, 10] and `label` [batch]. */
function classifierModel(layers: readonly Layer[], metadata: Record<string, string>): OnnxModel {
  const { nodes, initializers, output } = dense(layers, 'logits');
  return {
    name: 'digits',
    inputs: [{ name: 'x', type: 'float32', shape: ['batch', DIGIT_PIXELS] }],
    outputs: [
      { name: 'logits', type: 'float32', shape: ['batch', DIGIT_CLASSES] },
      { name: 'label', type: 'int64', shape: ['batch'] },
    ],
    nodes: [...nodes, { op: 'ArgMax', inputs: [output], outputs: ['label'], attributes: { axis: 1n, keepdims: 0n } }],
    initializers,
    metadata,
  };
}

function mlpModel(): OnnxModel {
  const width = 256;
  const random = new Random(4256);
  const layers = Array.from({ length: 4 }, () => {
    const weights = new Float32Array(width * width);
    random.fill(weights, Math.sqrt(6 / width));
    return { inputs: width, outputs: width, weights, bias: new Float32Array(width) };
  });
  const { nodes, initializers } = dense(layers, 'y');
  return {
    name: 'mlp_4x256',
    inputs: [{ name: 'x', type: 'float32', shape: ['batch', width] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['batch', width] }],
    nodes,
    initializers,
  };
}

/** Fully connected layers with ReLU between them, from `x` to `output`. */
function dense(
  layers: readonly Layer[],
  output: string,
): { nodes: OnnxNode[]; initializers: Initializer[]; output: string } {
  const nodes: OnnxNode[] = [];
  const initializers: Initializer[] = [];
  let input = 'x';
  layers.forEach((layer, i) => {
    const last = i === layers.length - 1;
    initializers.push(floats(`w${i}`, [layer.inputs, layer.outputs], layer.weights));
    initializers.push(floats(`b${i}`, [layer.outputs], layer.bias));
    const sum = last ? output : `h${i}`;
    nodes.push({ op: 'Gemm', inputs: [input, `w${i}`, `b${i}`], outputs: [sum] });
    if (!last) nodes.push({ op: 'Relu', inputs: [sum], outputs: [`r${i}`] });
    input = `r${i}`;
  });
  return { nodes, initializers, output };
}

const LARGE_WIDTH = 2048;

function weights(index: number, rows: number, columns: number): Initializer & { readonly data: LazyBytes } {
  return {
    name: `w${index}`,
    type: 'float32',
    dims: [rows, columns],
    data: randomWeights(rows, columns, index + 1),
  };
}

/** Square matrices w0, w1, ... of as many megabytes in all. */
function squares(megabytes: number, width: number): ReturnType<typeof weights>[] {
  const count = Math.max(1, Math.round((megabytes * 1e6) / (width * width * 4)));
  return Array.from({ length: count }, (_, i) => weights(i, width, width));
}

function rowsOf(megabytes: number): number {
  return Math.round((megabytes * 1e6) / (LARGE_WIDTH * 4));
}

function externalFiles(megabytes: number): readonly RecipeFile[] {
  const matrices = squares(megabytes, LARGE_WIDTH);
  const data = matrices.map((matrix) => matrix.data);
  const length = LARGE_WIDTH * LARGE_WIDTH * 4;
  const initializers = matrices.map((matrix, i) => ({
    ...matrix,
    data: { external: 'weights.bin', offset: i * length, length },
  }));
  return [
    onnxFile(1, () => ({ ...largeModel(megabytes), name: 'large_external', initializers })),
    { path: '1/weights.bin', make: () => ({ length: length * data.length, parts: data }) },
  ];
}

function lookupModel(tables: readonly Initializer[]): OnnxModel {
  const rows = tables.map(({ name }) => `rows_${name}`);
  return {
    name: 'large_lookup',
    inputs: [{ name: 'x', type: 'int64', shape: ['batch'] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['batch', LARGE_WIDTH] }],
    nodes: [
      ...tables.map(({ name }, i) => ({ op: 'Gather', inputs: [name, 'x'], outputs: [rows[i] as string] })),
      { op: 'Sum', inputs: rows, outputs: ['y'] },
    ],
    initializers: tables,
  };
}

function largeModel(megabytes: number, width = LARGE_WIDTH): OnnxModel {
  const initializers = squares(megabytes, width);
  const count = initializers.length;
  return {
    name: 'large',
    inputs: [{ name: 'x', type: 'float32', shape: ['batch', width] }],
    outputs: [{ name: `y`, type: 'float32', shape: ['batch', width] }],
    nodes: Array.from({ length: count }, (_, i) => ({
      op: 'MatMul',
      inputs: [i === 0 ? 'x' : `h${i - 1}`, `w${i}`],
      outputs: [i === count - 1 ? 'y' : `h${i}`],
    })),
    initializers,
  };
}

/** A matrix that, when it is square, keeps the size of what it is multiplied with about the same. */
function randomWeights(rows: number, columns: number, seed: number): LazyBytes {
  const rowsPerChunk = 128;
  return {
    length: rows * columns * 4,
    *chunks() {
      const random = new Random(seed);
      for (let row = 0; row < rows; row += rowsPerChunk) {
        const chunk = new Float32Array(columns * Math.min(rowsPerChunk, rows - row));
        random.fill(chunk, Math.sqrt(3 / columns));
        yield new Uint8Array(chunk.buffer);
      }
    },
  };
}
