// Small models for tests: each shows one property of the engine, or one way to fail.
import { ELEMENT_TYPES, type ElementType, encodeModel, floats, int64s, type OnnxModel } from './onnx.js';
import { chunksOf, type Message } from './protobuf.js';
import { Random } from './random.js';
import { onnxFile, type Recipe } from './recipe.js';

/** The recipes that only tests use. */
export function testRecipes(): readonly Recipe[] {
  return [
    single('half_plus_two', 'y = x / 2 + 2', halfPlusTwo),
    ...(Object.keys(ELEMENT_TYPES) as ElementType[]).map((type) =>
      single(`identity_${type}`, `y = x of type ${type}, any two dimensions`, () => identity(type)),
    ),
    single('two_inputs', 'sum = a + float(b), echo = b; fixed shape [2, 3]', twoInputs),
    single('symbolic_dims', 'y = x + 1 of shape [batch, 4]; total = sums of the rows', symbolicDims),
    single('slow', '400 products of 512x512: long enough to cancel a run', slow),
    single('fails_at_run', 'loads; a run fails unless x has 3 elements', failsAtRun),
    single('outputs_nan', 'loads and runs; every output is NaN', outputsNan),
    single('unsupported_op', 'uses an operator that does not exist', unsupportedOp),
    externalData,
    damaged('corrupt', 'bytes that are no model', () => noise(512)),
    damaged('truncated', 'the first half of a good model', () => {
      const whole = flat(encodeModel(identity('float32')));
      return whole.subarray(0, whole.length >> 1);
    }),
    damaged('empty', 'a file of no bytes', () => new Uint8Array(0)),
  ];
}

const externalData: Recipe = {
  name: 'external_data',
  purpose: 'half_plus_two with its constants in the file weights.bin beside it',
  files: () => [
    onnxFile(1, () => ({
      ...halfPlusTwo(),
      initializers: ['half', 'two'].map((name, i) => ({
        name,
        type: 'float32',
        dims: [256],
        data: { external: 'weights.bin', offset: i * 1024, length: 1024 },
      })),
      inputs: [{ name: 'x', type: 'float32', shape: ['n', 256] }],
      outputs: [{ name: 'y', type: 'float32', shape: ['n', 256] }],
    })),
    {
      path: '1/weights.bin',
      make: () => raw(new Uint8Array(Float32Array.from({ length: 512 }, (_, i) => (i < 256 ? 0.5 : 2)).buffer)),
    },
  ],
};

function single(name: string, purpose: string, make: () => OnnxModel): Recipe {
  return { name, purpose, files: () => [onnxFile(1, make)] };
}

function damaged(name: string, purpose: string, make: () => Uint8Array): Recipe {
  return { name, purpose, files: () => [{ path: '1/model.onnx', make: () => raw(make()) }] };
}

function halfPlusTwo(): OnnxModel {
  return {
    name: 'half_plus_two',
    inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
    nodes: [
      { op: 'Mul', inputs: ['x', 'half'], outputs: ['product'] },
      { op: 'Add', inputs: ['product', 'two'], outputs: ['y'] },
    ],
    initializers: [floats('half', [], [0.5]), floats('two', [], [2])],
  };
}

function identity(type: ElementType): OnnxModel {
  const shape = ['rows', 'columns'];
  return {
    name: `identity_${type}`,
    inputs: [{ name: 'x', type, shape }],
    outputs: [{ name: 'y', type, shape }],
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  };
}

function twoInputs(): OnnxModel {
  const shape = [2, 3];
  return {
    name: 'two_inputs',
    inputs: [
      { name: 'a', type: 'float32', shape },
      { name: 'b', type: 'int64', shape },
    ],
    outputs: [
      { name: 'sum', type: 'float32', shape },
      { name: 'echo', type: 'int64', shape },
    ],
    nodes: [
      { op: 'Cast', inputs: ['b'], outputs: ['b_float'], attributes: { to: 1n } },
      { op: 'Add', inputs: ['a', 'b_float'], outputs: ['sum'] },
      { op: 'Identity', inputs: ['b'], outputs: ['echo'] },
    ],
  };
}

function symbolicDims(): OnnxModel {
  return {
    name: 'symbolic_dims',
    inputs: [{ name: 'x', type: 'float32', shape: ['batch', 4] }],
    outputs: [
      { name: 'y', type: 'float32', shape: ['batch', 4] },
      { name: 'total', type: 'float32', shape: ['batch'] },
    ],
    nodes: [
      { op: 'Add', inputs: ['x', 'one'], outputs: ['y'] },
      { op: 'ReduceSum', inputs: ['x', 'axes'], outputs: ['total'], attributes: { keepdims: 0n } },
    ],
    initializers: [floats('one', [], [1]), int64s('axes', [1])],
  };
}

function slow(): OnnxModel {
  const width = 512;
  const weights = new Float32Array(width * width);
  new Random(512).fill(weights, Math.sqrt(3 / width));
  const count = 400;
  return {
    name: 'slow',
    inputs: [{ name: 'x', type: 'float32', shape: ['batch', width] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['batch', width] }],
    nodes: Array.from({ length: count }, (_, i) => ({
      op: 'MatMul',
      inputs: [i === 0 ? 'x' : `h${i - 1}`, 'w'],
      outputs: [i === count - 1 ? 'y' : `h${i}`],
    })),
    initializers: [floats('w', [width, width], weights)],
  };
}

function failsAtRun(): OnnxModel {
  return {
    name: 'fails_at_run',
    inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', type: 'float32', shape: [3] }],
    nodes: [{ op: 'Reshape', inputs: ['x', 'three'], outputs: ['y'] }],
    initializers: [int64s('three', [3])],
  };
}

function outputsNan(): OnnxModel {
  return {
    name: 'outputs_nan',
    inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
    nodes: [
      { op: 'Abs', inputs: ['x'], outputs: ['size'] },
      { op: 'Sub', inputs: ['minus_one', 'size'], outputs: ['negative'] },
      { op: 'Sqrt', inputs: ['negative'], outputs: ['y'] },
    ],
    initializers: [floats('minus_one', [], [-1])],
  };
}

function unsupportedOp(): OnnxModel {
  return {
    name: 'unsupported_op',
    inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
    nodes: [{ op: 'NoSuchOperator', inputs: ['x'], outputs: ['y'] }],
  };
}

function noise(size: number): Uint8Array {
  const random = new Random(99);
  return Uint8Array.from({ length: size }, () => random.below(256));
}

function raw(content: Uint8Array): Message {
  return { length: content.length, parts: [content] };
}

function flat(message: Message): Uint8Array {
  return Buffer.concat([...chunksOf(message)]);
}
