// What an ONNX model will take of main memory: from its files, without reading its weights.
import { type FileHandle, open } from 'node:fs/promises';
import { modelBytes, resolveModel } from './model-path.js';

/**
 * The runtime keeps what is in the files and, for as long as it loads, the tensor that it converts a second time. Tensors
 * below this size come from the heap, where the place of the first copy is not given back: they count twice.
 */
const SMALL_TENSOR = 128 * 1024; // the threshold of native/engine/heap.h
/** Pages that are not full, the graph, and what the runtime allocates beside. Measured: see README.md. */
const MARGIN = 1.1;

const BLOCK = 16 * 1024;
/** A model whose tensors take more reads is not looked at any further. */
const MAX_BLOCKS = 2_000;
const HEADER = 20; // two varints at most

/** The weights of a model, in bytes. */
interface Weights {
  largest: number;
  small: number;
  /** In files beside it. */
  external: number;
}

interface Field {
  readonly number: number;
  /** Of a number; otherwise 0. */
  readonly value: number;
  readonly start: number;
  readonly end: number;
}

/** Fields of protobuf messages in a file, which is read in blocks where it is looked at. */
class FieldReader {
  private block = Buffer.alloc(0);
  private blockStart = 0;
  private blocks = 0;

  constructor(
    private readonly file: FileHandle,
    readonly size: number,
  ) {}

  /** The bytes from `start` to `end`, or as many as a block has. */
  async bytes(start: number, end: number): Promise<Buffer> {
    const wanted = Math.min(end, start + BLOCK, this.size);
    if (start < this.blockStart || wanted > this.blockStart + this.block.length) {
      if (++this.blocks > MAX_BLOCKS) throw new Error('too many tensors');
      const { bytesRead, buffer } = await this.file.read(Buffer.alloc(BLOCK), 0, BLOCK, start);
      this.block = buffer.subarray(0, bytesRead);
      this.blockStart = start;
    }
    return this.block.subarray(start - this.blockStart, wanted - this.blockStart);
  }

  async field(at: number): Promise<Field> {
    const bytes = await this.bytes(at, at + HEADER);
    let position = 0;
    const varint = (): number => {
      for (let value = 0, scale = 1; ; scale *= 128) {
        const byte = bytes[position++];
        if (byte === undefined) throw new Error('a field is cut off');
        value += (byte & 127) * scale;
        if (byte < 128) return value;
      }
    };
    const tag = varint();
    const wire = tag % 8;
    const number = Math.floor(tag / 8);
    if (wire === 0) return { number, value: varint(), start: at + position, end: at + position };
    const length = wire === 2 ? varint() : wire === 5 ? 4 : wire === 1 ? 8 : Number.NaN;
    const start = at + position;
    if (!(start + length <= this.size)) throw new Error('no protobuf');
    return { number, value: 0, start, end: start + length };
  }

  /** Calls `visit` for each field from `start` to `end`. */
  async each(start: number, end: number, visit: (field: Field) => unknown): Promise<void> {
    for (let at = start; at < end; ) {
      const field = await this.field(at);
      await visit(field);
      at = field.end;
    }
  }
}

// The numbers of the fields are those of onnx.proto.
async function weightsIn(reader: FieldReader): Promise<Weights> {
  const weights = { largest: 0, small: 0, external: 0 };
  const count = (bytes: number): void => {
    weights.largest = Math.max(weights.largest, bytes);
    if (bytes < SMALL_TENSOR) weights.small += bytes;
  };
  await reader.each(0, reader.size, async ({ number, start, end }) => {
    if (number !== 7) return; // ModelProto.graph
    await reader.each(start, end, async (field) => {
      const bytes = field.end - field.start;
      // GraphProto.initializer; a node may have a constant, or a graph with its own tensors.
      const outside = field.number === 5 && bytes < BLOCK ? await externalBytes(reader, field) : 0;
      weights.external += outside;
      count(bytes + outside);
    });
  });
  return weights;
}

/** Bytes of a TensorProto in another file: the entry 'length' of its external_data. */
async function externalBytes(reader: FieldReader, tensor: Field): Promise<number> {
  let bytes = 0;
  await reader.each(tensor.start, tensor.end, async ({ number, start, end }) => {
    if (number !== 13) return;
    const entry: string[] = [];
    await reader.each(start, end, async (field) => {
      entry[field.number] = (await reader.bytes(field.start, field.end)).toString();
    });
    if (entry[1] === 'length') bytes = Number(entry[2]) || 0;
  });
  return bytes;
}

/**
 * The most main memory that the load of a model takes, in bytes: its files, its largest tensor and its small ones once
 * more, and a margin. What its runs need is not in it. A file that is no model, or has very many tensors, counts twice.
 *
 * @throws AspiredError ERR_MODEL_NOT_FOUND, ERR_MODEL_UNREADABLE, ERR_MODEL_INVALID (no bytes).
 */
export async function estimateMemory(path: string): Promise<number> {
  const model = await resolveModel(path);
  const bytes = await modelBytes(path);
  let weights: Weights = { largest: bytes, small: 0, external: 0 };
  const file = await open(model);
  try {
    weights = await weightsIn(new FieldReader(file, (await file.stat()).size));
  } catch {
    // The load will say what is wrong with it.
  } finally {
    await file.close();
  }
  // Of a directory all files are counted already.
  const beside = model === path ? weights.external : 0;
  return Math.ceil((bytes + beside + weights.largest + weights.small) * MARGIN);
}
