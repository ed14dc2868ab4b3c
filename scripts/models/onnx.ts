// Writes ONNX models: the field numbers are those of onnx.proto, the element types those of TensorProto.DataType.
// IR version 8 with opset 13 is read by every ONNX Runtime from 1.10 on.
import { type Bytes, bytes, float, integer, type Message, message, nested, string } from './protobuf.js';

const IR_VERSION = 8;
const OPSET = 13;

/** Element types by the names that onnxruntime-common uses. */
export const ELEMENT_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
} as const;

/** Name of an element type. */
export type ElementType = keyof typeof ELEMENT_TYPES;

/** An input or output of a model. A dimension is a size, or the name of a symbolic one. */
export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (number | string)[];
}

/** A constant of a model; little-endian `data` lies in the file, or in the file `external` beside it. */
export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: Bytes | { readonly external: string; readonly offset: number; readonly length: number };
}

/** A number with a fraction is a float attribute, a bigint an integer one. */
export type Attribute = number | bigint | string | readonly bigint[];

/** One operation. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** A whole model. */
export interface OnnxModel {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly OnnxNode[];
  readonly initializers?: readonly Initializer[];
  /** Ends up in the model's metadata_props. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Encodes a model as a ModelProto. */
export function encodeModel(model: OnnxModel): Message {
  const graph = message(
    model.nodes.map((node, index) => nested(1, encodeNode(node, index))),
    string(2, model.name),
    (model.initializers ?? []).map((initializer) => nested(5, encodeInitializer(initializer))),
    model.inputs.map((value) => nested(11, encodeValueInfo(value))),
    model.outputs.map((value) => nested(12, encodeValueInfo(value))),
  );
  return message(
    integer(1, IR_VERSION),
    string(2, 'aspired'),
    nested(7, graph),
    nested(8, message(string(1, ''), integer(2, OPSET))),
    Object.entries(model.metadata ?? {}).map(([key, value]) => nested(14, entry(key, value))),
  );
}

/** A float32 constant. */
export function floats(name: string, dims: readonly number[], values: ArrayLike<number>): Initializer {
  const data = Float32Array.from(values);
  return { name, type: 'float32', dims, data: new Uint8Array(data.buffer) };
}

/** A one-dimensional int64 constant, as shapes and axes are given. */
export function int64s(name: string, values: readonly number[]): Initializer {
  const data = BigInt64Array.from(values, BigInt);
  return { name, type: 'int64', dims: [values.length], data: new Uint8Array(data.buffer) };
}

function encodeNode(node: OnnxNode, index: number): Message {
  return message(
    node.inputs.map((input) => string(1, input)),
    node.outputs.map((output) => string(2, output)),
    string(3, `${node.op}_${index}`),
    string(4, node.op),
    Object.entries(node.attributes ?? {}).map(([name, value]) => nested(5, encodeAttribute(name, value))),
  );
}

function encodeAttribute(name: string, value: Attribute): Message {
  const type = (code: number): Message => integer(20, code);
  if (typeof value === 'number') return message(string(1, name), float(2, value), type(1));
  if (typeof value === 'bigint') return message(string(1, name), integer(3, value), type(2));
  if (typeof value === 'string') return message(string(1, name), string(4, value), type(3));
  return message(
    string(1, name),
    value.map((item) => integer(8, item)),
    type(7),
  );
}

function encodeInitializer(initializer: Initializer): Message {
  const { name, dims, data } = initializer;
  const head = [...dims.map((dim) => integer(1, dim)), integer(2, ELEMENT_TYPES[initializer.type]), string(8, name)];
  if (!('external' in data)) return message(head, bytes(9, data));
  const { external, offset, length } = data;
  return message(
    head,
    nested(13, entry('location', external)),
    nested(13, entry('offset', String(offset))),
    nested(13, entry('length', String(length))),
    integer(14, 1),
  );
}

function encodeValueInfo({ name, type, shape }: ValueInfo): Message {
  const dims = shape.map((dim) => nested(1, typeof dim === 'number' ? integer(1, dim) : string(2, dim)));
  const tensor = message(integer(1, ELEMENT_TYPES[type]), nested(2, message(dims)));
  return message(string(1, name), nested(2, nested(1, tensor)));
}

function entry(key: string, value: string): Message {
  return message(string(1, key), string(2, value));
}
