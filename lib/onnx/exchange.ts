// The TypeScript side of the exchange: see native/binding/onnx_exchange.h for the layout and the reason.
import { AspiredError } from '../errors.js';
import { describe } from '../options.js';
import { type ElementType, elementTypeByCode, elementTypes, type NumericArray } from './element-types.js';
import type { TensorConstructor } from './tensor.js';
import type { OnnxTensor, OnnxTensorData, OnnxTensorLike } from './types.js';

/** Data up to this size is written into the exchange; larger data is an argument of the call. */
const INLINE_BYTES = 2048;
const FEED_WORDS = 6;

let words = new Float64Array(0);
let numWords = 0;
/** One view per element type over the bytes of the exchange, by code. */
let views: (NumericArray | undefined)[] = [];
let numBytes = 0;
let reserve: (words: number) => void = () => {};

// Where the next word and byte of a request go.
let at = 0;
let byte = 0;

/** Takes a new exchange into use. */
export function adopt(buffer: ArrayBuffer, count: number): void {
  words = new Float64Array(buffer, 0, count);
  numWords = count;
  const start = count * Float64Array.BYTES_PER_ELEMENT;
  numBytes = buffer.byteLength - start;
  views = elementTypeByCode.map((type) => type?.bits && new type.bits(buffer, start, numBytes / type.size));
}

/** Sets what makes room for more words, by calling {@link adopt}. */
export function setReserve(makeRoom: (words: number) => void): void {
  reserve = makeRoom;
}

/** Begins a request. Nothing may run between this and the call that sends it. */
export function beginRequest(inputs: number, outputs: number): void {
  if (numWords < 2 + outputs) reserve(2 + outputs);
  words[0] = inputs;
  words[1] = outputs;
  at = 2;
  byte = 0;
}

function invalidInput(name: string, problem: string): AspiredError {
  return new AspiredError('ERR_INVALID_INPUT', `Input "${name}" ${problem}`);
}

function typeOf(name: string, feed: OnnxTensorLike): ElementType {
  const type = elementTypes.get(feed.type);
  if (type) return type;
  throw invalidInput(
    name,
    `has type ${describe(feed.type)}; tensors have one of the types ${[...elementTypes.keys()].join(', ')}.`,
  );
}

/** The array behind `data` with bits that may be copied, or an error. */
function checkedData(name: string, type: ElementType, data: unknown): NumericArray {
  const tag = ArrayBuffer.isView(data) ? (data as unknown as Record<symbol, unknown>)[Symbol.toStringTag] : undefined;
  if (typeof tag !== 'string' || !type.accepts.includes(tag)) {
    throw invalidInput(
      name,
      `has type ${type.name}, whose data is a ${type.accepts.join(' or ')}, not ${describe(data)}.`,
    );
  }
  if (tag === type.bits?.name) return data as NumericArray;
  const { buffer, byteOffset, byteLength } = data as ArrayBufferView;
  return new (type.bits as NonNullable<ElementType['bits']>)(buffer, byteOffset, byteLength / type.size);
}

function checkedStrings(name: string, data: unknown): string[] {
  if (!Array.isArray(data)) throw invalidInput(name, `has type string, whose data is an array, not ${describe(data)}.`);
  return data.map((item: unknown) => {
    if (typeof item === 'string') return item;
    throw invalidInput(name, `has type string, but its data contains ${describe(item)}.`);
  });
}

/** How the data of large feeds may be read by a run that is still on when the call returns. */
export type Borrow = 'never' | 'shared' | 'always';

function mayBorrow(data: NumericArray, borrow: Borrow): boolean {
  if (borrow === 'never') return false;
  const { buffer } = data;
  if (buffer instanceof SharedArrayBuffer) return true;
  return borrow === 'always' && (buffer as { resizable?: boolean }).resizable !== true;
}

/**
 * Adds a feed to the request. `args` gets the data that does not go into the exchange. User code (a getter, a proxy) is
 * only called before anything is written.
 */
export function writeFeed(
  index: number,
  name: string,
  feed: OnnxTensorLike,
  expected: ElementType | undefined,
  borrow: Borrow,
  args: unknown[],
): void {
  if (typeof feed !== 'object' || feed === null) {
    throw invalidInput(name, `is not a tensor but ${describe(feed)}.`);
  }
  const { dims, data } = feed;
  const type = expected !== undefined && feed.type === expected.name ? expected : typeOf(name, feed);
  if (!Array.isArray(dims)) throw invalidInput(name, `has dims ${describe(dims)}; dims are an array of sizes.`);
  const rank = dims.length;
  if (at + FEED_WORDS + rank > numWords) reserve(at + FEED_WORDS + rank);
  let where = -1 - args.length;
  let borrowed = 0;
  let bytes = 0;
  if (type.bits === undefined) {
    args.push(checkedStrings(name, data));
  } else {
    const array =
      (data as object | null)?.constructor === type.bits ? (data as NumericArray) : checkedData(name, type, data);
    bytes = array.length * type.size;
    if (bytes <= INLINE_BYTES && byte + bytes <= numBytes) {
      // Not for no bytes: a detached array has none and may not be read.
      if (bytes > 0) (views[type.code] as Float32Array).set(array as Float32Array, byte / type.size);
      where = byte;
      byte += (bytes + 7) & ~7;
    } else {
      args.push(array);
      borrowed = mayBorrow(array, borrow) ? 1 : 0;
    }
  }
  words[at] = index;
  words[at + 1] = type.code;
  words[at + 2] = where;
  words[at + 3] = bytes;
  words[at + 4] = borrowed;
  words[at + 5] = rank;
  at += FEED_WORDS;
  for (let i = 0; i < rank; i++) {
    const dim: unknown = dims[i];
    if (typeof dim !== 'number') throw invalidInput(name, `has a dim ${describe(dim)}; dims are integers >= 0.`);
    words[at + i] = dim;
  }
  at += rank;
}

/** Adds an output to the request, after the last feed. */
export function writeOutput(index: number): void {
  if (at >= numWords) reserve(at + 1);
  words[at++] = index;
}

/** Begins to read answers. */
export function beginAnswers(): void {
  at = 0;
}

export function readWord(): number {
  return words[at++] as number;
}

/**
 * Reads so many tensors of one answer into an object by output name. Also when a tensor class of the user throws, what
 * is read next is the answer behind this one.
 */
export function readAnswer(
  tensors: number,
  names: readonly string[],
  tensorClass: TensorConstructor,
  data: readonly unknown[] | undefined,
): Record<string, OnnxTensor> {
  const answer: Record<string, OnnxTensor> = {};
  let failed: { readonly error: unknown } | undefined;
  for (let i = 0; i < tensors; i++) {
    const name = names[words[at] as number] as string;
    const type = elementTypeByCode[words[at + 1] as number] as ElementType;
    const where = words[at + 2] as number;
    const length = words[at + 3] as number;
    const rank = words[at + 4] as number;
    at += 5;
    const dims: number[] = [];
    for (let d = 0; d < rank; d++) dims.push(words[at + d] as number);
    at += rank;
    try {
      answer[name] = new tensorClass(type.name, readData(type, where, length, data), dims);
    } catch (error) {
      failed ??= { error };
    }
  }
  if (failed) throw failed.error;
  return answer;
}

function readData(
  type: ElementType,
  where: number,
  length: number,
  data: readonly unknown[] | undefined,
): OnnxTensorData {
  if (where < 0) {
    const item = data?.[-1 - where];
    return type.array === undefined ? (item as string[]) : new type.array(item as ArrayBuffer);
  }
  const from = where / type.size;
  const copy = (views[type.code] as Float32Array).slice(from, from + length / type.size);
  return type.array === type.bits ? copy : new (type.array as NonNullable<ElementType['array']>)(copy.buffer);
}
