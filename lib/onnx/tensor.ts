// Which class the answers have.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { OnnxTensor, OnnxTensorData, OnnxTensorType } from './types.js';

/** Makes one tensor of an answer. `dims` and `data` become the tensor's own. */
export type TensorConstructor = new (type: OnnxTensorType, data: OnnxTensorData, dims: readonly number[]) => OnnxTensor;

/** The tensor of answers where onnxruntime-common is not installed. */
export class PlainTensor implements OnnxTensor {
  readonly type: OnnxTensorType;
  readonly data: OnnxTensorData;
  readonly dims: readonly number[];
  readonly size: number;

  constructor(type: OnnxTensorType, data: OnnxTensorData, dims: readonly number[]) {
    this.type = type;
    this.data = data;
    this.dims = dims;
    this.size = data.length;
  }
}

let found: TensorConstructor | undefined;

/** `Tensor` of the onnxruntime-common that can be reached from here, from the working directory or from onnxruntime-node. */
export function defaultTensorClass(): TensorConstructor {
  found ??= findTensorClass() ?? PlainTensor;
  return found;
}

function findTensorClass(): TensorConstructor | undefined {
  const places = [import.meta.url, join(process.cwd(), 'package.json')];
  for (const place of places) {
    const require = createRequire(place);
    try {
      places.push(require.resolve('onnxruntime-node/package.json'));
    } catch {
      // Not installed there: an answer, not an error.
    }
    try {
      const { Tensor } = require('onnxruntime-common') as { Tensor?: TensorConstructor };
      if (Tensor && isTensorClass(Tensor)) return Tensor;
    } catch {
      // As above.
    }
  }
  return undefined;
}

const known = new WeakMap<object, boolean>();

/**
 * The class of the answer to a feed: the feed's own if that is a `Tensor` of any copy or flavour (CommonJS, ESM) of
 * onnxruntime-common, so that `instanceof` holds for whoever made the feed.
 */
export function tensorClassFor(feed: object): TensorConstructor | undefined {
  const made = feed.constructor;
  if (typeof made !== 'function' || made === Object) return undefined;
  let isTensor = known.get(made);
  if (isTensor === undefined) {
    isTensor = isTensorClass(made as unknown as TensorConstructor);
    known.set(made, isTensor);
  }
  return isTensor ? (made as unknown as TensorConstructor) : undefined;
}

function isTensorClass(made: TensorConstructor): boolean {
  const prototype = made.prototype as unknown as Record<string, unknown>;
  if (made.name !== 'Tensor' || typeof prototype.reshape !== 'function' || typeof prototype.getData !== 'function') {
    return false;
  }
  try {
    const probe = new made('float32', new Float32Array(2), [1, 2]);
    return probe.type === 'float32' && probe.size === 2 && probe.dims.length === 2;
  } catch {
    return false;
  }
}
