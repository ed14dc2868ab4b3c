// Element types of tensors: their names, their ONNX numbers (native/engine/tensor_type.h), their typed arrays.
import type { OnnxTensorType } from './types.js';

/** A typed array, as far as a tensor needs it. */
export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

type NumericArrayConstructor = new (buffer: ArrayBufferLike, byteOffset?: number, length?: number) => NumericArray;

export interface ElementType {
  readonly name: OnnxTensorType;
  readonly code: number;
  /** Bytes per element; 0 for strings. */
  readonly size: number;
  /** Array of the answers. Undefined for strings. */
  readonly array: NumericArrayConstructor | undefined;
  /** Array with the same bits through which data is copied: for float16 it must not convert. */
  readonly bits: NumericArrayConstructor | undefined;
  /** Names of the arrays that are taken, as `Symbol.toStringTag` tells them, also those of another realm. */
  readonly accepts: readonly string[];
}

const float16Array = (globalThis as { Float16Array?: NumericArrayConstructor }).Float16Array;

function numeric(name: OnnxTensorType, code: number, size: number, array: NumericArrayConstructor): ElementType {
  return { name, code, size, array, bits: array, accepts: [array.name] };
}

const rows: readonly ElementType[] = [
  numeric('float32', 1, 4, Float32Array),
  numeric('uint8', 2, 1, Uint8Array),
  numeric('int8', 3, 1, Int8Array),
  numeric('uint16', 4, 2, Uint16Array),
  numeric('int16', 5, 2, Int16Array),
  numeric('int32', 6, 4, Int32Array),
  numeric('int64', 7, 8, BigInt64Array),
  { name: 'string', code: 8, size: 0, array: undefined, bits: undefined, accepts: ['Array'] },
  numeric('bool', 9, 1, Uint8Array),
  {
    name: 'float16',
    code: 10,
    size: 2,
    array: float16Array ?? Uint16Array,
    bits: Uint16Array,
    accepts: ['Uint16Array', 'Float16Array'],
  },
  numeric('float64', 11, 8, Float64Array),
  numeric('uint32', 12, 4, Uint32Array),
  numeric('uint64', 13, 8, BigUint64Array),
];

/** By name. */
export const elementTypes: ReadonlyMap<string, ElementType> = new Map(rows.map((row) => [row.name, row]));

/** By ONNX number; a hole where JavaScript has no array for the type. */
export const elementTypeByCode: readonly (ElementType | undefined)[] = rows.reduce<(ElementType | undefined)[]>(
  (byCode, row) => {
    byCode[row.code] = row;
    return byCode;
  },
  new Array(14).fill(undefined),
);
